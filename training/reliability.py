"""What a spotting score means: how often a window with this score really moves, and making the two agree.

Training shows far more moving windows than life does, so raw scores promise too much. A slope and an offset on the
logit (Platt 1999) are fitted on sequences with a natural share of movement and become part of the network's last layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from sfam.capture.expression import FaceEvent
from sfam.capture.face_model import FaceModel
from sfam.capture.face_sequence import truth_of

from .overlays import MACRO_MOVING, MACRO_STILL, MICRO_MOVING, MICRO_STILL

BINS = 10
LARGEST_LOGIT = 15.0
RIDGE = 1e-3
"""Weight on slope 1 and offset 0, so that a few windows cannot move them far."""

Bins = tuple[tuple[float, float, int], ...]
"""Mean score, share of moving windows and number of windows of each tenth of the score."""


def moving_labels(
    events: Iterable[FaceEvent], model: FaceModel, spans: Sequence[tuple[int, int]], fps: float
) -> NDArray[np.int8]:
    """By the rule of training: 1 = an expression moves in the window, 0 = none does, -1 = too little to say.

    Args:
        events: of the sequence's plan.
        model: the head they happen on.
        spans: first and last frame of each window.
        fps: frames a second.
    """
    ends = np.array(spans, np.float64).reshape(-1, 2) / fps
    moving = np.zeros(len(ends), np.bool_)
    unclear = moving.copy()
    for event in events:
        truth = truth_of(event, model, fps) if event.kind in ("micro", "macro") else None
        if truth is None:
            continue
        size = np.array([abs(event.course(end) - event.course(begin)) for begin, end in ends])
        if event.kind == "micro":
            moving |= (size >= MICRO_MOVING[0]) & (size * truth.peak_px >= MICRO_MOVING[1])
            unclear |= size >= MICRO_STILL
        else:
            moving |= size >= MACRO_MOVING
            unclear |= size >= MACRO_STILL
    return np.where(moving, 1, np.where(unclear, -1, 0)).astype(np.int8)


def logits_of(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logits of scores 0..1, bounded."""
    with np.errstate(divide="ignore"):
        raw = np.log(scores) - np.log1p(-scores)
    return np.asarray(np.clip(raw, -LARGEST_LOGIT, LARGEST_LOGIT))


def fit_reliability(scores: NDArray[np.float64], labels: NDArray[np.int8]) -> tuple[float, float]:
    """Slope and offset of the logit under which scores are frequencies; windows labelled -1 are left out.

    Raises:
        ValueError: not both kinds of window are there.
    """
    known = labels >= 0
    x, y = logits_of(np.asarray(scores, np.float64)[known]), labels[known].astype(np.float64)
    if not y.any() or y.all():
        raise ValueError(f"calibration needs moving and resting windows; {int(y.sum())} of {len(y)} move")
    count = len(y)

    def cost(line: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        z = line[0] * x + line[1]
        off = np.array([line[0] - 1.0, line[1]])
        wrong = expit(z) - y
        value = float((np.logaddexp(0.0, z) - y * z).mean() + RIDGE / count * (off**2).sum())
        return value, np.array([(wrong * x).mean(), wrong.mean()]) + 2 * RIDGE / count * off

    found = minimize(cost, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", options={"ftol": 1e-12}).x
    return float(found[0]), float(found[1])


def adjusted(scores: NDArray[np.float64], slope: float, offset: float) -> NDArray[np.float64]:
    """Scores with slope and offset applied to their logits."""
    return np.asarray(expit(slope * logits_of(np.asarray(scores, np.float64)) + offset))


def reliability_bins(scores: NDArray[np.floating], labels: NDArray[np.floating | np.integer]) -> Bins:
    """The curve; windows labelled below 0 are left out."""
    known = np.asarray(labels) >= 0
    score, label = np.asarray(scores, np.float64)[known], np.asarray(labels, np.float64)[known]
    tenth = np.minimum((score * BINS).astype(int), BINS - 1)
    return tuple(
        (_mean(score[tenth == place]), _mean(label[tenth == place]), int((tenth == place).sum()))
        for place in range(BINS)
    )


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def largest_miss(bins: Bins, at_least: int = 50) -> float:
    """Largest distance from the diagonal over tenths with enough windows to say."""
    return max((abs(score - share) for score, share, count in bins if count >= at_least), default=0.0)
