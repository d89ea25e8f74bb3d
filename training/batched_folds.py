"""All folds of the published recipe as one graph: one step moves many networks, each on its own batch.

Every fold draws the batches that it would draw alone (same generator, same epochs), so that what is learnt is the same
up to rounding; short last batches of an epoch are filled up with windows of no weight. On a GPU this fills a device
that one network of 7,000 weights leaves idle; on a CPU processes side by side (`--executor local`) are faster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from torch.nn.functional import log_softmax

from sfam.engine.network import SFAMNet

from .loso import (
    FoldResult,
    FoldTask,
    FoldTold,
    fold_tasks,
    load_clips,
    read_fold,
    save_weights,
    score_subject,
    write_fold,
)
from .published import PublishedRecipe, Samples, draw_samples

SMALLEST_WEIGHT = 1e-12


@dataclass(frozen=True, slots=True)
class FoldFit:
    """What became of one of the networks."""

    losses: list[float]
    failed: str = ""
    """Why it was stopped, '' where it was not."""


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    """One batch of each fold, (F, B, ...)."""

    maps: NDArray[np.float32]
    spot: NDArray[np.float32]
    emotion: NDArray[np.int64]
    counted: NDArray[np.float32]
    """1 for a window, 0 for filling."""


def run_folds_batched(
    data: Path,
    out: Path,
    classes: int,
    *,
    annotation: Path | None = None,
    recipe: PublishedRecipe | None = None,
    seed: int = 0,
    device: str = "",
    folds_at_once: int,
    tell: FoldTold = lambda *_: None,
) -> list[FoldResult]:
    """Train and score every fold that is not done yet, many in one graph; arguments and results as `run_folds`.

    Args:
        data: as `run_folds`.
        out: as `run_folds`.
        classes: 4 or 7.
        annotation: as `run_folds`.
        recipe: as `run_folds`.
        seed: as `run_folds`.
        device: of torch; '' = a GPU where there is one.
        folds_at_once: folds in one graph; each holds its balanced windows in memory (about 200 MB).
        tell: called after each fold that was not done before.
    """
    tasks = fold_tasks(data, out, classes, annotation=annotation, recipe=recipe, seed=seed)
    results = {task.subject: done for task in tasks if (done := read_fold(task)) is not None}
    waiting = [task for task in tasks if task.subject not in results]
    where = device or ("cuda" if torch.cuda.is_available() else "cpu")
    for begin in range(0, len(waiting), folds_at_once):
        for result in _train_group(waiting[begin : begin + folds_at_once], where):
            results[result.subject] = result
            tell(len(results), len(tasks), result)
    return [results[task.subject] for task in tasks]


def _train_group(tasks: Sequence[FoldTask], device: str) -> Iterator[FoldResult]:
    """Some folds in one graph, each then scored on its own subject."""
    clips = load_clips(tasks[0].data, tasks[0].annotation)
    networks, samples = [], []
    for task in tasks:
        others = [clip for clip in clips if clip.subject != task.subject]
        samples.append(draw_samples(others, task.classes, task.recipe, task.seed))
        torch.manual_seed(task.seed)
        networks.append(SFAMNet(task.classes + 1))
    fits = fit_batched(networks, samples, tasks[0].recipe, tasks[0].seed, device=device)
    for task, network, fit in zip(tasks, networks, fits, strict=True):
        if fit.failed:
            result = FoldResult(task.subject, "non_finite", fit.failed)
        else:
            save_weights(task, network)
            own = [clip for clip in clips if clip.subject == task.subject]
            result = score_subject(network, task.subject, own, task.classes, float(np.mean(fit.losses[-10:])))
        write_fold(task, result)
        yield result


def fit_batched(
    networks: Sequence[SFAMNet],
    samples: Sequence[Samples],
    recipe: PublishedRecipe,
    seed: int,
    *,
    device: str = "cpu",
    progress: Callable[[int], None] | None = None,
) -> list[FoldFit]:
    """Train all networks in place, each on its own samples.

    Args:
        networks: one a fold, equally built.
        samples: of each fold, with the same number of classes.
        recipe: constants of the published recipe.
        seed: of draws and order, as in `fit_published`.
        device: of torch.
        progress: called with the number of steps done.

    Returns:
        Losses of each fold; a fold that becomes non-finite is named and its network left as it was before.
    """
    parameters, _ = stack_module_state(list(networks))
    stacked = {name: value.detach().to(device).requires_grad_() for name, value in parameters.items()}
    optimiser = torch.optim.Adam(stacked.values(), lr=recipe.rate)
    balance = torch.from_numpy(np.stack([one.weights() for one in samples])).to(device)
    step_of_all = vmap(grad_and_value(_loss_of(networks[0], recipe)))
    fits = [FoldFit([]) for _ in networks]
    drawn = [_draws(one, recipe, seed) for one in samples]
    for step in range(1, recipe.steps + 1):
        batch = _together([next(one) for one in drawn], recipe.batch)
        at = [torch.from_numpy(part).to(device) for part in (batch.maps, batch.spot, batch.emotion, batch.counted)]
        gradients, losses = step_of_all({name: value.detach() for name, value in stacked.items()}, *at, balance)
        for name, value in stacked.items():
            value.grad = gradients[name]
        optimiser.step()
        finite = torch.isfinite(losses)
        for value in stacked.values():
            finite &= torch.isfinite(value.detach()).flatten(1).all(dim=1)
        fits = [_noted(*one, step) for one in zip(fits, losses.tolist(), finite.tolist(), strict=True)]
        if progress is not None:
            progress(step)
    for index, (network, fit) in enumerate(zip(networks, fits, strict=True)):
        if not fit.failed:
            network.load_state_dict({name: value.detach()[index].cpu() for name, value in stacked.items()})
        network.eval()
    return fits


def _noted(fit: FoldFit, loss: float, finite: bool, step: int) -> FoldFit:
    if fit.failed:
        return fit
    fit.losses.append(loss)
    return fit if finite else FoldFit(fit.losses, f"weights or loss ({loss}) are not finite after step {step - 1}")


def _loss_of(network: SFAMNet, recipe: PublishedRecipe) -> Callable[..., Tensor]:
    """The published loss of one fold's batch, as a function of its weights."""

    def loss(
        weights: dict[str, Tensor], maps: Tensor, spot: Tensor, emotion: Tensor, counted: Tensor, balance: Tensor
    ) -> Tensor:
        found, logits = functional_call(network, weights, tuple(maps.chunk(3, dim=1)))
        squared = (counted * (found - spot) ** 2).sum() / counted.sum()
        share = balance[emotion] * counted
        named = -log_softmax(logits, dim=1).gather(1, emotion[:, None])[:, 0]
        crossed = (share * named).sum() / share.sum().clamp_min(SMALLEST_WEIGHT)
        total: Tensor = recipe.spot_share * squared + (1 - recipe.spot_share) * crossed
        return total

    return loss


def _draws(samples: Samples, recipe: PublishedRecipe, seed: int) -> Iterator[tuple[NDArray[np.float32], Samples]]:
    """The batches of `fit_published`, endless: scaled maps, and the chosen samples."""
    rng = np.random.default_rng((seed, 6))
    while True:
        order = rng.permutation(len(samples.maps))
        for begin in range(0, len(order), recipe.batch):
            picked = order[begin : begin + recipe.batch]
            scale = rng.integers(recipe.scale_percent[0], recipe.scale_percent[1] + 1, len(picked)) / 100.0
            maps = samples.maps[picked] * scale.astype(np.float32)[:, None, None, None]
            yield maps, Samples(maps, samples.spot[picked], samples.emotion[picked], samples.classes)


def _together(batches: Sequence[tuple[NDArray[np.float32], Samples]], size: int) -> _Step:
    """Batches of all folds side by side, short ones filled up."""
    size = min(size, max(len(maps) for maps, _ in batches))
    shape = (len(batches), size)
    step = _Step(
        np.zeros((*shape, *batches[0][0].shape[1:]), np.float32),
        np.zeros(shape, np.float32),
        np.full(shape, batches[0][1].classes, np.int64),
        np.zeros(shape, np.float32),
    )
    for index, (maps, chosen) in enumerate(batches):
        count = len(maps)
        step.maps[index, :count], step.spot[index, :count] = maps, chosen.spot
        step.emotion[index, :count], step.counted[index, :count] = chosen.emotion, 1.0
    return step
