"""Whether the face is back at rest: what tells a micro-expression from the rise of a macro-expression.

What is left of the motion between onset and offset is measured along what moved most within one window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sfam.stream.flow_window import MAP_PX

from .recent import Recent
from .spotting_runs import Expression, Sample, nearest

RIM_PX = 4
"""Rows above the brows, and columns left and right, not looked at when asking whether the face is back."""
EDGE_PX = 2
"""The same for rows below the eyes and around the mouth."""
EYES_TOP_PX = 10
"""First row of the eyes; what lies from here down to the mouth's region is not looked at: lids move there."""
BLINK_NS = 70_000_000
"""Windows this near to one that is flagged as a blink hold a part of it, which reaches above the eyes as well."""
CALM_SHARE = 0.2
"""Of the windows of an expression: where fewer are free of a blink, those with one are all there is to go by."""


def _inside() -> NDArray[np.float32]:
    mask = np.zeros((MAP_PX, MAP_PX), np.float32)
    for top, bottom in ((RIM_PX, MAP_PX // 2 - EDGE_PX), (MAP_PX // 2 + EDGE_PX, MAP_PX - EDGE_PX)):
        mask[top:bottom, RIM_PX:-RIM_PX] = 1
    return mask


_INSIDE = _inside()
_NOT_EYES = _INSIDE.copy()
_NOT_EYES[EYES_TOP_PX : MAP_PX // 2] = 0


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """How far the face went and what of it was left at the end."""

    apex: int
    """Index of the sample with the largest displacement since the onset."""
    left: NDArray[np.float32]
    """(2, 42, 42) displacement from onset to offset."""
    strongest: NDArray[np.float32]
    """(2, 42, 42) what moved most within one window, rims, eyes and blinks left out."""

    def is_back(self, rho: float, px: float) -> bool:
        """Whether hardly anything is left: less than a share of the strongest window, or than so much.

        Args:
            rho: share of the strongest window.
            px: root mean square along it, crop pixels; what is left of a half macro-expression is far more.
        """
        share = left_over(self.left, self.strongest)
        return share < rho or share * rms(self.strongest) < px


def left_over(moved: NDArray[np.float32], strongest: NDArray[np.float32]) -> float:
    """Share of the strongest window's motion that is still there: the displacement along that window.

    Only what moved like the expression counts: noise, a blink or a badly removed head turn that falls into the same
    time mostly lies across it. The rim of both regions is left out; hair and what is behind the cheeks move there.
    """
    energy = float(np.vdot(strongest, strongest))
    return abs(float(np.vdot(strongest, moved))) / energy if energy > 0 else 0.0


def follow(samples: Recent[Sample], expression: Expression) -> Path | None:
    """Add up the windows that tile onset .. t for every t until the last run has ended.

    Each window is added to the displacement at the sample where it began; one that begins before the onset starts at
    rest. The sum goes on to the end of the run rather than to the offset, which is an estimate: by then the windows
    have seen the last of the motion. None where motion is missing.
    """
    first, last = nearest(samples, expression.onset_ns), nearest(samples, expression.offset_ns)
    end = max(last, nearest(samples, expression.end_ns)) + 1
    begin_ns = samples[first].score.t_capture_ns
    moved: dict[int, NDArray[np.float32]] = {}
    apex, farthest = first, -1.0
    left = np.zeros((2, MAP_PX, MAP_PX), np.float32)
    for i in range(first, end):
        motion, score = samples[i].motion, samples[i].score
        if motion is None:
            return None
        since = min(nearest(samples, score.t_from_ns), i - 1)
        moved[i] = left = motion + moved[since] if score.t_from_ns > begin_ns else motion
        distance = rms(left * _INSIDE)
        if i <= last and distance > farthest:
            apex, farthest = i, distance
    return Path(apex, left, strongest_of(samples.window(first, end)))


def strongest_of(samples: Sequence[Sample]) -> NDArray[np.float32]:
    """(2, 42, 42) the window that moved most, without rims and eyes; of those away from a blink, where there are some.

    A blink in the rise of a macro-expression moves more than the rise and is over soon: measured along it, a face
    would be back at rest that is not.
    """
    blinks = [sample.score.t_capture_ns for sample in samples if "blink" in sample.score.flags]
    calm = [s for s in samples if all(abs(s.score.t_capture_ns - t_ns) > BLINK_NS for t_ns in blinks)]
    chosen = calm if len(calm) >= CALM_SHARE * len(samples) else samples
    return max((s.motion * _NOT_EYES for s in chosen if s.motion is not None), key=rms)


def rms(motion: NDArray[np.float32]) -> float:
    """Root mean square length of the vectors of a (2, 42, 42) field, px."""
    flat = motion.ravel()
    return float(np.sqrt(np.dot(flat, flat) / (flat.size / 2)))
