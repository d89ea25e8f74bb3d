"""One small network learns to answer as a model of many does: an ensemble's judgement at a single network's price.

The student is shown windows, its own data's or smooth fields where there are none, and the teacher's score and
probabilities as targets (Hinton et al., "Distilling the knowledge in a neural network", 2015, at temperature 1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sfam.engine.decoding import SpottingSpec
from sfam.engine.events import Score
from sfam.engine.export import ModelText, check_replaceable, write_model
from sfam.engine.fields import smooth_fields
from sfam.engine.model import ModelArtifact, ModelError, load_model
from sfam.engine.network import Judge, SFAMNet, networks_from
from sfam.engine.spotting import LiveSpotter
from sfam.engine.weights import read_weights

from .clip_windows import ClipWindows, Maps
from .metrics import Counts, Span, spotting_counts

HELD_BACK = 0.2
"""Share of the windows that only the comparison sees."""
CLIPS_TO_HOLD = 5
"""From so many clips on, whole ones are held back."""
FIELDS = 2000
LARGEST_FIELD = 6.0
"""px and mm."""
JUDGED_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class DistillRecipe:
    """How long to learn."""

    steps: int = 1500
    batch: int = 128
    peak_rate: float = 6e-3
    scale_range: tuple[float, float] = (0.7, 1.4)


@dataclass(frozen=True, slots=True)
class Agreement:
    """Student beside teacher on windows that the student did not learn from."""

    windows: int
    mean_difference: float
    """Of the spotting score, absolute."""
    largest_difference: float
    rmse: float
    """Of the spotting score."""
    same_class: float
    """Share of windows that both name alike."""
    data: str
    event_f1: float | None = None
    """Of the student's events against the teacher's, IoU 0.5, on clips held back; None where no clip could be."""
    events: int = 0
    """Of the teacher on those clips."""


def distill(
    teacher: str,
    out: Path,
    clips: Sequence[ClipWindows] = (),
    *,
    recipe: DistillRecipe | None = None,
    seed: int = 0,
    progress: Callable[[int, float], None] | None = None,
) -> Agreement:
    """Write a single network that answers as `teacher` does, with its decoding and normalisation.

    Args:
        teacher: name or folder of a model; needs its weights.
        out: artifact folder to write; a model that is there is replaced.
        clips: windows to learn on, of the model's own length (`read_features` checks it); none = smooth random fields,
            far from real motion.
        recipe: other constants.
        seed: of weights, split and draws.
        progress: called after each step with its number and loss.

    Raises:
        ModelError: unknown or damaged model, one without weights, or `out` holds something else than a model.
        FloatingPointError: the loss became non-finite.
    """
    check_replaceable(out)
    artifact = load_model(teacher)
    if not artifact.weights_path.exists():
        raise ModelError(f"model {artifact.name}: has no weights to learn from; import it again from its checkpoints")
    chosen = recipe or DistillRecipe()
    torch.set_num_threads(1)
    judge = Judge(networks_from(read_weights(artifact.weights_path), artifact.folds), artifact.normalisation).eval()
    rng = np.random.default_rng((seed, 12))
    learnt, held, held_clips, data = _split(clips, rng)
    torch.manual_seed(seed)
    student = SFAMNet(len(artifact.classes))
    _learn(student, judge, artifact, learnt, chosen, rng, progress)
    agreement = _compare(student, judge, artifact, held, data)
    if held_clips:
        agreement = _with_events(agreement, student, judge, artifact, held_clips)
    _write(student, artifact, out, agreement)
    return agreement


def _split(clips: Sequence[ClipWindows], rng: np.random.Generator) -> tuple[Maps, Maps, list[ClipWindows], str]:
    """Windows to learn on, windows held back, the clips they are of, and what all of them are.

    Whole clips are held back, since neighbouring windows are nearly alike; of few clips, and of fields, single windows.
    """
    filled = [clip for clip in clips if len(clip.maps)]
    if len(filled) < CLIPS_TO_HOLD:
        windows, data = _windows(filled, rng)
        order = rng.permutation(len(windows))
        held = max(1, round(HELD_BACK * len(windows)))
        return windows[order[held:]], windows[order[:held]], [], data
    order = rng.permutation(len(filled))
    held = round(HELD_BACK * len(filled))
    parts = [[filled[i] for i in chosen] for chosen in (order[held:], order[:held])]
    learnt, kept = (np.concatenate([np.asarray(clip.maps[:], np.float32) for clip in part]) for part in parts)
    return learnt, kept, parts[1], f"{len(learnt) + len(kept)} windows of {len(filled)} clips"


def _windows(clips: Sequence[ClipWindows], rng: np.random.Generator) -> tuple[Maps, str]:
    parts = [np.asarray(clip.maps[:], np.float32) for clip in clips]
    if parts:
        return np.concatenate(parts), f"{sum(map(len, parts))} windows of {len(parts)} clips"
    size = np.exp(rng.uniform(np.log(0.02), np.log(LARGEST_FIELD), (FIELDS, 3, 1, 1))).astype(np.float32)
    fields = smooth_fields(FIELDS, int(rng.integers(1 << 31)))
    return np.asarray(fields * size, np.float32), f"{FIELDS} smooth random fields"


def _answers(judge: Judge, maps: NDArray[np.float32]) -> tuple[torch.Tensor, torch.Tensor]:
    """The teacher's score (N,) and probabilities (N, C)."""
    spots, chances = [], []
    with torch.no_grad():
        for begin in range(0, len(maps), JUDGED_AT_ONCE):
            part = torch.from_numpy(np.ascontiguousarray(maps[begin : begin + JUDGED_AT_ONCE]))
            spot, logits, _ = judge(*torch.chunk(part, 3, dim=1))
            spots.append(spot)
            chances.append(torch.softmax(logits, dim=1))
    return torch.cat(spots), torch.cat(chances)


def _learn(
    student: SFAMNet,
    judge: Judge,
    artifact: ModelArtifact,
    windows: Maps,
    recipe: DistillRecipe,
    rng: np.random.Generator,
    progress: Callable[[int, float], None] | None,
) -> None:
    student.train()
    student.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(student.parameters(), lr=recipe.peak_rate, weight_decay=1e-4)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.peak_rate, total_steps=recipe.steps)
    for step in range(recipe.steps):
        picked = rng.integers(0, len(windows), recipe.batch)
        scale = np.exp(rng.uniform(np.log(recipe.scale_range[0]), np.log(recipe.scale_range[1]), recipe.batch)).astype(
            np.float32
        )
        maps = windows[picked] * scale[:, None, None, None]
        spot, chances = _answers(judge, maps)
        laid = torch.from_numpy(artifact.normalisation(maps)).contiguous(memory_format=torch.channels_last)
        found, logits = student.logits(*torch.chunk(laid, 3, dim=1))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(found, spot)
        loss = loss + torch.nn.functional.cross_entropy(logits, chances)
        if not bool(torch.isfinite(loss)):
            raise FloatingPointError(f"distilling: the loss is {float(loss)} at step {step}")
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimiser.step()
        rates.step()
        if progress is not None:
            progress(step + 1, float(loss.detach()))
    student.eval()


def _compare(student: SFAMNet, judge: Judge, artifact: ModelArtifact, windows: Maps, data: str) -> Agreement:
    spot, chances = _answers(judge, windows)
    own, own_chances = _answers(Judge([student], artifact.normalisation).eval(), windows)
    difference = (spot - own).abs()
    return Agreement(
        windows=len(windows),
        mean_difference=float(difference.mean()),
        largest_difference=float(difference.max()),
        rmse=float(difference.square().mean().sqrt()),
        same_class=float((chances.argmax(1) == own_chances.argmax(1)).float().mean()),
        data=data,
    )


def _with_events(
    agreement: Agreement, student: SFAMNet, judge: Judge, artifact: ModelArtifact, clips: Sequence[ClipWindows]
) -> Agreement:
    """The agreement with what both make of whole clips: their confirmed events."""
    own = Judge([student], artifact.normalisation).eval()
    hits = alarms = misses = 0
    for clip in clips:
        wanted, found = (_spans(each, clip, artifact.spec) for each in (judge, own))
        counts = spotting_counts(found, wanted)
        hits, alarms, misses = hits + counts.tp, alarms + counts.fp, misses + counts.fn
    return replace(agreement, event_f1=Counts(hits, alarms, misses).f1, events=hits + misses)


def _spans(judge: Judge, clip: ClipWindows, spec: SpottingSpec) -> list[Span]:
    """Onset and offset of the events that a model confirms in a clip."""
    spots, chances = _answers(judge, np.asarray(clip.maps[:], np.float32))
    spotter = LiveSpotter(spec)
    events = []
    for frame, spot, chance in zip(clip.frames.tolist(), spots.tolist(), chances.tolist(), strict=True):
        events += spotter.push(Score(frame, round(frame * 1e9 / clip.fps), spot, tuple(chance)), None)
    events += spotter.flush()
    return [(event.onset.frame, event.offset.frame) for event in events if event.state == "confirmed"]


def _write(student: SFAMNet, artifact: ModelArtifact, out: Path, agreement: Agreement) -> None:
    text = ModelText(
        name=f"{artifact.name}-distilled",
        version=artifact.version,
        classes=artifact.classes,
        training_data=f"the answers of {artifact.model_id} ({len(artifact.folds)} networks) on {agreement.data}; "
        f"those networks: {artifact.training_data}",
        licence=artifact.licence,
        limits=(*artifact.limits, "an imitation of another model: it knows nothing that the other did not"),
    )
    record = {
        "from": artifact.model_id,
        "held_back_windows": agreement.windows,
        "mean_difference": round(agreement.mean_difference, 5),
        "largest_difference": round(agreement.largest_difference, 5),
        "rmse": round(agreement.rmse, 5),
        "event_f1": None if agreement.event_f1 is None else round(agreement.event_f1, 4),
        "events": agreement.events,
        "same_class": round(agreement.same_class, 4),
    }
    write_model(
        student, text, artifact.spec, out, normalisation=artifact.normalisation, window_ms=artifact.window_ms,
        score_rate_hz=artifact.score_rate_hz, parity_maps=artifact.parity().maps, extra={"distilled": record},
        overwrite=True,
    )  # fmt: skip
