"""What a self-test found: which sizes of motion can be seen at this distance, in this light, with this camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

FOUND_SHARE = 0.9
"""Of the trials of a size must stand out for it to be found."""

WHY_LEFT_OUT = {
    "noisy_depth": "too noisy here, so the session judges without it: flag noisy_depth, stream.depth_noise_max_mm",
    "no_depth": "most of brows or mouth has no data, so the session judges without it: flag no_depth",
}


class SelfTestError(RuntimeError):
    """Nothing could be tested; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class SizeResult:
    """What became of one size of displacement."""

    size: float
    """Peak of the field: px of the crop, or mm."""
    found: float
    """Share of trials in which it stood out, 0..1."""
    recovered: float
    """Median share of the true motion that was measured; 1 = unbiased, NaN without data."""


@dataclass(frozen=True, slots=True)
class SelfTestResult:
    """What can be seen at this distance, in this light, with this camera."""

    pairs: int
    distance_mm: float
    """Median distance of the face, NaN without depth."""
    face_px: float
    """Width of the face in color pixels."""
    px_per_color_px: float
    """Crop pixels per color pixel: a motion of 1 px on the crop is 1 / this in the image."""
    light_grey: float
    """Mean grey level of the face, 0..255."""
    rest_px: float
    """Robust standard deviation of the motion that a resting face shows at brow and mouth, px of the crop."""
    rest_mm: float
    smallest_px: float | None
    """Smallest in-plane motion found, px of the crop; None = none of the sizes."""
    smallest_mm: float | None
    """Smallest motion in depth found, mm; None also where `depth_left_out` names a flag."""
    depth_left_out: str
    """Flag for which the session left w out at the test's end: noisy_depth, no_depth, '' = w counts."""
    px: tuple[SizeResult, ...]
    mm: tuple[SizeResult, ...]

    @property
    def depth_answer(self) -> str:
        """What can be said of motion in depth, in a few words."""
        if self.depth_left_out:
            return f"none in depth ({WHY_LEFT_OUT[self.depth_left_out]})"
        return "none of the sizes tried in depth" if self.smallest_mm is None else f"{self.smallest_mm:g} mm in depth"

    def as_json(self) -> dict[str, object]:
        """For session.json and `--json`: plain values, None for what is unknown."""
        return {name: _plain(value) for name, value in asdict(self).items()}


def _plain(value: object) -> object:
    if isinstance(value, float):
        return round(value, 4) if np.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value


def smallest_found(rows: Sequence[SizeResult]) -> float | None:
    """The smallest size from which on all are found."""
    smallest = None
    for row in reversed(rows):
        if row.found < FOUND_SHARE:
            break
        smallest = row.size
    return smallest
