"""The published training recipe on one fold's data.

Source: Liong et al., "SFAMNet", Neurocomputing 566 (2024), and the recipe their program runs: mean squared error on the
spotting score x 0.9 plus class-weighted cross-entropy on the emotion x 0.1 with no weight on neutral, Adam 1e-4,
batches of 1024, 1000 steps, as many resting windows as moving ones, maps scaled by 0.9 to 1.1. What their loop does
besides, validating on the held-out subject after every step, changes no weight and is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy, mse_loss

from sfam.engine.network import SFAMNet

from .clip_windows import ClipWindows, Maps, no_maps, published_labels, scored_frames
from .dataset import DataSetError, emotion_class


@dataclass(frozen=True, slots=True)
class PublishedRecipe:
    """Its constants."""

    steps: int = 1000
    batch: int = 1024
    rate: float = 1e-4
    spot_share: float = 0.9
    resting_per_moving: float = 1.0
    scale_percent: tuple[int, int] = (90, 110)


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """The balanced windows of one fold, in memory (about 9,000 of the full data set: 200 MB)."""

    maps: Maps
    """(N, 3, 42, 42)."""
    spot: NDArray[np.float32]
    """(N,) 0 or 1."""
    emotion: NDArray[np.int64]
    """(N,) class, `classes` = neutral."""
    classes: int
    """Emotion classes without neutral."""

    def weights(self) -> NDArray[np.float32]:
        """(classes + 1,) balanced class weights: samples over classes times count; 0 for neutral."""
        counts = np.bincount(self.emotion, minlength=self.classes + 1)[: self.classes]
        balanced = counts.sum() / (self.classes * np.maximum(counts, 1))
        return np.append(np.where(counts > 0, balanced, 0.0), 0.0).astype(np.float32)


def draw_samples(clips: Sequence[ClipWindows], classes: int, recipe: PublishedRecipe, seed: int) -> Samples:
    """Every rising window and every onset-to-apex motion, and as many resting windows drawn at random.

    Only the chosen windows are read.

    Raises:
        DataSetError: there is nothing to learn from.
    """
    rng = np.random.default_rng((seed, 5))
    labels = [published_labels(clip, classes) for clip in clips]
    apex = [
        (maps, label)
        for clip in clips
        for maps, emotion in zip(clip.apex_maps, clip.apex_emotions, strict=True)
        if (label := emotion_class(emotion, classes)) is not None
    ]
    moving = sum(int(spot.sum()) for spot, _ in labels) + len(apex)
    if not moving:
        raise DataSetError(f"nothing to learn from: no annotated micro-expression in {len(clips)} clips has a window")
    chosen = _choose([spot for spot, _ in labels], round(moving * recipe.resting_per_moving), rng)
    maps: list[Maps] = [np.stack([one for one, _ in apex])] if apex else [no_maps()]
    spots, emotions = [np.ones(len(apex), np.float32)], [np.array([label for _, label in apex], np.int64)]
    for clip, (spot, emotion), own in zip(clips, labels, chosen, strict=True):
        maps.append(np.asarray(clip.maps[scored_frames(clip)[own]]) if len(own) else no_maps())
        spots.append(spot[own])
        emotions.append(emotion[own])
    return Samples(np.concatenate(maps), np.concatenate(spots), np.concatenate(emotions), classes)


def _choose(spots: Sequence[NDArray[np.float32]], resting: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Indices per clip: all that are moving, and `resting` others over all clips."""
    clip_of = np.repeat(np.arange(len(spots)), [len(spot) for spot in spots])
    within = np.concatenate([np.arange(len(spot)) for spot in spots]) if spots else np.zeros(0, np.int64)
    together = np.concatenate(spots) if spots else np.zeros(0, np.float32)
    still = np.flatnonzero(together == 0)
    drawn = rng.choice(still, min(resting, len(still)), replace=False)
    kept = np.sort(np.concatenate((np.flatnonzero(together > 0), drawn)))
    return [within[kept[clip_of[kept] == index]] for index in range(len(spots))]


def fit_published(
    network: SFAMNet,
    samples: Samples,
    recipe: PublishedRecipe,
    seed: int,
    progress: Callable[[int, float], None] | None = None,
) -> list[float]:
    """Train in place; batches run through shuffled epochs, the last of which is cut where the steps end.

    A batch without any emotion has no emotion loss here; in the published program it divides zero by zero and turns
    every weight into NaN.

    Returns:
        The loss of every step.

    Raises:
        FloatingPointError: loss or weights became non-finite; the step is named.
    """
    rng = np.random.default_rng((seed, 6))
    network.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.Adam(network.parameters(), lr=recipe.rate)
    weights = torch.from_numpy(samples.weights())
    spot, emotion = torch.from_numpy(samples.spot), torch.from_numpy(samples.emotion)
    losses: list[float] = []
    while len(losses) < recipe.steps:
        order = rng.permutation(len(samples.maps))
        for begin in range(0, len(order), recipe.batch):
            picked = order[begin : begin + recipe.batch]
            scale = rng.integers(recipe.scale_percent[0], recipe.scale_percent[1] + 1, len(picked)) / 100.0
            scaled = samples.maps[picked] * scale.astype(np.float32)[:, None, None, None]
            maps = torch.from_numpy(scaled).contiguous(memory_format=torch.channels_last)
            found, logits = network(*torch.chunk(maps, 3, dim=1))
            loss = recipe.spot_share * mse_loss(found, spot[picked])
            named = bool((emotion[picked] < samples.classes).any())
            crossed = cross_entropy(logits, emotion[picked], weight=weights) if named else 0.0 * logits.sum()
            loss = loss + (1 - recipe.spot_share) * crossed
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            losses.append(_finite(float(loss.detach()), network, len(losses)))
            if progress is not None:
                progress(len(losses), losses[-1])
            if len(losses) == recipe.steps:
                break
    network.eval()
    return losses


def _finite(loss: float, network: SFAMNet, step: int) -> float:
    """The loss, if it and the weights after its step are finite."""
    if not np.isfinite(loss) or not all(bool(torch.isfinite(value).all()) for value in network.parameters()):
        raise FloatingPointError(f"weights or loss ({loss}) are not finite after step {step}")
    return loss
