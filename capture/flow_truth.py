"""The true scene flow between two states of a synthetic face, from the forward map itself."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .expression import FaceEvent, event_bumps
from .face_model import FaceModel, Floats
from .render import CANONICAL, FaceState, View, forward, sample_layer, solve


@dataclass(frozen=True, slots=True, eq=False)
class FlowTruth:
    """True motion of the point seen at each pixel of image a, to image b; image b at (x + u, y + v) shows it."""

    u: NDArray[np.float32]
    """(H, W) px of the view, to the right."""
    v: NDArray[np.float32]
    """(H, W) px of the view, down."""
    w: NDArray[np.float32]
    """(H, W) change of depth, mm, positive = away."""
    rigid: NDArray[np.float32]
    """(3, H, W): u, v, w if only the head had moved."""
    head: NDArray[np.bool_]
    """(H, W) where image a shows the head; elsewhere nothing moves and all maps are 0."""
    hull: NDArray[np.bool_]
    """(H, W) hull of the landmarks, grown by 2 px, where it shows the head."""
    act: NDArray[np.bool_]
    """(H, W) part of the hull where the expression part exceeds half its peak; empty when only the head moves."""


def flow_between(model: FaceModel, a: FaceState, b: FaceState, view: View = CANONICAL) -> FlowTruth:
    """Flow from state `a` to state `b` seen by `view`; exact to 1e-5 px.

    The eyeball that a closing lid covers, and what an opening one uncovers, is reported as it would move unseen.
    """
    gx, gy = np.meshgrid(np.arange(view.width, dtype=np.float64), np.arange(view.height, dtype=np.float64))
    sx, sy = solve(model, a, view, gx, gy, 60)
    before = np.stack(forward(model, a, view, sx, sy))
    after = np.stack(forward(model, b, view, sx, _lids(model, sx, sy, a.closure, b.closure)))
    turned = np.stack(forward(model, a.posed_like(b), view, sx, sy))
    head = sample_layer(model, sx.astype(np.float32), sy.astype(np.float32))[..., 3] > 0.5
    flow, rigid = (after - before) * head, (turned - before) * head
    hull = _hull(landmark_pixels(model, a, view), view) & head
    part = np.hypot(flow[0] - rigid[0], flow[1] - rigid[1]) * hull
    peak = float(part.max())
    act = np.asarray(part > 0.5 * peak) if peak > 1e-3 else np.zeros_like(hull)
    u, v, w = (channel.astype(np.float32) for channel in flow)
    return FlowTruth(u, v, w, rigid.astype(np.float32), head, hull, act)


def landmark_pixels(model: FaceModel, state: FaceState, view: View) -> NDArray[np.float64]:
    """(68, 2) true landmark pixels in `view`."""
    px, py, _ = forward(model, state, view, model.landmarks[:, 0], model.landmarks[:, 1])
    return np.stack([px, py], axis=1).astype(np.float64)


def event_peak(event: FaceEvent, model: FaceModel) -> tuple[float, float]:
    """Largest motion the event alone causes at its apex: in pixels of the canonical crop, and in depth (mm).

    Blinks: way of the lid's margin, and 0.
    """
    if event.kind == "blink":
        return event.closure * max(eye.opening for eye in model.eyes), 0.0
    sx, sy = np.meshgrid(np.arange(128.0), np.arange(128.0))
    rest = forward(model, FaceState(), CANONICAL, sx, sy)
    apex = forward(model, FaceState(event_bumps(event, model)), CANONICAL, sx, sy)
    return float(np.hypot(apex[0] - rest[0], apex[1] - rest[1]).max()), float(np.abs(apex[2] - rest[2]).max())


def _lids(model: FaceModel, sx: Floats, sy: Floats, before: float, after: float) -> Floats:
    """Where the skin seen at (sx, sy) lies once the lids have gone from `before` to `after`."""
    if before == after:
        return sy
    for eye in model.eyes:
        near = (np.abs(sx - eye.middle_x) < eye.half_width) & (np.abs(sy - eye.corner_y) < 20.0)
        sy = np.where(near, eye.from_texture(sx, eye.to_texture(sx, sy, before), after), sy)
    return sy


def _hull(points: NDArray[np.float64], view: View) -> NDArray[np.bool_]:
    mask = np.zeros((view.height, view.width), np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.round(points).astype(np.int32)), 1)
    return np.asarray(cv2.dilate(mask, np.ones((5, 5), np.uint8)) > 0)
