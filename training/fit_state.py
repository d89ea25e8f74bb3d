"""All that a training run is made of at one step: what must be saved so that it can go on as if never interrupted."""

from __future__ import annotations

import copy
import math
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sfam.engine.network import SFAMNet

CLEARLY_BETTER = 0.9


class FitState:
    """A run under way.

    Args:
        network: being trained.
        optimiser: over its weights.
        rates: schedule of the rate.
        rng: that batches are drawn with.
        what: a line that says what run this is; a saved one with another line is not gone on from.
    """

    def __init__(
        self,
        network: SFAMNet,
        optimiser: torch.optim.Optimizer,
        rates: torch.optim.lr_scheduler.LRScheduler,
        rng: np.random.Generator,
        what: str,
    ) -> None:
        self._network, self._optimiser, self._rates, self._rng, self._what = network, optimiser, rates, rng, what
        self.losses: list[float] = []
        self.held_out: dict[int, float] = {}
        self._best: dict[str, Any] | None = None
        self._best_step = 0

    @property
    def step(self) -> int:
        """Steps done."""
        return len(self.losses)

    def check(self, loss: float) -> None:
        """Note the loss on data that is not learnt from; the weights of the lowest are remembered."""
        lowest = min(self.held_out.values(), default=math.inf)
        self.held_out[self.step] = loss
        if loss < lowest:
            self._best, self._best_step = copy.deepcopy(self._network.state_dict()), self.step

    def tired(self, patience: int) -> bool:
        """Whether the last so many checks brought nothing better."""
        return sum(step > self._best_step for step in self.held_out) >= patience

    def keep_best(self) -> int:
        """Put back the weights of the lowest checked loss, if they are clearly better than the last; returns the step.

        The rate falls to nothing towards the end, which steadies the last weights; a little less loss by chance in
        between is no reason to prefer others.
        """
        if self._best is None or self.held_out[self._best_step] > CLEARLY_BETTER * self.held_out[max(self.held_out)]:
            return self.step
        self._network.load_state_dict(self._best)
        return self._best_step

    def save(self, path: Path) -> None:
        """Write everything; the file is whole or the earlier one."""
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        content = {
            "what": self._what,
            "network": self._network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "rates": self._rates.state_dict(),
            "rng": self._rng.bit_generator.state,
            "losses": self.losses,
            "held_out": self.held_out,
            "best": self._best,
            "best_step": self._best_step,
        }
        torch.save(content, beside)
        os.replace(beside, path)

    def restore(self, path: Path) -> bool:
        """Go on from a saved run of the same kind; False where there is none."""
        try:
            content = torch.load(path, weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError):
            return False  # none, or of another program: the run begins anew
        if not isinstance(content, dict) or content.get("what") != self._what:
            return False
        self._network.load_state_dict(content["network"])
        self._optimiser.load_state_dict(content["optimiser"])
        self._rates.load_state_dict(content["rates"])
        self._rng.bit_generator.state = content["rng"]
        self.losses[:], self.held_out = content["losses"], content["held_out"]
        self._best, self._best_step = content["best"], content["best_step"]
        return True
