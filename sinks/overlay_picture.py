"""The picture of a running session: image, face, motion, score strip, events and how it runs. Draws, never shows."""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Sequence

import cv2
import numpy as np

from sfam.stream.face_track import FaceTrack
from sfam.stream.scene_flow import CROP_PX, Crop, SceneFlow

from .frame_result import FrameResult
from .overlay_palette import (
    ACCENT,
    ARROW_EDGE,
    BACKGROUND,
    HEIGHT,
    MUTED,
    PANEL,
    REGION,
    RULE,
    STATE_COLORS,
    TEXT,
    THRESHOLD,
    VIEW_HEIGHT,
    VIEW_WIDTH,
    WIDTH,
    Picture,
)
from .overlay_panel import draw_panel
from .overlay_state import Found, OverlayState
from .overlay_text import Color, put_text, text_width

STRIP_SECONDS = 10.0
DEPTH_WIDTH = 150
SHOWN_TOGETHER = 3
"""Frames within which face and motion may lie behind the picture: frame and flow messages are thinned apart."""
ARROW_STEP_PX = 8
ARROW_GAIN = 10.0
ARROW_LEAST_PX = 0.12
"""Motion on the crop below which no arrow is drawn: about the noise of the flow."""
DASH_PX = 5
BLIND_NOTICE = "Blind: scores, labels and events are in the session's files only"


def render_overlay(state: OverlayState, cameras: Sequence[str] = ()) -> Picture:
    """The picture of a session, (600, 1024, 3) uint8 in OpenCV's order (blue, green, red).

    Args:
        state: of the camera that is shown.
        cameras: names of all that can be chosen, where there are several.
    """
    canvas = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    canvas[:] = BACKGROUND
    _draw_view(canvas[:VIEW_HEIGHT, :VIEW_WIDTH], state)
    _draw_strip(canvas[VIEW_HEIGHT:, :VIEW_WIDTH], state)
    draw_panel(canvas[:, VIEW_WIDTH:], state, cameras)
    return canvas


def _draw_view(view: Picture, state: OverlayState) -> None:
    if state.picture is None:
        put_text(view, "waiting for frames", (VIEW_WIDTH // 2 - 80, VIEW_HEIGHT // 2), MUTED, 18)
        return
    height, width = state.picture.shape[:2]
    scale = min(VIEW_WIDTH / width, VIEW_HEIGHT / height)
    size = (round(width * scale), round(height * scale))
    left, top = (VIEW_WIDTH - size[0]) // 2, (VIEW_HEIGHT - size[1]) // 2
    shown = view[top : top + size[1], left : left + size[0]]
    shown[:] = cv2.resize(state.picture, size, interpolation=cv2.INTER_AREA)[:, :, ::-1]
    face = _newest(state.faces, state.frame)
    flow = _newest(state.flows, state.frame)
    tracked = face if face is not None and face.state != "lost" else None
    analysed = tracked or flow
    if analysed is not None:
        _draw_region(shown, analysed.crop, scale / state.scale)
    if tracked is not None:
        _draw_face_box(shown, tracked, scale / state.scale)
    if flow is not None and not state.blind:
        _draw_arrows(shown, flow, scale / state.scale)
    if state.depth is not None:
        _draw_depth(view, state.depth)
    label = f"frame {state.frame}"
    _shade(view, VIEW_WIDTH - text_width(label, 13) - 24, VIEW_HEIGHT - 30, VIEW_WIDTH - 8, VIEW_HEIGHT - 8)
    put_text(view, label, (VIEW_WIDTH - text_width(label, 13) - 16, VIEW_HEIGHT - 14), TEXT, 13)
    if state.header.get("state") == "paused":
        _shade(view, 0, 0, VIEW_WIDTH, VIEW_HEIGHT)
        put_text(view, "Paused: nothing is stored or sent", (16, 24), THRESHOLD, 16, 600)
    elif state.silent_s >= 3:
        _shade(view, 0, 0, VIEW_WIDTH, 36)
        put_text(view, f"No messages for {state.silent_s:.0f} s", (16, 24), THRESHOLD, 16, 600)


def _newest(shelf: OrderedDict[int, Found], frame: int) -> Found | None:
    """What belongs to a frame, or to the last one before it that is near enough to be shown with it."""
    return next((shelf[near] for near in range(frame, frame - SHOWN_TOGETHER, -1) if near in shelf), None)


def _shade(image: Picture, left: int, top: int, right: int, bottom: int) -> None:
    part = image[top:bottom, left:right]
    part[:] = part // 3


def _draw_region(image: Picture, crop: Crop, scale: float) -> None:
    """What is cut out and analysed, dashed."""
    left, top = round(crop.x * scale), round(crop.y * scale)
    right, bottom = round((crop.x + crop.size) * scale), round((crop.y + crop.size) * scale)
    for begin in range(0, right - left, 2 * DASH_PX):
        end = min(begin + DASH_PX, right - left)
        for y in (top, bottom):
            cv2.line(image, (left + begin, y), (left + end, y), REGION, 1)
        for x in (left, right):
            cv2.line(image, (x, top + begin), (x, top + end), REGION, 1)


def _draw_face_box(image: Picture, face: FaceTrack, scale: float) -> None:
    """Corners rather than a full frame: the face stays in view."""
    x, y, width, height = (value * scale for value in face.box)
    arm = max(8, round(min(width, height) * 0.14))
    for corner_x, along_x in ((x, arm), (x + width, -arm)):
        for corner_y, along_y in ((y, arm), (y + height, -arm)):
            corner = (round(corner_x), round(corner_y))
            for end in ((corner[0] + along_x, corner[1]), (corner[0], corner[1] + along_y)):
                cv2.line(image, corner, end, ACCENT, 2, cv2.LINE_AA)


def _draw_arrows(image: Picture, flow: SceneFlow, scale: float) -> None:
    """Motion of the skin, drawn `ARROW_GAIN` times its size; brighter where the skin moves towards the camera."""
    places = np.arange(ARROW_STEP_PX // 2, CROP_PX, ARROW_STEP_PX)
    per_crop_px = scale / flow.crop.scale
    for row in places:
        for column in places:
            u, v, w = float(flow.u[row, column]), float(flow.v[row, column]), float(flow.w[row, column])
            if math.hypot(u, v) < ARROW_LEAST_PX:
                continue
            x = flow.crop.x * scale + column * per_crop_px
            y = flow.crop.y * scale + row * per_crop_px
            tip = (round(x + u * per_crop_px * ARROW_GAIN), round(y + v * per_crop_px * ARROW_GAIN))
            lightness = 1.0 - 0.5 * min(1.0, max(0.0, 0.5 + w))
            color = (255 * lightness, 230 * lightness, 160 * lightness)
            cv2.arrowedLine(image, (round(x), round(y)), tip, ARROW_EDGE, 3, cv2.LINE_AA, tipLength=0.3)
            cv2.arrowedLine(image, (round(x), round(y)), tip, color, 1, cv2.LINE_AA, tipLength=0.3)


def _draw_depth(view: Picture, depth: Picture) -> None:
    """The depth in the lower left corner."""
    size = (DEPTH_WIDTH, round(depth.shape[0] * DEPTH_WIDTH / depth.shape[1]))
    top = VIEW_HEIGHT - size[1] - 8
    view[top : top + size[1], 8 : 8 + size[0]] = cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST)[:, :, ::-1]
    put_text(view, "Depth", (14, top + 16), TEXT, 12)


def _draw_strip(strip: Picture, state: OverlayState) -> None:
    """The last `STRIP_SECONDS` of the spotting score, its threshold, and the events as bands."""
    strip[:] = PANEL
    cv2.line(strip, (0, 0), (VIEW_WIDTH, 0), RULE, 1)
    left, right, top, bottom = 16, VIEW_WIDTH - 16, 30, HEIGHT - VIEW_HEIGHT - 14
    if state.blind:
        put_text(strip, BLIND_NOTICE, (left, 20), MUTED, 13)
        return
    put_text(strip, "Spotting score", (left, 20), MUTED, 12)
    put_text(
        strip, f"last {STRIP_SECONDS:.0f} s", (right - text_width(f"last {STRIP_SECONDS:.0f} s", 12), 20), MUTED, 12
    )
    now_ns = max((result.t_capture_ns or 0 for result in state.scores), default=0)

    def across(t_ns: int) -> int:
        return right - int((now_ns - t_ns) / 1e9 / STRIP_SECONDS * (right - left))

    def upwards(spot: float) -> int:
        return bottom - int(spot * (bottom - top))

    for event in state.events.values():
        begin, end = max(left, across(event.onset.t_capture_ns)), across(event.offset.t_capture_ns)
        if event.state != "withdrawn" and end >= left:
            _tint(strip[top:bottom, begin : max(begin + 2, end)], STATE_COLORS[event.state])
    cv2.line(strip, (left, bottom), (right, bottom), RULE, 1)
    threshold = state.header.get("threshold")
    if isinstance(threshold, (int, float)):
        for x in range(left, right, 10):
            cv2.line(strip, (x, upwards(threshold)), (min(x + 5, right), upwards(threshold)), THRESHOLD, 1)
        put_text(strip, f"threshold {threshold:.2f}", (left + 96, 20), THRESHOLD, 12)
    for trace in _traces(state.scores):
        points = [
            (across(result.t_capture_ns or 0), upwards(result.score.spot))
            for result in trace
            if result.score is not None
        ]
        visible = np.array([point for point in points if point[0] >= left], np.int32)
        if len(visible) > 1:
            cv2.polylines(strip, [visible], False, ACCENT, 2, cv2.LINE_AA)


def _tint(part: Picture, color: Color) -> None:
    if part.size:
        part[:] = (part * 0.62 + np.array(color) * 0.38).astype(np.uint8)


def _traces(scores: deque[FrameResult]) -> list[list[FrameResult]]:
    """Scores cut where there was none, so that no line bridges a gap."""
    traces: list[list[FrameResult]] = [[]]
    for result in scores:
        if result.score is not None and result.t_capture_ns is not None:
            traces[-1].append(result)
        elif traces[-1]:
            traces.append([])
    return traces
