"""How far a camera's capture times are off: flashes of a screen at known moments, found again in the pictures."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from .source import SourceError
from .user_folders import data_folder

DARK_FROM_S, SEARCH_FROM_S, SEARCH_TO_S = -0.5, -0.15, 0.6
"""Around a flash: where the dark pictures begin, and where the first bright one is looked for."""
LEAST_RISE = 3.0
"""Grey levels by which a flash has to lift the picture's mean."""
NOISE_SPREADS = 6.0
"""... and in robust standard deviations of the pictures before it."""
FEWEST_FLASHES = 5
"""Seen flashes below which nothing is said."""


@dataclass(frozen=True, slots=True)
class SyncResult:
    """A sync test of one camera."""

    camera: str
    n: int
    """Flashes that were seen."""
    shown: int
    """Flashes that were shown."""
    offset_us: float
    """Median of capture time minus flash time; holds the screen's own delay and, on average, half a frame."""
    jitter_us: float
    """Robust standard deviation: 1.4826 times the median distance from the median."""
    smallest_us: float
    largest_us: float
    t_error_us: float
    """The largest error of all flashes: the bound that events carry."""
    frame_us: float
    """Median time from frame to frame, below which no single flash can be placed."""

    def in_words(self) -> str:
        """One sentence for people."""
        return (
            f"{self.camera}: capture times are {self.offset_us / 1e3:+.1f} ms off (median of n = {self.n} flashes of "
            f"{self.shown}), jitter {self.jitter_us / 1e3:.1f} ms, from {self.smallest_us / 1e3:+.1f} to "
            f"{self.largest_us / 1e3:+.1f} ms; one frame takes {self.frame_us / 1e3:.1f} ms"
        )


def measure_sync(
    camera: str, times_ns: Sequence[int], levels: Sequence[float], flashes_ns: Sequence[int]
) -> SyncResult:
    """Find each flash again as the first picture past half of the rise that follows it.

    Args:
        camera: its name.
        times_ns: capture times, ascending, host monotonic clock.
        levels: mean brightness of each picture, grey levels.
        flashes_ns: moments at which the screen was made bright, same clock.

    Raises:
        SourceError: fewer than `FEWEST_FLASHES` were seen.
    """
    times, bright = np.asarray(times_ns, dtype=np.int64), np.asarray(levels, dtype=np.float64)
    found = [_error_ns(times, bright, flash_ns) for flash_ns in flashes_ns]
    errors_us = [error / 1e3 for error in found if error is not None]
    if len(errors_us) < FEWEST_FLASHES:
        raise SourceError(
            f"{camera}: saw {len(errors_us)} of {len(flashes_ns)} flashes, {FEWEST_FLASHES} are needed; turn the "
            "camera to the screen, bring it closer, dim the room, fix its exposure (--set capture.freeze_exposure=true)"
        )
    offset_us = statistics.median(errors_us)
    spread_us = statistics.median(abs(error - offset_us) for error in errors_us)
    return SyncResult(
        camera=camera,
        n=len(errors_us),
        shown=len(flashes_ns),
        offset_us=round(offset_us, 1),
        jitter_us=round(1.4826 * spread_us, 1),
        smallest_us=round(min(errors_us), 1),
        largest_us=round(max(errors_us), 1),
        t_error_us=round(max(abs(error) for error in errors_us), 1),
        frame_us=round(float(np.median(np.diff(times))) / 1e3, 1),
    )


def _error_ns(times: np.ndarray, bright: np.ndarray, flash_ns: int) -> int | None:
    """Capture time of the first bright picture minus the flash's time; None where it does not stand out."""
    first, at, last = np.searchsorted(
        times, [flash_ns + round(seconds * 1e9) for seconds in (DARK_FROM_S, SEARCH_FROM_S, SEARCH_TO_S)]
    )
    before, after = bright[first:at], bright[at:last]
    if before.size < 3 or after.size < 2:
        return None
    dark = float(np.median(before))
    noise = 1.4826 * float(np.median(np.abs(before - dark)))
    rise = float(after.max()) - dark
    if rise < max(LEAST_RISE, NOISE_SPREADS * noise):
        return None
    return int(times[at + int(np.argmax(after > dark + rise / 2))]) - flash_ns


def sync_file(camera: str) -> Path:
    """Where the result of a camera is kept."""
    return data_folder() / "sync" / f"{camera}.json"


def keep_sync(result: SyncResult) -> Path:
    """Write a result where sessions with that camera find it."""
    path = sync_file(result.camera)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(result), indent=2) + "\n", encoding="utf-8")
    return path


def last_sync(camera: str) -> SyncResult | None:
    """The result kept for a camera; None where it was never tested.

    Raises:
        SourceError: the file is damaged.
    """
    path = sync_file(camera)
    try:
        return SyncResult(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise SourceError(f"{path}: not readable as a sync test ({error}); make it anew with sfam sync-test") from error
