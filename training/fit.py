"""Gradient descent on a SFAMNet: our loss (not the published one), one schedule, reproducible by seed.

Spotting is trained as a binary decision with cross-entropy instead of the published squared error; the emotion head
learns beside it. A run that was broken off goes on from its last saved step as if nothing had happened.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from sfam.engine.network import SFAMNet

from .fit_state import FitState
from .overlays import Batch

SAVED_EVERY = 100
"""Steps after which a run that may be broken off is saved."""


class Batches(Protocol):
    """Where batches come from."""

    def batch(self, rng: np.random.Generator) -> Batch:
        """Draw one batch; all chance comes from `rng`."""
        ...


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to learn."""

    steps: int = 800
    peak_rate: float = 6e-3
    weight_decay: float = 1e-3
    emotion_weight: float = 0.4
    clip_norm: float = 1.0
    check_every: int = 100
    """Steps between two looks at data that is not learnt from."""
    patience: int = 6
    """Looks without a better loss after which learning stops; the best weights are kept."""


@dataclass(frozen=True, slots=True)
class Run:
    """What became of a training run."""

    losses: list[float]
    """Of every step."""
    held_out: dict[int, float]
    """Step -> loss on data that was not learnt from."""
    kept_step: int
    """Steps of the weights that were kept."""


def compress(maps: Tensor, scale_px: float, scale_mm: float) -> Tensor:
    """sign(x) log(1 + |x| / s) on (N, 3, 42, 42) maps: keeps the sign, lets 0.2 px and 4 px both be seen."""
    scale = maps.new_tensor([scale_px, scale_px, scale_mm])[None, :, None, None]
    return torch.sign(maps) * torch.log1p(maps.abs() / scale)


def fit(
    network: SFAMNet,
    batches: Batches,
    schedule: Schedule,
    scales: tuple[float, float],
    seed: int,
    progress: Callable[[int, float], None] | None = None,
    *,
    held_out: list[Batch] | None = None,
    saved: Path | None = None,
) -> Run:
    """Train in place.

    Args:
        network: with fresh or earlier weights.
        batches: draws training batches.
        schedule: steps and rates.
        scales: compression of u, v (px) and w (mm).
        seed: of the batch draws.
        progress: called after each step with its number and loss.
        held_out: batches that are not learnt from; they decide when to stop and which weights to keep.
        saved: file of an unfinished run; gone on from if it is of the same schedule and seed, written now and then.

    Raises:
        FloatingPointError: the loss became non-finite; the step is named.
    """
    rng = np.random.default_rng(seed)
    network.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(network.parameters(), lr=schedule.peak_rate, weight_decay=schedule.weight_decay)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimiser, schedule.peak_rate, total_steps=schedule.steps)
    state = FitState(network, optimiser, rates, rng, f"{schedule} {scales} {seed}")
    if saved is not None:
        state.restore(saved)
    while state.step < schedule.steps and not state.tired(schedule.patience):
        loss = loss_of(network, batches.batch(rng), schedule, scales)
        value = float(loss.detach())
        if not np.isfinite(value):
            raise FloatingPointError(
                f"training: the loss is {value} at step {state.step}; lower the rate or check the data"
            )
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), schedule.clip_norm)
        optimiser.step()
        rates.step()
        state.losses.append(value)
        if held_out and (state.step % schedule.check_every == 0 or state.step == schedule.steps):
            state.check(held_out_loss(network, held_out, schedule, scales))
        if saved is not None and state.step % SAVED_EVERY == 0:
            state.save(saved)
        if progress is not None:
            progress(state.step - 1, value)
    kept = state.keep_best()
    network.eval()
    return Run(state.losses, state.held_out, kept)


def loss_of(network: SFAMNet, batch: Batch, schedule: Schedule, scales: tuple[float, float]) -> Tensor:
    """Cross-entropy of the spotting decision plus a share of that of the emotion."""
    maps = torch.from_numpy(batch.maps).contiguous(memory_format=torch.channels_last)
    u, v, w = torch.chunk(compress(maps, *scales), 3, dim=1)
    spot, emotion = network.logits(u, v, w)
    loss = binary_cross_entropy_with_logits(spot, torch.from_numpy(batch.spot))
    return loss + schedule.emotion_weight * cross_entropy(emotion, torch.from_numpy(batch.emotion))


def held_out_loss(network: SFAMNet, batches: list[Batch], schedule: Schedule, scales: tuple[float, float]) -> float:
    """Mean loss on batches that are not learnt from."""
    network.eval()
    with torch.no_grad():
        values = [float(loss_of(network, batch, schedule, scales)) for batch in batches]
    network.train()
    return float(np.mean(values))
