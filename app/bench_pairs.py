"""Face pairs of the project's own generator in the form of an archive of exact flow: as many, and of as many heads, as
a bench asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from sfam.capture.face_pair import FacePair, draw_pair
from sfam.capture.render import CANONICAL
from sfam.stream.head_motion import CropCamera

from .bench_accuracy import FlowTruth

SIZES_PX = (0.2, 0.5, 1.0, 2.0)
"""Peaks of the expressions, taken in turn."""
PORTRAITS = (0, 1)
"""Identities that wear the portrait as it is; the second is its mirror image."""
LIGHT = (1.03, 3.0)
"""Gain and offset in grey levels of the pairs of changed light."""
NARROW = 0.6
CAMERA = CropCamera(CANONICAL.fx, CANONICAL.fy, CANONICAL.cx, CANONICAL.cy)
KINDS: dict[str, Callable[[int, float, int], FacePair]] = {
    "still {}": lambda seed, size, who: draw_pair(seed, peak_px=size, identity=who),
    "head {}": lambda seed, size, who: draw_pair(seed, peak_px=size, identity=who, head=1.0),
    "still {}, light": lambda seed, size, who: draw_pair(
        seed, peak_px=size, identity=who, gain=LIGHT[0], offset=LIGHT[1]
    ),
    "narrow {}": lambda seed, size, who: draw_pair(seed, peak_px=size, identity=who, narrow=NARROW),
    "nothing moves": lambda seed, _, who: draw_pair(seed, peak_px=0.0, identity=who),
}
"""Of each seed one pair: an expression, the same kind with a moving head, in changed light, narrower, and rest."""


def drawn_pairs(seeds: Iterable[int], identities: tuple[int, ...] = PORTRAITS) -> FlowTruth:
    """The pairs of `KINDS` for each seed.

    Args:
        seeds: of motion and noise.
        identities: heads, taken in turn.
    """
    names: list[str] = []
    pairs: list[FacePair] = []
    for turn, seed in enumerate(seeds):
        size, head = SIZES_PX[turn % len(SIZES_PX)], identities[(turn // len(SIZES_PX)) % len(identities)]
        for number, (kind, drawn) in enumerate(KINDS.items()):
            names.append(kind.format(f"{size:g} px"))
            pairs.append(drawn(10 * seed + number, size, head))
    return truth_of(names, pairs)


def truth_of(names: Iterable[str], pairs: list[FacePair]) -> FlowTruth:
    """Pairs as one archive."""
    truths = [pair.truth for pair in pairs]
    return FlowTruth(
        names=tuple(names),
        grey=np.stack([np.stack([_grey(image) for image in pair.rgb]) for pair in pairs]),
        depth_mm=np.stack([pair.depth_mm for pair in pairs]),
        motion=np.stack([np.stack([truth.u, truth.v, truth.w]) for truth in truths]),
        rigid=np.stack([truth.rigid for truth in truths]),
        hull=np.stack([truth.hull for truth in truths]),
        act=np.stack([truth.act for truth in truths]),
        landmarks68=np.stack([pair.landmarks.astype(np.float32) for pair in pairs]),
        camera=CAMERA,
    )


def _grey(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
