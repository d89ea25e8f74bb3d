"""`sfam bench replay`: a recording through everything, stage by stage, beside the predecessor's per-window function."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sfam.capture.clock import SessionClock
from sfam.capture.frame import RGBDFrame
from sfam.capture.pacing import ReplayControl, limited
from sfam.capture.source import SourceError, open_source
from sfam.stream.scene_flow import CROP_PX

from .analysis_role import AnalysisSettings
from .bench_flow import machine
from .bench_predecessor import Predecessor
from .capture_role import CaptureSettings
from .config import Config, load_config
from .live import make_plan
from .pipeline import Pipeline
from .replay import run_in_processes
from .session import Session
from .single_process import run_single_process

DEMO_S = 6.0
PREDECESSOR_EVERY = 30


def bench_replay(file: Path | None = None) -> dict[str, object]:
    """Stage table, times real time in one and in two processes, and the ratio to the predecessor.

    Args:
        file: recording; None = six seconds of the demo camera, whose rendering then counts as decoding.
    """
    with tempfile.TemporaryDirectory() as folder:
        single = _run(_settings(file, Path(folder) / "single"), _in_one_process)
        double = _run(_settings(file, Path(folder) / "double"), _in_two_processes)
        ours_ms, theirs_ms = _beside_predecessor(_settings(file, Path(folder) / "beside"))
    stages = {
        name: {"median_ms": row["p50"] / 1e3, "p99_ms": row["p99"] / 1e3} for name, row in single["latency_us"].items()
    }
    stages["predecessor window"] = {"median_ms": theirs_ms, "p99_ms": theirs_ms}
    return {
        "machine": machine(),
        "frames": single["analysed"],
        "stages": stages,
        "ratios": {
            "real_time_one_process": single["times_real_time"],
            "real_time_two_processes": double["times_real_time"],
            "score_vs_predecessor": theirs_ms / ours_ms,
        },
    }


def _settings(file: Path | None, out: Path) -> Config:
    """Everything on, as fast as possible, on a free port."""
    flags: dict[str, object] = {"app.speed": "max", "sinks.publish": "tcp://127.0.0.1:*", "sinks.out": str(out)}
    flags["app.selftest"] = False  # it runs once, beside the first seconds of a session
    if file is None:
        flags["app.duration_s"] = DEMO_S
    else:
        flags["capture.camera"] = str(file)
    return load_config(flags=flags)


def _run(config: Config, how: Callable[[CaptureSettings, AnalysisSettings], Mapping[str, Any]]) -> dict[str, Any]:
    clock = SessionClock.start()
    capture = CaptureSettings(config.capture, clock, math.inf, config.app.duration_s)
    totals = dict(how(capture, AnalysisSettings(Session, make_plan(config, clock))))
    totals["times_real_time"] = totals["capture_s"] / totals["analysis_s"]
    return totals


def _in_one_process(capture: CaptureSettings, analysis: AnalysisSettings) -> Mapping[str, Any]:
    return run_single_process(
        capture, analysis, stop=lambda: False, control=ReplayControl(), tell=lambda *_: None, show_status=lambda _: None
    )


def _in_two_processes(capture: CaptureSettings, analysis: AnalysisSettings) -> Mapping[str, Any]:
    return run_in_processes(capture, analysis, "lossless", 16)


def _beside_predecessor(config: Config) -> tuple[float, float]:
    """Median ms of our frame-to-score and of the predecessor's window, in turn on the same crops."""
    pipeline, predecessor = Pipeline(config), Predecessor()
    ours_ms: list[float] = []
    theirs_ms: list[float] = []
    before: np.ndarray[Any, np.dtype[np.uint8]] | None = None
    for frame in _frames(config):
        started = time.perf_counter_ns()
        result = pipeline.process(frame)
        if result.scores:
            ours_ms.append((time.perf_counter_ns() - started) / 1e6)
        if not result.tracks or frame.sequence % PREDECESSOR_EVERY:
            continue
        crop = result.tracks[0].crop
        grey = cv2.cvtColor(frame.color, cv2.COLOR_RGB2GRAY)
        square = grey[max(0, crop.y) : crop.y + crop.size, max(0, crop.x) : crop.x + crop.size]
        now = cv2.resize(square, (CROP_PX, CROP_PX)).astype(np.uint8)
        if before is not None:
            started = time.perf_counter_ns()
            predecessor.window(before, now)
            theirs_ms.append((time.perf_counter_ns() - started) / 1e6)
        before = now
    pipeline.close()
    if not ours_ms or not theirs_ms:
        raise SourceError(
            f"{config.capture.camera}: nothing to measure; a replay bench needs a face for more than "
            f"{2 * PREDECESSOR_EVERY} frames"
        )
    return float(np.median(ours_ms)), float(np.median(theirs_ms))


def _frames(config: Config) -> Iterator[RGBDFrame]:
    """Frames of the source up to the configured duration."""
    with open_source(config.capture) as source:
        yield from limited(source.frames(), config.app.duration_s)
