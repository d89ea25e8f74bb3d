"""A textured disc in front of a wall: simple RGB-D frames with exactly known motion, for the manual face backend."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from sfam.capture.frame import Intrinsics, RGBDFrame

WIDTH, HEIGHT = 320, 240
CAMERA = Intrinsics(WIDTH, HEIGHT, 300.0, 300.0, 159.5, 119.5)
BOX = (110, 70, 100, 100)
"""Face box of the disc at rest."""
PERIOD_NS = 33_333_333


def texture(seed: int = 1) -> NDArray[np.float32]:
    """(400, 400) float32 smooth random picture, grey levels about 40-210."""
    noise = np.random.default_rng(seed).standard_normal((400, 400)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3.0)
    coarse = cv2.GaussianBlur(noise, (0, 0), 9.0)
    mixed = smooth / smooth.std() + coarse / coarse.std()
    return np.asarray(np.clip(125 + 28 * mixed, 0, 255), dtype=np.float32)


TEXTURE = texture()


def picture(dx: float = 0.0, dy: float = 0.0, scale: float = 1.0, angle_deg: float = 0.0) -> NDArray[np.uint8]:
    """(240, 320) uint8: the disc about (160, 120), moved, grown and turned, before a flat wall."""
    matrix = cv2.getRotationMatrix2D((200.0, 200.0), angle_deg, scale)
    matrix[:, 2] += np.array((160 + dx - 200, 120 + dy - 200))
    face = cv2.warpAffine(TEXTURE, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LANCZOS4)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    inside = np.hypot(x - 160 - dx, y - 120 - dy) < 70 * scale
    return np.where(inside, np.clip(face, 0, 255), 90).astype(np.uint8)


def frame(
    index: int, dx: float = 0.0, dy: float = 0.0, *, noise: float = 2.0, t_ns: int | None = None, hide: bool = False
) -> RGBDFrame:
    """Frame `index` at 30 fps with the disc moved by (dx, dy) px; depth 600 mm on the disc, 1,400 mm on the wall."""
    grey = np.full((HEIGHT, WIDTH), 90, dtype=np.uint8) if hide else picture(dx, dy)
    random = np.random.default_rng(1000 + index)
    color = np.repeat(grey[:, :, None], 3, axis=2).astype(np.float32)
    color += noise * random.standard_normal(color.shape).astype(np.float32)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    depth = np.where(np.hypot(x - 160 - dx, y - 120 - dy) < 70, 600, 1400)
    depth = np.rint(depth + 0.5 * noise * random.standard_normal(depth.shape)).astype(np.uint16)
    stamp = index * PERIOD_NS if t_ns is None else t_ns
    return RGBDFrame.from_arrays(np.clip(color, 0, 255).astype(np.uint8), depth, CAMERA, stamp, sequence=index)


def with_depth(source: RGBDFrame, depth: NDArray[np.uint16]) -> RGBDFrame:
    """The same frame with other depth."""
    return replace(source, depth=depth)
