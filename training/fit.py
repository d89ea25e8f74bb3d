"""Gradient descent on a SFAMNet: our loss (not the published one), one schedule, reproducible by seed.

Spotting is trained as a binary decision with cross-entropy instead of the published squared error; the emotion head
learns beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from sfam.engine.network import SFAMNet

from .overlays import Batch


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
) -> list[float]:
    """Train in place.

    Args:
        network: with fresh or earlier weights.
        batches: draws training batches.
        schedule: steps and rates.
        scales: compression of u, v (px) and w (mm).
        seed: of the batch draws.
        progress: called after each step with its number and loss.

    Returns:
        The loss of every step.

    Raises:
        FloatingPointError: the loss became non-finite; the step is named.
    """
    rng = np.random.default_rng(seed)
    network.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(network.parameters(), lr=schedule.peak_rate, weight_decay=schedule.weight_decay)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimiser, schedule.peak_rate, total_steps=schedule.steps)
    losses: list[float] = []
    for step in range(schedule.steps):
        batch = batches.batch(rng)
        maps = torch.from_numpy(batch.maps).contiguous(memory_format=torch.channels_last)
        u, v, w = torch.chunk(compress(maps, *scales), 3, dim=1)
        spot, emotion = network.logits(u, v, w)
        loss = binary_cross_entropy_with_logits(spot, torch.from_numpy(batch.spot))
        loss = loss + schedule.emotion_weight * cross_entropy(emotion, torch.from_numpy(batch.emotion))
        value = float(loss.detach())
        if not np.isfinite(value):
            raise FloatingPointError(f"training: the loss is {value} at step {step}; lower the rate or check the data")
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), schedule.clip_norm)
        optimiser.step()
        rates.step()
        losses.append(value)
        if progress is not None:
            progress(step, value)
    network.eval()
    return losses
