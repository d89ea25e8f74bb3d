"""`sfam bench capacity`: how many cameras at 30 fps a core carries, alone and side by side in one analysis process."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import numpy as np

from sfam.capture.frame import RGBDFrame
from sfam.capture.source import open_source
from sfam.engine.model import load_model

from .bench_flow import machine
from .config import Config, load_config
from .pipeline import Pipeline, open_scorer

DEMO_S = 6.0
FPS = 30.0
TOGETHER = 2
"""Cameras that share the network."""


def bench_capacity(seconds: float = DEMO_S) -> dict[str, object]:
    """Analysis only, on frames rendered beforehand; processor time counts, so that other programs matter little."""
    config = load_config(assignments=["app.speed=max", f"app.duration_s={seconds}", "sinks.publish=none"])
    with open_source(config.capture) as source:
        frames = [frame for frame, _ in zip(source.frames(), range(int(seconds * FPS)), strict=False)]
    spent_ms, alone_ms = _alone(config, frames)
    together_ms = _together(config, frames)
    row = {"median_ms": float(np.median(spent_ms)), "p99_ms": float(np.percentile(spent_ms, 99))}
    return {
        "machine": machine(),
        "stages": {
            "frame to score": row,
            "processor time per frame": {"median_ms": alone_ms, "p99_ms": alone_ms},
            f"processor time per frame, {TOGETHER} cameras": {"median_ms": together_ms, "p99_ms": together_ms},
        },
        "ratios": {
            "cameras_per_core_at_30_fps": 1e3 / FPS / alone_ms,
            f"cameras_per_core_at_30_fps_{TOGETHER}_together": 1e3 / FPS / together_ms,
        },
    }


def _alone(config: Config, frames: Sequence[RGBDFrame]) -> tuple[list[float], float]:
    """Wall time of each frame, and processor time per frame, ms."""
    pipeline, spent_ms = Pipeline(config), []
    began = time.process_time_ns()
    for frame in frames:
        started = time.perf_counter_ns()
        pipeline.process(frame)
        spent_ms.append((time.perf_counter_ns() - started) / 1e6)
    used_ms = (time.process_time_ns() - began) / 1e6
    pipeline.close()
    return spent_ms, used_ms / len(frames)


def _together(config: Config, frames: Sequence[RGBDFrame]) -> float:
    """Processor time per frame, ms, of several cameras as one analysis process runs them."""
    scorer = open_scorer(config, load_model(config.engine.model))
    pipelines = [Pipeline(config, scorer) for _ in range(TOGETHER)]

    def analyse(pipeline: Pipeline) -> None:
        for frame in frames:
            pipeline.process(frame)
        pipeline.close()

    threads = [threading.Thread(target=analyse, args=(pipeline,)) for pipeline in pipelines]
    began = time.process_time_ns()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    used_ms = (time.process_time_ns() - began) / 1e6
    scorer.backend.close()
    return used_ms / (len(frames) * TOGETHER)
