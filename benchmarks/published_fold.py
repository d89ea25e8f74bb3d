"""One fold of the published recipe: our loop beside one that works as the published loop does, interleaved.

The published form, rebuilt here for timing only: windows leave the data set one by one and are stacked again, layers
run in the plain memory layout, and the held-out subject is validated after every step. Both begin with the same
weights and see maps of the same shape; random maps, so nothing here is a score.

With `--folds N` also N folds as one graph (`sfam evaluate --executor batched`), time per fold; on a GPU where torch
finds one.

    OMP_NUM_THREADS=1 python benchmarks/published_fold.py [--steps 2] [--batch 1024] [--folds 0] [--json]
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
import torch
from torch.nn.functional import cross_entropy, mse_loss
from torch.utils.data import DataLoader, Dataset

from sfam.engine.network import SFAMNet
from sfam.training.batched_folds import fit_batched
from sfam.training.published import PublishedRecipe, Samples, fit_published

CLASSES = 4
HELD_OUT, HELD_OUT_APEXES = 90, 9
"""Balanced windows and annotated micro-expressions of a mean subject of the 98."""
Item = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


class OneByOne(Dataset[Item]):
    """Windows as tensors, scaled one at a time."""

    def __init__(self, samples: Samples, seed: int) -> None:
        self._maps = torch.from_numpy(samples.maps)
        self._spot, self._emotion = torch.from_numpy(samples.spot), torch.from_numpy(samples.emotion)
        self._rng = np.random.default_rng(seed)

    def __len__(self) -> int:
        return len(self._maps)

    def __getitem__(self, index: int) -> Item:
        u, v, w = (
            self._maps[index, channel : channel + 1] * (self._rng.integers(90, 111) / 100) for channel in range(3)
        )
        return u, v, w, self._spot[index], self._emotion[index]


def random_samples(count: int, seed: int) -> Samples:
    rng = np.random.default_rng(seed)
    spot = (np.arange(count) % 2).astype(np.float32)
    maps = rng.normal(0, 0.3, (count, 3, 42, 42)).astype(np.float32)
    maps[spot > 0, 0, :21] += 0.4
    return Samples(maps, spot, np.where(spot > 0, rng.integers(0, CLASSES, count), CLASSES), CLASSES)


def as_published(network: SFAMNet, samples: Samples, recipe: PublishedRecipe) -> list[float]:
    """Losses of a loop of the published form."""
    batches = DataLoader(OneByOne(samples, 0), recipe.batch, shuffle=True)
    held_out = [DataLoader(OneByOne(random_samples(n, 1), 0), recipe.batch) for n in (HELD_OUT, HELD_OUT_APEXES)]
    optimiser = torch.optim.Adam(network.parameters(), lr=recipe.rate)
    weights = torch.from_numpy(samples.weights())
    losses: list[float] = []
    while len(losses) < recipe.steps:
        for u, v, w, spot, emotion in batches:
            network.train()
            found, logits = network(u, v, w)
            loss = recipe.spot_share * mse_loss(found, spot)
            loss = loss + (1 - recipe.spot_share) * cross_entropy(logits, emotion, weight=weights)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            losses.append(float(loss.detach()))
            network.eval()
            for loader in held_out:
                for ours in loader:
                    network(*ours[:3])
            if len(losses) == recipe.steps:
                return losses
    return losses


def batched(folds: int, samples: Samples, recipe: PublishedRecipe) -> tuple[float, float]:
    """Seconds per step and fold, and the last loss, of equal folds in one graph."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    networks = []
    for _ in range(folds):
        torch.manual_seed(0)
        networks.append(SFAMNet(CLASSES + 1))
    began = time.perf_counter()
    fits = fit_batched(networks, [samples] * folds, recipe, 0, device=device)
    return (time.perf_counter() - began) / recipe.steps / folds, fits[0].losses[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--folds", type=int, default=0, help="folds in one graph; 0 = leave this out")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    samples = random_samples(2 * given.batch, 0)
    recipe = PublishedRecipe(steps=given.steps, batch=given.batch)
    seconds: dict[str, list[float]] = {"published form": [], "ours": []}
    last: dict[str, float] = {}
    for _ in range(given.rounds):
        for name in ("published form", "ours"):
            torch.manual_seed(0)
            network = SFAMNet(CLASSES + 1)
            began = time.perf_counter()
            ours = name == "ours"
            losses = fit_published(network, samples, recipe, 0) if ours else as_published(network, samples, recipe)
            seconds[name].append((time.perf_counter() - began) / given.steps)
            last[name] = losses[-1]
        if given.folds:
            name = f"{given.folds} folds in one graph, each"
            spent, last[name] = batched(given.folds, samples, recipe)
            seconds.setdefault(name, []).append(spent)
    best = {name: min(times) for name, times in seconds.items()}
    ratio = best["ours"] / best["published form"]
    if given.json:
        print(json.dumps({"seconds_per_step": best, "ratio": ratio, "last_loss": last, "batch": given.batch}))
        return
    for name, value in best.items():
        print(f"{name:28} {value:.3f} s a step of {given.batch}, loss {last[name]:.4f} after {given.steps} steps")
    print(f"ours takes {ratio:.2f} of the time")


if __name__ == "__main__":
    main()
