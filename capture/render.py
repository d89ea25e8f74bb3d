"""Exact RGB-D rendering of a synthetic face.

A point of skin has canonical coordinates s. The forward map carries s to a pixel and a depth of a camera:
resting surface, plus action fields, then head pose, then projection. A frame is made by inverting that map at every
pixel (fixed point) and sampling the texture there, so the flow between any two frames follows from the map itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from .expression import Bumps, displace
from .face_model import (
    CENTRE_PX,
    FOCAL_PX,
    LAYER_ORIGIN,
    MIRROR_AXIS,
    PORTRAIT_CENTRE,
    PORTRAIT_SCALE,
    TEXELS,
    FaceModel,
    Floats,
)
from .frame import Extrinsics, Intrinsics

PIVOT_MM = (0.0, 0.0, 690.0)
"""Point about which the head turns, in the color camera's frame."""
WALL_MM = 1400.0
TORSO_MM = 700.0
COARSE_PX = 4
Rect = tuple[int, int, int, int]
"""x, y, width, height in pixels of a view."""


@dataclass(frozen=True, slots=True)
class View:
    """A pinhole camera: size and intrinsics in pixels, and where it stands relative to the color camera."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    from_color: Extrinsics = field(default_factory=Extrinsics)

    @classmethod
    def of(cls, intrinsics: Intrinsics, from_color: Extrinsics | None = None) -> View:
        """The view of a calibrated, undistorted stream."""
        i = intrinsics
        return cls(i.width, i.height, i.fx, i.fy, i.ppx, i.ppy, from_color or Extrinsics())

    def crop(self, x: float, y: float, size: float, side: int = 128) -> View:
        """The square at (x, y) of this view, area-scaled to `side` pixels."""
        scale = side / size
        return replace(
            self,
            width=side,
            height=side,
            fx=self.fx * scale,
            fy=self.fy * scale,
            cx=(self.cx - x + 0.5) * scale - 0.5,
            cy=(self.cy - y + 0.5) * scale - 0.5,
        )


CANONICAL = View(128, 128, FOCAL_PX, FOCAL_PX, CENTRE_PX, CENTRE_PX)
"""The 128x128 crop at f = 492 px that training and flow benchmarks render directly."""


@dataclass(frozen=True, slots=True, eq=False)
class FaceState:
    """The face at one instant."""

    bumps: Bumps = field(default_factory=lambda: np.zeros((0, 7)))
    closure: float = 0.0
    rotation_rad: tuple[float, float, float] = (0.0, 0.0, 0.0)
    translation_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    gain: float = 1.0
    offset: float = 0.0

    def posed_like(self, other: FaceState) -> FaceState:
        """This expression with the head pose of `other`: the rigid part of the motion between them."""
        return replace(self, rotation_rad=other.rotation_rad, translation_mm=other.translation_mm)


def _placement(state: FaceState, view: View) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rotation and translation (mm) from the resting head to the camera of `view`."""
    turn = np.asarray(cv2.Rodrigues(np.array(state.rotation_rad, dtype=np.float64))[0], dtype=np.float64)
    pivot = np.array(PIVOT_MM)
    moved = pivot - turn @ pivot + np.array(state.translation_mm)
    camera = view.from_color.matrix()
    return camera @ turn, camera @ moved + 1000.0 * np.array(view.from_color.translation_m)


def forward(model: FaceModel, state: FaceState, view: View, sx: Floats, sy: Floats) -> tuple[Floats, Floats, Floats]:
    """Pixel x, y and depth (mm) of canonical points; works in the dtype of `sx`."""
    z = model.shape.depth_mm(sx, sy)
    x = (sx - CENTRE_PX) * (1.0 / FOCAL_PX) * z
    y = (sy - CENTRE_PX) * (1.0 / FOCAL_PX) * z
    if len(state.bumps):
        dx, dy, dz = displace(state.bumps, sx, sy)
        x, y, z = x + dx, y + dy, z + dz
    turn, moved = _placement(state, view)
    rows = [[float(value) for value in row] for row in turn]
    tx, ty, tz = (float(value) for value in moved)
    depth = rows[2][0] * x + rows[2][1] * y + rows[2][2] * z + tz
    inverse = 1.0 / depth
    px = (rows[0][0] * x + rows[0][1] * y + rows[0][2] * z + tx) * inverse * view.fx + view.cx
    py = (rows[1][0] * x + rows[1][1] * y + rows[1][2] * z + ty) * inverse * view.fy + view.cy
    return px, py, depth


def invert(
    model: FaceModel, state: FaceState, view: View, rect: Rect, rounds: int = 2
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Canonical x, y and depth (mm) seen at every pixel of `rect`: (h, w) float32 each.

    Solved on every fourth pixel first, interpolated, then `rounds` fixed-point steps at every pixel: two leave
    less than 0.002 px in micro- and 0.01 px in macro-expressions, and one is enough (0.001 px) while only the head
    moves, so one is taken then.
    """
    x0, y0, width, height = rect
    step_x, step_y = FOCAL_PX / view.fx, FOCAL_PX / view.fy
    columns = x0 + COARSE_PX * np.arange(-1, width // COARSE_PX + 3, dtype=np.float64)
    rows = y0 + COARSE_PX * np.arange(-1, height // COARSE_PX + 3, dtype=np.float64)
    gx, gy = np.meshgrid(columns, rows)
    moving = len(state.bumps) > 0
    cx, cy = solve(model, state, view, gx, gy, 10 if moving else 6)
    fine_x = np.arange(x0, x0 + width, dtype=np.float32)[None, :].repeat(height, axis=0)
    fine_y = np.arange(y0, y0 + height, dtype=np.float32)[:, None].repeat(width, axis=1)
    across = (fine_x - np.float32(columns[0])) * np.float32(1.0 / COARSE_PX)
    down = (fine_y - np.float32(rows[0])) * np.float32(1.0 / COARSE_PX)
    rest = np.dstack([cx - gx * step_x, cy - gy * step_y]).astype(np.float32)
    start = cv2.remap(rest, across, down, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    sx = start[..., 0] + fine_x * np.float32(step_x)
    sy = start[..., 1] + fine_y * np.float32(step_y)
    for _ in range(rounds if moving else 1):
        px, py, depth = forward(model, state, view, sx, sy)
        scale = depth * (1.0 / 600.0)
        sx += (fine_x - px) * step_x * scale
        sy += (fine_y - py) * step_y * scale
    return sx, sy, np.asarray(depth, dtype=np.float32)


def solve(model: FaceModel, state: FaceState, view: View, gx: Floats, gy: Floats, rounds: int) -> tuple[Floats, Floats]:
    """Canonical points seen at pixels (gx, gy), by `rounds` fixed-point steps from the plain back-projection."""
    step_x, step_y = FOCAL_PX / view.fx, FOCAL_PX / view.fy
    sx, sy = (gx - view.cx) * step_x + CENTRE_PX, (gy - view.cy) * step_y + CENTRE_PX
    for _ in range(rounds):
        px, py, depth = forward(model, state, view, sx, sy)
        sx = sx + (gx - px) * step_x * (depth / 600.0)
        sy = sy + (gy - py) * step_y * (depth / 600.0)
    return sx, sy


def head_rect(model: FaceModel, state: FaceState, view: View) -> Rect:
    """The part of the view that the head can cover, clipped to the image."""
    left, top, right, bottom = model.extent
    middle = CENTRE_PX
    outline = np.array(
        [(left, top), (middle, top), (right, top), (left, middle), (right, middle), (left, bottom), (right, bottom)]
    )
    still = replace(state, bumps=np.zeros((0, 7)))
    px, py, _ = forward(model, still, view, outline[:, 0], outline[:, 1])
    x0, y0 = max(int(px.min()), 0), max(int(py.min()), 0)
    x1, y1 = min(int(px.max()) + 1, view.width), min(int(py.max()) + 1, view.height)
    return x0, y0, max(x1 - x0, 0), max(y1 - y0, 0)


def sample_layer(
    model: FaceModel, sx: NDArray[np.float32], sy: NDArray[np.float32], closure: float = 0.0
) -> NDArray[np.float32]:
    """The head's texture at canonical points: (..., 4) float32, RGB premultiplied by alpha, and alpha 0..1."""
    rows = _lidded(model, sx, sy, closure) if closure > 0.0 else sy
    tx, ty = _texels(sx, rows)
    layer = cv2.remap(model.texture, tx, ty, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(layer, dtype=np.float32)


def _texels(sx: NDArray[np.float32], sy: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Column and row of the texture at canonical points."""
    return (sx - (LAYER_ORIGIN[0] - 0.5)) * TEXELS - 0.5, (sy - (LAYER_ORIGIN[1] - 0.5)) * TEXELS - 0.5


def _lidded(model: FaceModel, sx: NDArray[np.float32], sy: NDArray[np.float32], closure: float) -> NDArray[np.float32]:
    sy = sy.copy()
    for eye in model.eyes:
        inside = (np.abs(sx - eye.middle_x) < eye.half_width) & (np.abs(sy - eye.corner_y) < 20.0)
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        if len(rows) and len(columns):
            part = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
            sy[part] = eye.to_texture(sx[part], sy[part], closure)
    return sy


class Renderer:
    """One face before one wall, seen by one view; holds the fixed background. Nothing here depends on history."""

    def __init__(self, model: FaceModel, view: View, place_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> None:
        """Draws the background once; `place_mm` is where the body stands, away from its usual place."""
        self.model, self.view = model, view
        wall, torso = _background(model, view, place_mm)
        self._color = wall * (1.0 - torso[..., 3:]) + torso[..., :3]
        self._depth = _background_depth(view, torso[..., 3], TORSO_MM + place_mm[2])
        self._shade = _side_light(model, view)
        self._alpha = np.ascontiguousarray(model.texture[..., 3])

    def render(self, state: FaceState, rounds: int = 3) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Color (H, W, 3) float32 0..255 and depth (H, W) float32 mm, before light and noise."""
        area, layer, z = self._head(state, rounds)
        return self._lay_color(area, layer), self._lay_depth(area, layer[..., 3], z)

    def color(self, state: FaceState, rounds: int = 2) -> NDArray[np.float32]:
        """Only the color of `render`."""
        area, layer, _ = self._head(state, rounds)
        return self._lay_color(area, layer)

    def depth(self, state: FaceState, rounds: int = 2) -> NDArray[np.float32]:
        """Only the depth of `render`; lids have no depth of their own."""
        area, (sx, sy, z) = self._seen(state, rounds)
        tx, ty = _texels(sx, sy)
        alpha = cv2.remap(self._alpha, tx, ty, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT) if z.size else z
        return self._lay_depth(area, np.asarray(alpha, dtype=np.float32), z)

    def _head(
        self, state: FaceState, rounds: int
    ) -> tuple[tuple[slice, slice], NDArray[np.float32], NDArray[np.float32]]:
        area, (sx, sy, z) = self._seen(state, rounds)
        if not z.size:
            return area, np.zeros((0, 0, 4), np.float32), z
        return area, sample_layer(self.model, sx, sy, state.closure), z

    def _seen(
        self, state: FaceState, rounds: int
    ) -> tuple[tuple[slice, slice], tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]]:
        """The part of the view that the head covers, and its canonical x, y and depth there; empty where it is none."""
        x, y, width, height = rect = head_rect(self.model, state, self.view)
        if width < 2 or height < 2:
            nothing = np.zeros((0, 0), np.float32)
            return (slice(0, 0), slice(0, 0)), (nothing, nothing, nothing)
        return (slice(y, y + height), slice(x, x + width)), invert(self.model, state, self.view, rect, rounds)

    def _lay_color(self, area: tuple[slice, slice], layer: NDArray[np.float32]) -> NDArray[np.float32]:
        color = self._color.copy()
        if not layer.size:
            return color
        # whole images of three channels: NumPy broadcasts a last axis of one three times as slowly
        head = cv2.cvtColor(layer, cv2.COLOR_RGBA2RGB)
        through = cv2.cvtColor(1.0 - layer[..., 3], cv2.COLOR_GRAY2RGB)
        under = color[area]
        under *= through
        under += head if self._shade is None else head * self._shade[area]
        return color

    def _lay_depth(
        self, area: tuple[slice, slice], alpha: NDArray[np.float32], z: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        depth = self._depth.copy()
        depth[area] = np.where(alpha > 0.5, z, depth[area])
        return depth


def _side_light(model: FaceModel, view: View) -> NDArray[np.float32] | None:
    """Brightness factor (H, W, 1) of a lamp beside the camera; it stands still while the head moves."""
    if model.looks.side_light == 0.0:
        return None
    across = (np.arange(view.width) - view.cx) / view.fx * (FOCAL_PX / 60.0)
    row = 1.0 + model.looks.side_light * np.tanh(across)
    return np.broadcast_to(row[None, :, None], (view.height, view.width, 1)).astype(np.float32)


def _background(
    model: FaceModel, view: View, place_mm: tuple[float, float, float]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Lit wall (H, W, 3) and the torso layer (H, W, 4) as this view sees them."""
    gx, gy = np.meshgrid(np.arange(view.width, dtype=np.float64), np.arange(view.height, dtype=np.float64))
    sx, sy = _on_torso(view, gx, gy, place_mm)
    shade = 1.0 - 0.0006 * np.abs(sy - 10.0) - 0.0004 * np.abs(sx - 40.0)
    wall = shade[..., None] * np.asarray(model.looks.wall)
    px = (sx - CENTRE_PX) / PORTRAIT_SCALE + PORTRAIT_CENTRE[0]
    if model.looks.mirror:
        mirrored = 2.0 * MIRROR_AXIS - sx
        px = model.torso.shape[1] - 1.0 - ((mirrored - CENTRE_PX) / PORTRAIT_SCALE + PORTRAIT_CENTRE[0])
    # the body goes on below the portrait's edge as its last row
    py = np.minimum((sy - CENTRE_PX) / PORTRAIT_SCALE + PORTRAIT_CENTRE[1], model.torso.shape[0] - 1.0)
    torso = cv2.remap(
        model.torso, px.astype(np.float32), py.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT
    )
    return wall.astype(np.float32), np.asarray(torso, dtype=np.float32)


def _on_torso(view: View, gx: Floats, gy: Floats, place_mm: tuple[float, float, float]) -> tuple[Floats, Floats]:
    """Canonical points of the flat torso that this view sees at its pixels."""
    rays = np.stack([(gx - view.cx) / view.fx, (gy - view.cy) / view.fy, np.ones_like(gx)], axis=-1)
    back = view.from_color.inverse()
    points = rays * (TORSO_MM + place_mm[2]) @ back.matrix().T + 1000.0 * np.array(back.translation_m) - place_mm
    sx = points[..., 0] / points[..., 2] * FOCAL_PX + CENTRE_PX
    sy = points[..., 1] / points[..., 2] * FOCAL_PX + CENTRE_PX
    return sx, sy


def _background_depth(view: View, torso: NDArray[np.float32], torso_mm: float) -> NDArray[np.float32]:
    columns = (np.arange(view.width) - view.cx)[None, :] / view.fx
    rounded = torso_mm + 250.0 * columns**2 + np.zeros((view.height, 1))
    return np.where(torso > 0.5, np.minimum(rounded, WALL_MM), WALL_MM).astype(np.float32)
