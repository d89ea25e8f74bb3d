"""What makes two synthetic heads look different: proportions, skin, hair, beard, freckles, glasses, light."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Color = tuple[float, float, float]
PLAIN_CLOTH = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


@dataclass(frozen=True, slots=True)
class Looks:
    """Appearance of one identity; factors are 1 and amounts 0 for the plain portrait."""

    mirror: bool = False
    width: float = 1.0
    height: float = 1.0
    nose: float = 1.0
    nose_width: float = 1.0
    socket: float = 1.0
    bends: tuple[tuple[float, float, float, float, float, float], ...] = ()
    """Local bends of the portrait: x, y, sigma x, sigma y, shift x, shift y; canonical pixels."""
    skin: Color = (1.0, 1.0, 1.0)
    skin_gamma: float = 1.0
    hair: Color = (1.0, 1.0, 1.0)
    freckles: int = 0
    beard: float = 0.0
    glasses: bool = False
    side_light: float = 0.0
    """Relative brightness change from the middle of the face to its right edge."""
    wall: Color = (150.0, 152.0, 158.0)
    cloth: tuple[Color, Color, Color] = PLAIN_CLOTH
    seed: int = 0

    def warp(self, sx: Floats, sy: Floats) -> tuple[Floats, Floats]:
        """Canonical place in the portrait that is shown at (sx, sy)."""
        fade = 1.0 / (1.0 + np.exp((sy - 122.0) / 6.0))
        wx = sx + (sx - 63.5) * (1.0 / self.width - 1.0) * fade
        wy = sy + (sy - 118.0) * (1.0 / self.height - 1.0) * fade
        for x, y, wide, high, dx, dy in self.bends:
            bell = np.exp(-0.5 * (((sx - x) / wide) ** 2 + ((sy - y) / high) ** 2))
            wx, wy = wx - dx * bell, wy - dy * bell
        return wx, wy


SKINS: tuple[tuple[Color, float], ...] = (
    ((1.0, 1.0, 1.0), 1.0),
    ((0.86, 0.78, 0.68), 1.1),
    ((0.66, 0.55, 0.46), 1.2),
    ((0.62, 0.49, 0.41), 1.1),
    ((1.03, 0.95, 0.92), 0.95),
    ((0.93, 0.86, 0.70), 1.05),
)
HAIRS: tuple[Color, ...] = ((0.35, 0.33, 0.36), (1.25, 1.2, 1.1), (0.9, 0.6, 0.45), (0.6, 0.52, 0.5), (1.15, 1.3, 1.6))
WALLS: tuple[Color, ...] = ((150, 152, 158), (96, 106, 116), (176, 168, 152), (120, 134, 124), (196, 196, 198))


def draw_looks(identity: int) -> Looks:
    """Appearance of identity number `identity`; 0 plain, 1 mirrored, others drawn from the number alone."""
    if identity < 2:
        return Looks(mirror=identity == 1)
    rng = np.random.default_rng((20240, identity))
    hair = HAIRS[(2 * identity + int(rng.integers(2))) % len(HAIRS)]
    skin, gamma = SKINS[(identity + int(rng.integers(2))) % len(SKINS)]
    cloth = np.array(PLAIN_CLOTH)[rng.permutation(3)] * rng.uniform(0.5, 1.0)
    red, green, blue = (tuple(float(value) for value in row) for row in cloth)
    return Looks(
        mirror=bool(rng.integers(2)),
        width=float(rng.uniform(0.92, 1.10)),
        height=float(rng.uniform(0.92, 1.08)),
        nose=float(rng.uniform(0.7, 1.3)),
        nose_width=float(rng.uniform(0.85, 1.2)),
        socket=float(rng.uniform(0.6, 1.5)),
        bends=_bends(rng),
        skin=skin,
        skin_gamma=gamma,
        hair=hair if skin[0] > 0.7 else HAIRS[0],
        freckles=int(rng.integers(40, 120)) if identity % 5 == 4 else 0,
        beard=float(rng.uniform(0.35, 0.6)) * skin[0] if identity % 3 == 1 else 0.0,
        glasses=identity % 4 == 3,
        side_light=float(rng.uniform(-0.3, 0.3)),
        wall=WALLS[int(rng.integers(len(WALLS)))],
        cloth=(red, green, blue),  # type: ignore[arg-type]
        seed=identity,
    )


def _bends(rng: np.random.Generator) -> tuple[tuple[float, float, float, float, float, float], ...]:
    """Eyes apart or together, brows up or down, nose and mouth wider or longer, jaw broader or narrower."""
    apart, brow, eye, mouth, lips, jaw = rng.uniform(-1.0, 1.0, 6)
    return (
        (40.0, 40.0, 13.0, 9.0, -2.2 * apart, 1.5 * eye),
        (88.0, 41.0, 13.0, 9.0, 2.2 * apart, 1.5 * eye),
        (40.0, 24.0, 15.0, 7.0, 0.0, 2.0 * brow),
        (90.0, 25.0, 15.0, 7.0, 0.0, 2.0 * brow),
        (40.0, 82.0, 10.0, 10.0, -2.5 * mouth, 2.0 * lips),
        (86.0, 82.0, 10.0, 10.0, 2.5 * mouth, 2.0 * lips),
        (22.0, 95.0, 16.0, 20.0, -4.0 * jaw, 0.0),
        (106.0, 95.0, 16.0, 20.0, 4.0 * jaw, 0.0),
    )


def paint(color: NDArray[np.float32], points: NDArray[np.float32], looks: Looks, texels: int) -> NDArray[np.float32]:
    """Skin, hair, beard, freckles and glasses on a portrait.

    Args:
        color: (H, W, 3) float32 RGB 0..255, already in the identity's proportions.
        points: (68, 2) float32 landmarks in pixels of `color`.
        looks: what to paint.
        texels: pixels of `color` per canonical pixel.
    """
    if looks.seed == 0:
        return color
    rng = np.random.default_rng((20241, looks.seed))
    skin = _skin_mask(color.shape[:2], points, texels)[..., None]
    unit = np.clip(color / 255.0, 0.0, 1.0)
    toned = 255.0 * unit**looks.skin_gamma * np.asarray(looks.skin, dtype=np.float32)
    haired = color * np.asarray(looks.hair, dtype=np.float32)
    open_parts = _polygons(color.shape[:2], [points[36:42], points[42:48], points[60:68]], 0.5 * texels)[..., None]
    painted = skin * toned + (1.0 - skin) * haired
    painted = open_parts * color * (0.75 + 0.25 * looks.skin[0]) + (1.0 - open_parts) * painted
    if looks.freckles:
        painted *= _freckles(color.shape[:2], points, looks.freckles, texels, rng)[..., None]
    if looks.beard:
        painted *= _beard(color.shape[:2], points, looks.beard, texels, rng)[..., None]
    if looks.glasses:
        painted = _glasses(painted, points, texels, rng)
    clipped: NDArray[np.float32] = np.clip(painted, 0.0, 255.0).astype(np.float32)
    return clipped


def _polygons(shape: tuple[int, ...], outlines: list[NDArray[np.float32]], blur: float) -> NDArray[np.float32]:
    mask = np.zeros(shape[:2], np.float32)
    for outline in outlines:
        cv2.fillPoly(mask, [np.round(outline).astype(np.int32)], 1.0)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), blur), dtype=np.float32)


def _skin_mask(shape: tuple[int, ...], points: NDArray[np.float32], texels: int) -> NDArray[np.float32]:
    brow = points[17:27][::-1] - np.array([0.0, 7.0 * texels], dtype=np.float32)
    face = np.concatenate([points[:17], brow])
    chin = points[8]
    below = np.array([30.0, 22.0], dtype=np.float32) * texels
    neck = np.array([points[3], points[13], chin + below, chin + below * (-1.0, 1.0)], dtype=np.float32)
    grown = _polygons(shape, [face, neck], 0.1)
    size = 2 * int(3.0 * texels) + 1
    grown = np.asarray(cv2.dilate(grown, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))), np.float32)
    return np.asarray(cv2.GaussianBlur(grown, (0, 0), 1.5 * texels), dtype=np.float32)


def _freckles(
    shape: tuple[int, ...], points: NDArray[np.float32], count: int, texels: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    spots = np.zeros(shape[:2], np.float32)
    middle, spread = points[29], np.array([22.0, 11.0]) * texels
    for x, y in rng.normal(middle, spread, (count, 2)):
        radius = int(rng.integers(1, 1 + texels))
        cv2.circle(spots, (int(x), int(y)), radius, float(rng.uniform(0.1, 0.4)), -1)
    return np.asarray(1.0 - cv2.GaussianBlur(spots, (0, 0), 0.5 * texels), dtype=np.float32)


def _beard(
    shape: tuple[int, ...], points: NDArray[np.float32], amount: float, texels: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    lip_side = points[[54, 35, 33, 31, 48]] + np.array([0.0, 2.0 * texels], dtype=np.float32)
    jaw = np.concatenate([points[2:15], lip_side])
    area = _polygons(shape, [jaw], 2.5 * texels)
    area *= 1.0 - _polygons(shape, [points[48:60]], 0.8 * texels)
    grain = cv2.GaussianBlur(rng.standard_normal(shape[:2], dtype=np.float32), (0, 0), 0.8 * texels)
    grain = np.clip(0.75 + 0.14 * grain / grain.std(), 0.0, 1.3)
    return np.asarray(1.0 - amount * area * grain, dtype=np.float32)


def _glasses(
    color: NDArray[np.float32], points: NDArray[np.float32], texels: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    rims = np.zeros(color.shape[:2], np.float32)
    thick = int(rng.integers(2, 5)) + texels - 1
    left, right = points[36:42].mean(axis=0), points[42:48].mean(axis=0)
    radius = 0.30 * float(np.linalg.norm(right - left))
    for middle in (left, right):
        x, y = float(middle[0]), float(middle[1])
        cv2.ellipse(rims, ((x, y + texels), (2.3 * radius, 1.9 * radius), 0.0), 1.0, thick)
    inner_left, inner_right = left + (1.15 * radius, 0.0), right - (1.15 * radius, 0.0)
    outer_left, outer_right = left - (1.15 * radius, 0.0), right + (1.15 * radius, 0.0)
    for start, end in ((inner_left, inner_right), (points[0], outer_left), (points[16], outer_right)):
        cv2.line(rims, (int(start[0]), int(start[1])), (int(end[0]), int(end[1])), 1.0, thick)
    soft = cv2.GaussianBlur(rims, (0, 0), 0.35 * texels)[..., None]
    frame = np.asarray(rng.uniform(15.0, 70.0, 3), dtype=np.float32)
    return np.asarray((1.0 - soft) * color + soft * frame, dtype=np.float32)
