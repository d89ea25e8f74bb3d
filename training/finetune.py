"""A model goes on learning from a lab's own corrected clips, and is compared with what it was on the same folds.

Each subject is scored by networks that never saw them: the old one, and one that learnt from the others. The model
that is written has learnt from all of them, so the comparison is of the method, not of that very network.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from sfam.engine.decoding import RunsSpec
from sfam.engine.events import Score
from sfam.engine.export import ModelText, check_replaceable, write_model
from sfam.engine.model import ModelArtifact, load_model
from sfam.engine.network import SFAMNet, networks_from
from sfam.engine.spotting import runs_offline
from sfam.engine.weights import read_weights
from sfam.stream.flow_window import FlowWindow

from .clip_windows import ClipWindows, subjects_of
from .dataset import FOUR_OF, DataSetError
from .metrics import Counts, spotting_counts

UNUSED = -1
IGNORED_EMOTION = -100
SCORED_AT_ONCE = 512


@dataclass(frozen=True, slots=True)
class FinetuneRecipe:
    """How long and how carefully: a small rate, for the data are few."""

    steps: int = 200
    batch: int = 64
    rate: float = 3e-4
    weight_decay: float = 1e-3
    emotion_weight: float = 0.4
    clip_norm: float = 1.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """Old against new on subjects that neither has seen in these data."""

    old: Counts
    new: Counts
    per_subject: dict[str, tuple[Counts, Counts]]
    """Micro counts, old and new."""
    minutes: float

    def to_json(self) -> dict[str, Any]:
        """For model.json."""
        return {
            "what": "micro-expressions of each subject, by the old model and by one that learnt from the others",
            "subjects": len(self.per_subject),
            "minutes": round(self.minutes, 2),
            **{f"{name}_{side}": getattr(counts, side) for name, counts in (("old", self.old), ("new", self.new))
               for side in ("tp", "fp", "fn")},
            "old_f1": round(self.old.f1, 4),
            "new_f1": round(self.new.f1, 4),
        }  # fmt: skip


def finetune(
    model: str,
    clips: Sequence[ClipWindows],
    out: Path,
    *,
    recipe: FinetuneRecipe | None = None,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
    steps: Callable[[int, int], None] = lambda *_: None,
) -> Comparison:
    """Write a model that has learnt from these clips, and say what learning was worth.

    Args:
        model: name or folder of a single network with the `runs` decoding.
        clips: measured with the model's own window length (`read_features` checks it).
        out: artifact folder to write; a model that is there is replaced.
        recipe: other constants.
        seed: of the draws.
        progress: called with a line now and then.
        steps: called after every step, with the steps done and those of all networks together.

    Raises:
        DataSetError: fewer than two subjects, nothing annotated, or a model of another kind.
        ModelError: unknown or damaged model, or `out` holds something else than one.
        FloatingPointError: weights or loss became non-finite.
    """
    check_replaceable(out)
    artifact = load_model(model)
    if len(artifact.folds) != 1 or not isinstance(artifact.spec, RunsSpec) or not artifact.weights_path.exists():
        raise DataSetError(f"model {artifact.name}: only a single network with the 'runs' decoding can learn further")
    subjects = subjects_of(clips)
    if len(subjects) < 2:
        raise DataSetError(f"{len(subjects)} subject; comparing old and new needs two or more")
    chosen = recipe or FinetuneRecipe()
    old = networks_from(read_weights(artifact.weights_path), artifact.folds)[0]
    done, total = count(1), chosen.steps * (len(subjects) + 1)

    def learn(from_clips: Sequence[ClipWindows]) -> SFAMNet:
        return _learn(old, from_clips, artifact, chosen, seed, lambda: steps(next(done), total))

    per_subject = {}
    for number, subject in enumerate(subjects, start=1):
        own = [clip for clip in clips if clip.subject == subject]
        new = learn([clip for clip in clips if clip.subject != subject])
        per_subject[subject] = spot_counts(old, own, artifact), spot_counts(new, own, artifact)
        progress(f"fold {number} of {len(subjects)}: {subject}, micro F1 "
                 f"{per_subject[subject][0].f1:.3f} -> {per_subject[subject][1].f1:.3f}")  # fmt: skip
    sums = [
        Counts(*(sum(getattr(pair[side], name) for pair in per_subject.values()) for name in ("tp", "fp", "fn")))
        for side in (0, 1)
    ]
    minutes = sum(clip.length / clip.fps for clip in clips) / 60
    comparison = Comparison(sums[0], sums[1], per_subject, minutes)
    progress("learning from all subjects")
    _write(learn(clips), artifact, out, comparison, len(clips))
    return comparison


def labels(clip: ClipWindows, artifact: ModelArtifact) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Spotting label 1, 0 or -1 (not used) and emotion class of each window.

    A micro counts as moving throughout, a macro while it rises: nobody says how long it is held, so its rest and the
    edges are not used. The shifts are the model's own, by which its decoding finds the annotated frames again.
    """
    spec = artifact.spec
    assert isinstance(spec, RunsSpec)
    begin, end = round(spec.onset_shift_s * clip.fps), round(spec.offset_shift_s * clip.fps)
    spot = np.zeros(len(clip.frames), np.int64)
    emotion = np.full(len(clip.frames), len(artifact.classes) - 1, np.int64)
    for one in clip.intervals:
        last = one.offset + end if one.kind == "micro" else one.apex
        near = (clip.frames >= one.onset - begin) & (clip.frames <= one.offset + end + begin)
        moving = (clip.frames >= one.onset + begin) & (clip.frames <= last)
        spot[near & (spot == 0)] = UNUSED
        spot[moving] = 1
        emotion[near] = IGNORED_EMOTION
        name = one.emotion if one.emotion in artifact.classes else FOUR_OF.get(one.emotion, "")
        if name in artifact.classes:
            emotion[moving & (clip.frames <= one.apex)] = artifact.classes.index(name)
    return spot, emotion


def _learn(
    network: SFAMNet,
    clips: Sequence[ClipWindows],
    artifact: ModelArtifact,
    recipe: FinetuneRecipe,
    seed: int,
    stepped: Callable[[], None],
) -> SFAMNet:
    """A copy of the network that has learnt from these clips; half of each batch moves.

    `stepped` is called after every step.
    """
    torch.set_num_threads(1)
    rng = np.random.default_rng((seed, 9))
    told = [labels(clip, artifact) for clip in clips]
    places = {
        wanted: [(c, int(i)) for c, (spot, _) in enumerate(told) for i in np.flatnonzero(spot == wanted)]
        for wanted in (0, 1)
    }
    if not places[0] or not places[1]:
        raise DataSetError(f"nothing to learn from: {len(places[1])} moving and {len(places[0])} resting windows")
    learnt = copy.deepcopy(network).train()
    learnt.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(learnt.parameters(), lr=recipe.rate, weight_decay=recipe.weight_decay)
    for step in range(recipe.steps):
        drawn = [places[wanted][int(k)] for wanted in (1, 0) for k in
                 rng.integers(0, len(places[wanted]), recipe.batch // 2)]  # fmt: skip
        maps = artifact.normalisation(np.stack([clips[c].maps[i] for c, i in drawn]))
        spot = torch.tensor([float(told[c][0][i]) for c, i in drawn])
        emotion = torch.tensor([int(told[c][1][i]) for c, i in drawn])
        laid = torch.from_numpy(maps).contiguous(memory_format=torch.channels_last)
        found, logits = learnt.logits(*torch.chunk(laid, 3, dim=1))
        loss = binary_cross_entropy_with_logits(found, spot)
        if bool((emotion != IGNORED_EMOTION).any()):
            loss = loss + recipe.emotion_weight * cross_entropy(logits, emotion, ignore_index=IGNORED_EMOTION)
        if not bool(torch.isfinite(loss)):
            raise FloatingPointError(f"fine-tuning: the loss is {float(loss)} at step {step}; check the windows")
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(learnt.parameters(), recipe.clip_norm)
        optimiser.step()
        stepped()
    return learnt.eval()


def spot_counts(network: SFAMNet, clips: Sequence[ClipWindows], artifact: ModelArtifact) -> Counts:
    """Micro-expressions that a network finds, by the model's decoding, one-to-one at IoU 0.5."""
    found = [Counts(0, 0, 0)]
    for clip in clips:
        spans = spotted(network, clip, artifact)
        truth = [(one.onset, one.offset) for one in clip.intervals if one.kind == "micro" and one.has_extent]
        found.append(spotting_counts(spans, truth))
    return Counts(sum(c.tp for c in found), sum(c.fp for c in found), sum(c.fn for c in found))


def spotted(network: SFAMNet, clip: ClipWindows, artifact: ModelArtifact) -> list[tuple[int, int]]:
    """Micro spans of one clip."""
    spec = artifact.spec
    assert isinstance(spec, RunsSpec)
    frame_ns = 1e9 / clip.fps
    lag = round(artifact.window_ms * 1e6 / frame_ns)
    scores, windows = [], []
    with torch.inference_mode():
        for start in range(0, len(clip.maps), SCORED_AT_ONCE):
            part = np.asarray(clip.maps[start : start + SCORED_AT_ONCE], np.float32)
            spots, logits = network(*torch.chunk(torch.from_numpy(artifact.normalisation(part)), 3, dim=1))
            chances = torch.softmax(logits, dim=1).numpy()
            for maps, frame, spot, chance in zip(part, clip.frames[start:], spots.numpy(), chances, strict=False):
                now, before = int(frame), int(frame) - lag
                at_ns, from_ns = round(now * frame_ns), round(before * frame_ns)
                emotion = tuple(float(value) for value in chance)
                scores.append(Score(now, at_ns, float(spot), emotion, from_frame=before, t_from_ns=from_ns))
                windows.append(FlowWindow(0, before, now, from_ns, at_ns, maps))
    found = runs_offline(scores, windows, replace(spec, classes=artifact.classes))
    return [(one.onset, one.offset) for one in found if one.kind == "micro"]


def _write(network: SFAMNet, artifact: ModelArtifact, out: Path, comparison: Comparison, clips: int) -> None:
    text = ModelText(
        name=f"{artifact.name}-finetuned",
        version=artifact.version,
        classes=artifact.classes,
        training_data=f"{artifact.training_data} Then fine-tuned on {clips} corrected clips of "
        f"{len(comparison.per_subject)} subjects.",
        licence=artifact.licence,
        limits=artifact.limits,
    )
    extra = {"finetuned": {"from": artifact.model_id, "compared": comparison.to_json()}}
    write_model(
        network, text, artifact.spec, out, normalisation=artifact.normalisation, window_ms=artifact.window_ms,
        score_rate_hz=artifact.score_rate_hz, parity_maps=artifact.parity().maps, extra=extra, overwrite=True,
    )  # fmt: skip
