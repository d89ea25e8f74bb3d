"""Which resolutions and rate to stream: the wanted ones first, then what the camera can do instead."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .frame import ColorImage

Size = tuple[int, int]
MOST_ATTEMPTS = 8
"""Combinations that are tried before a camera counts as unusable."""
_LEAST_PIXELS = 424 * 240
"""Below this a face at half a metre has too few pixels; taken only where there is nothing else."""


@dataclass(frozen=True, slots=True, order=True)
class Mode:
    """One thing a stream can do."""

    width: int
    height: int
    fps: int

    @property
    def size(self) -> Size:
        """(width, height) in px."""
        return (self.width, self.height)

    def __str__(self) -> str:
        """As '848x480@30'."""
        return f"{self.width}x{self.height}@{self.fps}"


@dataclass(frozen=True, slots=True)
class ModePair:
    """Color and depth at one rate."""

    color: Mode
    depth: Mode

    def __str__(self) -> str:
        """Both, in words."""
        return f"color {self.color}, depth {self.depth}"


def fallbacks(
    color: Iterable[Mode], depth: Iterable[Mode], wanted: ModePair, most: int = MOST_ATTEMPTS
) -> list[ModePair]:
    """Pairs of equal rate, best first: the wanted one where it exists, then the rate kept and sizes changed, smaller
    ones before larger ones; then lower rates, the nearest first; last higher ones.
    """
    depths = sorted(set(depth))
    pairs = [ModePair(one, other) for one in sorted(set(color)) for other in depths if one.fps == other.fps]
    return sorted(pairs, key=lambda pair: _cost(pair, wanted))[:most]


def _cost(pair: ModePair, wanted: ModePair) -> tuple[bool, tuple[bool, float], float]:
    tiny = min(pair.color.width * pair.color.height, pair.depth.width * pair.depth.height) < _LEAST_PIXELS
    faster = pair.color.fps > wanted.color.fps
    rate = (faster, abs(pair.color.fps - wanted.color.fps))
    return tiny, rate, _distance(pair.color.size, wanted.color.size) + _distance(pair.depth.size, wanted.depth.size)


def _distance(size: Size, wanted: Size) -> float:
    """0 for the same; growing with the difference in pixels, twice as fast for larger images, a little for shape."""
    ratio = size[0] * size[1] / (wanted[0] * wanted[1])
    away = 2 * (ratio - 1) if ratio > 1 else 1 - ratio
    return away + 0.1 * abs(size[0] / size[1] - wanted[0] / wanted[1])


def usb2_message(usb_type: str, chosen: ModePair) -> str | None:
    """What a user must hear about a camera on a slow port; None for USB 3."""
    if not usb_type.strip().startswith(("1.", "2.")):
        return None
    return (
        f"USB {usb_type} CONNECTION: the camera runs at {chosen} because the port or cable is too slow. "
        "Use a USB 3 port (blue or marked SS) and a USB 3 cable, then start again"
    )


def color_from(image: ColorImage, channels: str) -> ColorImage:
    """RGB of an image whose channels are 'rgb', 'bgr', 'rgba' or 'bgra'; always a copy."""
    rgb = image[:, :, :3]
    return (rgb[:, :, ::-1] if channels.startswith("bgr") else rgb).copy()
