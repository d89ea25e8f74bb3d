"""What the networks of a leave-one-subject-out training say about themselves, once they are a model."""

from __future__ import annotations

from collections.abc import Sequence

from sfam.engine.fold_origin import FoldOrigin

from .evaluation import Evaluation
from .fold_names import weights_file
from .loso import FoldResult

LICENCE = "whoever trained it decides, within the terms of the training data"
LIMITS = (
    "its figures are those of single networks, each on the subject it never saw; together they have seen all subjects: "
    "never score them on these",
    "base rates are tiny: most alarms on long recordings are false",
)
ON_CARD = ("spotting F1 micro", "false micro per hour", "recognition UF1", "recognition UAR", "STRS")


def folds_origin(
    evaluation: Evaluation, folds: Sequence[FoldResult], data_name: str, how: str, window_ms: float
) -> FoldOrigin:
    """Origin of the trained networks, with their scores.

    Args:
        evaluation: scores of the run.
        folds: of the run; those that have no score give no network.
        data_name: what was learnt from.
        how: training in words.
        window_ms: time between the two ends of the windows.
    """
    scored = [fold for fold in folds if fold.status == "scored"]
    figures = ", ".join(
        f"{name} {one.value:.4f} [{one.low:.4f}, {one.high:.4f}]"
        for name, one in evaluation.strict.items()
        if name in ON_CARD
    )
    return FoldOrigin(
        version="trained",
        training_data=f"{data_name}, {len(folds)} subjects, each network on all but its own. {how}",
        licence=LICENCE,
        limits=LIMITS,
        window_ms=window_ms,
        files=tuple(weights_file(fold.subject) for fold in scored),
        evaluated={
            "text": f"leave one subject out on {data_name}, {len(scored)} subjects, strict [95 %]: {figures}",
            "strict": {name: [one.value, one.low, one.high] for name, one in evaluation.strict.items()},
        },
    )
