"""`sfam synth`: a corpus of synthetic recordings with their truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .config import ConfigError


def synth(
    out: Annotated[Path, typer.Argument(help="Folder of the corpus; an earlier run in it goes on.")],
    subjects: Annotated[int, typer.Option(min=1, max=5000, help="Heads, a quarter of them for the test split.")] = 20,
    clips: Annotated[int, typer.Option(min=1, max=1000, help="Recordings of each head.")] = 2,
    seconds: Annotated[float, typer.Option(min=8.0, max=600.0, help="Length of each.")] = 30.0,
    depth_noise: Annotated[str, typer.Option(help="mixed, white, correlated or quantised.")] = "mixed",
    full_size: Annotated[
        bool, typer.Option("--full-size", help="640x480 and 848x480 as the demo camera; else the face's surroundings.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of everything.")] = 0,
    executor: Annotated[str, typer.Option(help="local = processes of this machine, ray = a Ray cluster.")] = "local",
    workers: Annotated[int | None, typer.Option(min=1, max=1024, help="Processes; default one a core.")] = None,
) -> None:
    """Write synthetic RGB-D recordings with known expressions, blinks, speech, shifts of gaze, head motion and light.

    Heads of OUT/test are in no clip of OUT/train. Of the micro-expressions 60 % last as long as annotated ones
    (791 of CAS(ME)^3's 860: at most 30 frames, rise and fall of two or more), the others are short. Depth noise is
    white, correlated as stereo matching leaves it, or in steps of disparity. Each .mcap plays like any recording; the
    .json beside it is the truth.

    Examples: `sfam synth corpus --subjects 40`, then `sfam features corpus/train windows`
    """
    from sfam.training.executor import open_executor
    from sfam.training.synthetic_corpus import DEPTH_NOISE, CorpusPlan, corpus_tasks, write_clip

    from .progress_bar import progress_bar

    if depth_noise not in DEPTH_NOISE:
        raise ConfigError(f"--depth-noise {depth_noise}: known are {', '.join(DEPTH_NOISE)}")
    plan = CorpusPlan(
        subjects, clips=clips, seconds=seconds, depth_noise=depth_noise, full_size=full_size,
        seed=seed,
    )  # fmt: skip
    try:
        runner = open_executor(executor, workers)
        tasks = corpus_tasks(plan, out)
    except (ValueError, RuntimeError) as error:
        raise ConfigError(str(error)) from error
    written = 0
    with progress_bar("clips", len(tasks)) as bar:
        for _, outcome in runner.run(write_clip, tasks):
            if isinstance(outcome, BaseException):
                raise outcome
            written += bool(outcome)
            bar.advance()
    tests = sum(task.folder.parent.name == "test" for task in tasks)
    typer.echo(f"{len(tasks)} clips ({len(tasks) - written} from before), {tests} of them for testing, in {out}")
