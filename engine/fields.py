"""Smooth random motion fields: inputs to pin and to probe a network with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def smooth_fields(count: int, seed: int) -> NDArray[np.float32]:
    """(count, 3, 42, 42): sums of six random waves of at most three periods, root mean square about 1."""
    rng = np.random.default_rng(seed)
    y, x = np.meshgrid(np.linspace(0, 1, 42), np.linspace(0, 1, 42), indexing="ij")
    fields = np.zeros((count, 3, 42, 42))
    for _ in range(6):
        along, across, phase = (rng.uniform(low, high, (count, 3, 1, 1)) for low, high in ((-3, 3), (-3, 3), (0, 7)))
        fields += rng.normal(0, 0.6, (count, 3, 1, 1)) * np.cos(2 * np.pi * (along * x + across * y) + phase)
    return np.asarray(fields, np.float32)
