"""The picture of a running session: image, face, motion, score strip, events and how it runs. Draws, never shows."""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from sfam.engine.events import Event
from sfam.stream.face_track import FaceTrack
from sfam.stream.scene_flow import CROP_PX, SceneFlow

from .frame_result import FrameResult
from .live_frames import LiveFrame
from .overlay_text import Color, put_text, text_width
from .session_info import NOT_A_LIE_DETECTOR
from .status import Status
from .wire import Message
from .wire_fields import parse_event, parse_face, parse_flow, parse_frame, parse_score, parse_status

Picture = NDArray[np.uint8]
Found = TypeVar("Found")

WIDTH, HEIGHT = 1024, 600
VIEW_WIDTH, VIEW_HEIGHT = 640, 480
STRIP_SECONDS = 10.0
KEPT_FRAMES = 64
KEPT_LIVE = 20
DEPTH_WIDTH = 150
KEPT_SCORES = 1200
KEPT_EVENTS = 64
LISTED_EVENTS = 5
SHOWN_TOGETHER = 3
"""Frames within which face and motion may lie behind the picture: frame and flow messages are thinned apart."""
ARROW_STEP_PX = 8
ARROW_GAIN = 10.0
ARROW_LEAST_PX = 0.12
"""Motion on the crop below which no arrow is drawn: about the noise of the flow."""
UNKNOWN = "-"
BLIND_NOTICE = "Blind: scores, labels and events are in the session's files only"

# blue, green, red
BACKGROUND: Color = (24, 20, 17)
PANEL: Color = (33, 28, 24)
RULE: Color = (58, 50, 44)
TEXT: Color = (238, 234, 230)
MUTED: Color = (160, 150, 140)
ACCENT: Color = (196, 186, 72)
ARROW_EDGE: Color = (60, 44, 20)
THRESHOLD: Color = (92, 176, 240)
STATE_COLORS: dict[str, Color] = {
    "provisional": (92, 176, 240),
    "confirmed": (108, 108, 244),
    "withdrawn": (110, 104, 98),
}


@dataclass(slots=True)
class OverlayState:
    """What is known of a session from its messages; bounded, however long the session."""

    header: dict[str, object] = field(default_factory=dict)
    """The last `session` header."""
    picture: Picture | None = None
    """(H, W, 3) uint8 RGB: the last analysed frame."""
    frame: int = -1
    """Its number."""
    scale: float = 1.0
    """Pixels of the picture to a pixel of the captured image."""
    faces: OrderedDict[int, FaceTrack] = field(default_factory=OrderedDict)
    flows: OrderedDict[int, SceneFlow] = field(default_factory=OrderedDict)
    scores: deque[FrameResult] = field(default_factory=lambda: deque(maxlen=KEPT_SCORES))
    events: OrderedDict[int, Event] = field(default_factory=OrderedDict)
    status: Status | None = None
    lost: int = 0
    latency_ms: float = math.nan
    """From capture to publishing of the last score."""
    silent_s: float = 0.0
    """How long no message has come."""
    depth: Picture | None = None
    """(h, w, 3) uint8 RGB: the depth of that frame in colors."""
    live: OrderedDict[int, LiveFrame] = field(default_factory=OrderedDict)
    """Frames of the session's ring that wait for their score."""

    @property
    def blind(self) -> bool:
        """True where scores, labels and events are kept from the screen."""
        return bool(self.header.get("blind", False))

    def take(self, message: Message) -> None:
        """Enter one message."""
        header, payload = message.header, message.payload
        self.lost = message.lost
        if message.kind == "session":
            self.header = header
        elif message.kind == "frame" and payload is not None:
            if not self.live and self.depth is None:
                self.picture, self.frame = parse_frame(header, payload), header["frame"]
                self.scale = 1.0
        elif message.kind == "flow" and payload is not None:
            _keep(self.flows, header["frame"], parse_flow(header, payload), KEPT_FRAMES)
        elif message.kind == "face":
            _keep(self.faces, header["frame"], parse_face(header), KEPT_FRAMES)
        elif message.kind == "score":
            self.scores.append(parse_score(header))
            self._show_live(header["frame"])
            self.latency_ms = header["latency_us"].get("total", math.nan) / 1e3
        elif message.kind == "event":
            _keep(self.events, header["id"], parse_event(header), KEPT_EVENTS)
        elif message.kind == "status":
            self.status = parse_status(header)

    def take_live(self, frame: LiveFrame) -> None:
        """Enter a frame of the session's ring; it is shown once its score is known."""
        _keep(self.live, frame.frame, frame, KEPT_LIVE)
        if self.scores and self.scores[-1].frame >= frame.frame:
            self._show_live(frame.frame)

    def _show_live(self, number: int) -> None:
        frame = self.live.get(number)
        if frame is not None and number >= self.frame:
            self.picture, self.frame, self.depth = frame.color, number, frame.depth
            self.scale = frame.color.shape[1] / frame.width


def _keep(shelf: OrderedDict[int, Found], key: int, value: Found, limit: int) -> None:
    shelf[key] = value
    shelf.move_to_end(key)
    while len(shelf) > limit:
        shelf.popitem(last=False)


def render_overlay(state: OverlayState) -> Picture:
    """The picture of a session, (600, 1024, 3) uint8 in OpenCV's order (blue, green, red)."""
    canvas = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    canvas[:] = BACKGROUND
    _draw_view(canvas[:VIEW_HEIGHT, :VIEW_WIDTH], state)
    _draw_strip(canvas[VIEW_HEIGHT:, :VIEW_WIDTH], state)
    _draw_panel(canvas[:, VIEW_WIDTH:], state)
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
    if face is not None and face.state != "lost":
        _draw_face_box(shown, face, scale / state.scale)
    flow = _newest(state.flows, state.frame)
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


def _draw_panel(panel: Picture, state: OverlayState) -> None:
    panel[:] = PANEL
    cv2.line(panel, (0, 0), (0, HEIGHT), RULE, 1)
    put_text(panel, "sfam-live", (24, 40), TEXT, 22, 700)
    model = state.header.get("model")
    name = str(model.get("name", "")) if isinstance(model, dict) else ""
    camera = str(state.header.get("camera", "not connected"))
    put_text(panel, f"{camera}  ·  {name}" if name else camera, (24, 62), MUTED, 13)
    _draw_figures(panel, state)
    if not state.blind:
        _draw_events(panel, state)
    cv2.line(panel, (24, HEIGHT - 44), (panel.shape[1] - 24, HEIGHT - 44), RULE, 1)
    put_text(panel, NOT_A_LIE_DETECTOR, (24, HEIGHT - 20), MUTED, 12)


def _draw_figures(panel: Picture, state: OverlayState) -> None:
    spot = next((result.score.spot for result in reversed(state.scores) if result.score is not None), math.nan)
    status = state.status
    dropped = sum(status.dropped.values()) if status is not None else 0
    figures = (
        ("Score", _figure(spot, 2), ""),
        ("Rate", _figure(status.fps if status is not None else math.nan, 1), "fps"),
        ("Latency", _figure(state.latency_ms, 1), "ms"),
        ("Dropped", str(dropped), "frames"),
        ("Faces", str(status.faces) if status is not None else UNKNOWN, ""),
        ("Not received", str(state.lost), "messages"),
    )
    for place, (label, value, unit) in enumerate(figures[1:] if state.blind else figures):
        left, top = 24 + place % 3 * 116, 92 + place // 3 * 62
        put_text(panel, label, (left, top), MUTED, 12)
        put_text(panel, value, (left, top + 28), TEXT, 24, 600)
        put_text(panel, unit, (left + text_width(value, 24, 600) + 5, top + 28), MUTED, 12)


def _figure(value: float, decimals: int) -> str:
    return f"{value:.{decimals}f}" if math.isfinite(value) else UNKNOWN


def _draw_events(panel: Picture, state: OverlayState) -> None:
    right = panel.shape[1] - 24
    cv2.line(panel, (24, 216), (right, 216), RULE, 1)
    put_text(panel, "Last events", (24, 242), TEXT, 15, 600)
    recent = list(state.events.values())[-LISTED_EVENTS:][::-1]
    if not recent:
        put_text(panel, "none so far", (24, 270), MUTED, 13)
    for place, event in enumerate(recent):
        top = 262 + place * 56
        cv2.rectangle(panel, (24, top), (27, top + 38), STATE_COLORS[event.state], -1)
        color = MUTED if event.state == "withdrawn" else TEXT
        put_text(panel, f"{event.kind} · {event.emotion}", (38, top + 15), color, 15, 600)
        score = f"{event.score:.2f}"
        put_text(panel, score, (right - text_width(score, 15, 600), top + 15), color, 15, 600)
        duration_ms = (event.offset.t_capture_ns - event.onset.t_capture_ns) / 1e6
        detail = f"{event.state}, frames {event.onset.frame} to {event.offset.frame}, {duration_ms:.0f} ms"
        put_text(panel, ", ".join([detail, *event.flags]), (38, top + 35), MUTED, 12)
