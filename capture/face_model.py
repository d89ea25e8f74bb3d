"""The head of the synthetic camera: a smooth surface under a portrait, and many identities drawn from it.

Everything lives in canonical pixels `s`: the 128x128 crop of a camera with f = 492 px and centre 63.5 that sees the
resting face from the front, so one canonical pixel is about 1.22 mm of skin at 0.6 m.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import cv2
import numpy as np
from numpy.typing import NDArray

from .face_looks import Looks, draw_looks, paint

Floats = NDArray[np.floating]

FOCAL_PX = 492.0
CENTRE_PX = 63.5
MM_PER_PX = 600.0 / FOCAL_PX
"""Skin seen by one canonical pixel at 0.6 m."""
PORTRAIT_SCALE = 1.15
"""Canonical pixels per pixel of the portrait."""
PORTRAIT_CENTRE = (223.0, 127.0)
"""Pixel of the portrait that lies at `CENTRE_PX`."""
LAYER_ORIGIN = (-34.0, -76.0)
LAYER_SIZE = (200, 226)
"""Canonical rectangle that holds the head: x, y of its corner and width, height."""
TEXELS = 3
"""Texels per canonical pixel: bilinear sampling of this is exact to about 1/100 px on any OpenCV."""


@dataclass(frozen=True, slots=True)
class HeadShape:
    """The resting surface; lengths in mm, centres and widths of its features in canonical pixels."""

    half_width_mm: float = 75.0
    half_height_mm: float = 100.0
    falloff_mm: float = 62.0
    nose_mm: float = 18.0
    nose: tuple[float, float] = (63.5, 61.0)
    nose_width: tuple[float, float] = (8.5, 13.0)
    socket_mm: float = 5.0
    sockets: tuple[tuple[float, float], ...] = ()

    def depth_mm(self, sx: Floats, sy: Floats) -> Floats:
        """Distance of the resting surface along z at canonical pixels, mm; keeps the dtype."""
        across = (sx - CENTRE_PX) * (MM_PER_PX / self.half_width_mm)
        down = (sy - CENTRE_PX) * (MM_PER_PX / self.half_height_mm)
        q = across * across + down * down
        depth = 600.0 + self.falloff_mm * q / (1.0 + 0.4 * q)
        depth -= self.nose_mm * _bell(sx, sy, self.nose, self.nose_width)
        for socket in self.sockets:
            depth += self.socket_mm * _bell(sx, sy, socket, (8.0, 6.0))
        return depth


def _bell(sx: Floats, sy: Floats, centre: tuple[float, float], width: tuple[float, float]) -> Floats:
    across = (sx - centre[0]) * (1.0 / width[0])
    down = (sy - centre[1]) * (1.0 / width[1])
    bell: Floats = np.exp(-0.5 * (across * across + down * down))
    return bell


@dataclass(frozen=True, slots=True)
class Eye:
    """Where the lids of one eye meet the eyeball: two parabolas over the line between its corners."""

    middle_x: float
    half_width: float
    corner_y: float
    slope: float
    upper: float
    """Height of the upper margin over the line at the middle, canonical pixels."""
    lower: float
    """Depth of the lower margin under the line."""
    band: float = 6.5
    """Height of the lid above its margin that moves when it closes, canonical pixels."""
    lashes: float = 2.4

    @property
    def opening(self) -> float:
        """Way of the upper margin to the lower one at the middle, canonical pixels."""
        return self.upper + self.lower

    def margins(self, sx: Floats) -> tuple[Floats, Floats]:
        """y of the upper margin and the opening below it, for columns `sx`."""
        across = (sx - self.middle_x) * (1.0 / self.half_width)
        arch = np.clip(1.0 - across * across, 0.0, None)
        upper = self.corner_y + self.slope * (sx - self.middle_x) - self.upper * arch
        return upper, arch * self.opening

    def to_texture(self, sx: Floats, sy: Floats, closure: float) -> Floats:
        """Texture row shown at (sx, sy) while the lid is closed to the share `closure`.

        The lashes move as they are, the skin above them stretches, the eyeball below stays and is covered.
        """
        upper, opening = self.margins(sx)
        travel = opening * closure
        top, skin = upper - self.band, self.band - self.lashes
        stretched = top + (sy - top) * (skin / (skin + travel))
        lid = np.where(sy < top + skin + travel, stretched, sy - travel)
        return np.where((sy > top) & (sy < upper + travel), lid, sy)

    def from_texture(self, sx: Floats, ty: Floats, closure: float) -> Floats:
        """Where the skin of texture row `ty` lies at `closure`; inverse of `to_texture` on the lid."""
        upper, opening = self.margins(sx)
        travel = opening * closure
        top, skin = upper - self.band, self.band - self.lashes
        stretched = top + (ty - top) * ((skin + travel) / skin)
        lid = np.where(ty < top + skin, stretched, ty + travel)
        return np.where((ty > top) & (ty < upper), lid, ty)


@dataclass(frozen=True, slots=True, eq=False)
class FaceModel:
    """One identity."""

    identity: int
    texture: NDArray[np.float32]
    """(H, W, 4) float32: RGB premultiplied by alpha, and alpha 0..1, `TEXELS` per canonical pixel."""
    torso: NDArray[np.float32]
    """(300, 448, 4) float32 like `texture`, on the portrait's own grid; it does not move."""
    landmarks: NDArray[np.float64]
    """(68, 2) canonical pixels, iBUG order."""
    shape: HeadShape
    eyes: tuple[Eye, Eye]
    looks: Looks
    extent: tuple[float, float, float, float]
    """Left, top, right and bottom of what the texture covers, canonical pixels, with 2 px to spare."""


@lru_cache(maxsize=1)
def _portrait() -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    folder = files(__package__) / "data"
    raw = np.frombuffer((folder / "portrait.png").read_bytes(), np.uint8)
    image = cv2.imdecode(raw, cv2.IMREAD_UNCHANGED)
    if image is None:
        raise ValueError("portrait.png of the package cannot be decoded; reinstall sfam-live")
    points = json.loads((folder / "portrait.json").read_text(encoding="utf-8"))["landmarks_px"]
    bgra = np.asarray(image, dtype=np.uint8)
    return bgra[..., [2, 1, 0, 3]], np.array(points, dtype=np.float64)


@lru_cache(maxsize=8)
def face_model(identity: int) -> FaceModel:
    """The head with this number: 0 the plain portrait, 1 its mirror image, from 2 on all drawn from the number.

    Raises:
        ValueError: for a negative number.
    """
    if identity < 0:
        raise ValueError(f"identity must be 0 or more, got {identity}")
    looks = draw_looks(identity)
    portrait, points = _portrait()
    sx, sy = layer_grid()
    wx, wy = looks.warp(sx, sy)
    canvas = _sample(portrait.astype(np.float32), wx, wy)
    alpha = np.clip(cv2.GaussianBlur(_sample(_is_head(portrait), wx, wy), (0, 0), 3.0) * 2.0 - 0.6, 0.0, 1.0)
    landmarks = _unwarped(looks, (points - PORTRAIT_CENTRE) * PORTRAIT_SCALE + CENTRE_PX)
    local = ((landmarks - LAYER_ORIGIN + 0.5) * TEXELS - 0.5).astype(np.float32)
    color = paint(canvas[..., :3], local, looks, TEXELS)
    if looks.mirror:
        color, alpha, landmarks = color[:, ::-1], alpha[:, ::-1], _mirrored(landmarks)
    return FaceModel(
        identity=identity,
        texture=np.ascontiguousarray(np.dstack([color * alpha[..., None], alpha]), dtype=np.float32),
        torso=_torso(portrait, looks),
        landmarks=landmarks,
        shape=_shape(landmarks, looks),
        eyes=_eyes(landmarks),
        looks=looks,
        extent=_extent(alpha),
    )


def _extent(alpha: NDArray[np.float32]) -> tuple[float, float, float, float]:
    columns, rows = np.flatnonzero(alpha.any(axis=0)) / TEXELS, np.flatnonzero(alpha.any(axis=1)) / TEXELS
    left, top = float(columns[0]) + LAYER_ORIGIN[0] - 2.0, float(rows[0]) + LAYER_ORIGIN[1] - 2.0
    return left, top, float(columns[-1]) + LAYER_ORIGIN[0] + 2.0, float(rows[-1]) + LAYER_ORIGIN[1] + 2.0


def layer_grid() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Canonical x and y of every texel, (H, W) float32 each."""
    columns = (np.arange(LAYER_SIZE[0] * TEXELS) + 0.5) / TEXELS - 0.5 + LAYER_ORIGIN[0]
    rows = (np.arange(LAYER_SIZE[1] * TEXELS) + 0.5) / TEXELS - 0.5 + LAYER_ORIGIN[1]
    sx, sy = np.meshgrid(columns, rows)
    return sx.astype(np.float32), sy.astype(np.float32)


def _sample(image: NDArray[np.float32], sx: Floats, sy: Floats) -> NDArray[np.float32]:
    mx = ((sx - CENTRE_PX) / PORTRAIT_SCALE + PORTRAIT_CENTRE[0]).astype(np.float32)
    my = ((sy - CENTRE_PX) / PORTRAIT_SCALE + PORTRAIT_CENTRE[1]).astype(np.float32)
    taken = cv2.remap(image, mx, my, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    clipped: NDArray[np.float32] = np.clip(taken, 0.0, 255.0)
    return clipped


def _is_head(portrait: NDArray[np.uint8]) -> NDArray[np.float32]:
    head: NDArray[np.float32] = (portrait[..., 3] == 255).astype(np.float32)
    return head


def _torso(portrait: NDArray[np.uint8], looks: Looks) -> NDArray[np.float32]:
    """Body with the neck painted over by the black collar, so that a moving head uncovers cloth."""
    label = portrait[..., 3]
    color = portrait[..., :3].astype(np.float32)
    rows = np.arange(label.shape[0])[:, None]
    neck = (label == 255) & (rows > 165)
    color = color @ np.asarray(looks.cloth, dtype=np.float32).T
    color[cv2.dilate(neck.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0] = (16.0, 16.0, 18.0)
    inner = cv2.erode(neck.astype(np.uint8), np.ones((1, 9), np.uint8)) > 0
    solid = ((label == 128) | (inner & (rows > 172))).astype(np.float32)
    alpha = cv2.GaussianBlur(solid, (0, 0), 0.8)
    layer = np.dstack([np.clip(color, 0.0, 255.0) * alpha[..., None], alpha]).astype(np.float32)
    return np.ascontiguousarray(layer[:, ::-1]) if looks.mirror else layer


def _unwarped(looks: Looks, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points that the warp carries to `points` (fixed point; the warp is gentle)."""
    found = points.copy()
    for _ in range(30):
        wx, wy = looks.warp(found[:, 0], found[:, 1])
        found += points - np.stack([wx, wy], axis=1)
    return found


def _mirrored(points: NDArray[np.float64]) -> NDArray[np.float64]:
    order = [*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1)]
    order += [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
    order += [54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
    turned = points[order].copy()
    turned[:, 0] = 2.0 * MIRROR_AXIS - turned[:, 0]
    return turned


MIRROR_AXIS = LAYER_ORIGIN[0] + (LAYER_SIZE[0] - 1) / 2.0
"""Canonical column about which the layer is mirrored."""


def _shape(landmarks: NDArray[np.float64], looks: Looks) -> HeadShape:
    tip, bridge = landmarks[30], landmarks[28]
    eyes = (landmarks[36:42].mean(axis=0), landmarks[42:48].mean(axis=0))
    return HeadShape(
        half_width_mm=75.0 * looks.width,
        half_height_mm=100.0 * looks.height,
        nose_mm=18.0 * looks.nose,
        nose=(float(tip[0]), float(0.75 * tip[1] + 0.25 * bridge[1])),
        nose_width=(8.5 * looks.nose_width, 13.0),
        socket_mm=5.0 * looks.socket,
        sockets=tuple((float(eye[0]), float(eye[1])) for eye in eyes),
    )


def _eyes(landmarks: NDArray[np.float64]) -> tuple[Eye, Eye]:
    return _eye(landmarks[36:42]), _eye(landmarks[42:48])


def _eye(points: NDArray[np.float64]) -> Eye:
    left, right = points[0], points[3]
    middle, half = float(left[0] + right[0]) / 2.0, float(right[0] - left[0]) / 2.0 + 1.5
    slope = float((right[1] - left[1]) / (right[0] - left[0]))
    corner = float(left[1] + right[1]) / 2.0
    lids = points[[1, 2, 4, 5]]
    over = corner + slope * (lids[:, 0] - middle) - lids[:, 1]
    height = over / (1.0 - ((lids[:, 0] - middle) / half) ** 2)
    return Eye(middle, half, corner, slope, float(height[:2].mean()) - 0.2, 0.8 * float(-height[2:].mean()))
