"""The right side of the overlay window: how the session runs, and its last events."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2

from sfam.stream.scene_flow import NoiseFloor

from .overlay_palette import ACCENT, HEIGHT, MUTED, PANEL, RULE, STATE_COLORS, TEXT, UNKNOWN, Picture
from .overlay_state import OverlayState
from .overlay_text import put_text, text_width
from .session_info import NOT_A_LIE_DETECTOR
from .status import Status

LISTED_EVENTS = 5
MOST_KEYS = 9


def draw_panel(panel: Picture, state: OverlayState, cameras: Sequence[str]) -> None:
    """Figures and the last events of a camera, and which others there are."""
    panel[:] = PANEL
    cv2.line(panel, (0, 0), (0, HEIGHT), RULE, 1)
    put_text(panel, "sfam-live", (24, 40), TEXT, 22, 700)
    model = state.header.get("model")
    name = str(model.get("name", "")) if isinstance(model, dict) else ""
    camera = str(state.header.get("camera", "not connected"))
    put_text(panel, f"{camera}  ·  {name}" if name else camera, (24, 62), MUTED, 13)
    _draw_choice(panel, camera, cameras)
    _draw_figures(panel, state)
    _draw_noise(panel, state.status)
    if not state.blind:
        _draw_events(panel, state)
    cv2.line(panel, (24, HEIGHT - 44), (panel.shape[1] - 24, HEIGHT - 44), RULE, 1)
    put_text(panel, NOT_A_LIE_DETECTOR, (24, HEIGHT - 20), MUTED, 12)


def _draw_choice(panel: Picture, shown: str, cameras: Sequence[str]) -> None:
    """The cameras with the keys that show them; nothing where there is but one."""
    left = 24
    for number, name in enumerate(cameras[:MOST_KEYS] if len(cameras) > 1 else (), start=1):
        text = f"[{number}] {name}"
        put_text(panel, text, (left, 80), ACCENT if name == shown else MUTED, 12, 600 if name == shown else 400)
        left += text_width(text, 12, 600) + 14


def _draw_noise(panel: Picture, status: Status | None) -> None:
    """The motion on the crop that cannot be told from noise now."""
    noise = NoiseFloor() if status is None else status.noise
    floor_px = math.hypot(noise.u_px, noise.v_px)
    text = "not measured" if math.isnan(floor_px) else f"{floor_px:.3f} px"
    if math.isfinite(floor_px) and math.isfinite(noise.w_mm):
        text += f", depth {noise.w_mm:.2f} mm"
    put_text(panel, "Noise floor", (24, 208), MUTED, 12)
    put_text(panel, text, (24 + text_width("Noise floor", 12) + 10, 208), TEXT, 13)


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
        left, top = 24 + place % 3 * 116, 98 + place // 3 * 56
        put_text(panel, label, (left, top), MUTED, 12)
        put_text(panel, value, (left, top + 28), TEXT, 24, 600)
        put_text(panel, unit, (left + text_width(value, 24, 600) + 5, top + 28), MUTED, 12)


def _figure(value: float, decimals: int) -> str:
    return f"{value:.{decimals}f}" if math.isfinite(value) else UNKNOWN


def _draw_events(panel: Picture, state: OverlayState) -> None:
    right = panel.shape[1] - 24
    cv2.line(panel, (24, 222), (right, 222), RULE, 1)
    put_text(panel, "Last events", (24, 248), TEXT, 15, 600)
    recent = list(state.events.values())[-LISTED_EVENTS:][::-1]
    if not recent:
        put_text(panel, "none so far", (24, 276), MUTED, 13)
    for place, event in enumerate(recent):
        top = 268 + place * 56
        cv2.rectangle(panel, (24, top), (27, top + 38), STATE_COLORS[event.state], -1)
        color = MUTED if event.state == "withdrawn" else TEXT
        put_text(panel, f"{event.kind} · {event.emotion}", (38, top + 15), color, 15, 600)
        score = f"{event.score:.2f}"
        put_text(panel, score, (right - text_width(score, 15, 600), top + 15), color, 15, 600)
        duration_ms = (event.offset.t_capture_ns - event.onset.t_capture_ns) / 1e6
        detail = f"{event.state}, frames {event.onset.frame} to {event.offset.frame}, {duration_ms:.0f} ms"
        put_text(panel, ", ".join([detail, *event.flags]), (38, top + 35), MUTED, 12)
