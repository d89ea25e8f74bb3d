"""The cost of a whole frame of motion on one core: everything from the color image to the network's input."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import cv2
import numpy as np

from sfam.capture.face_sequence import FaceSequence
from sfam.capture.frame import DepthImage
from sfam.capture.region_align import RegionAligner
from sfam.capture.sequence_plan import draw_plan
from sfam.stream.analysis import STAGES, Analysis
from sfam.stream.config import StreamConfig
from sfam.stream.face_process import RemoteDetector

from .detector_process import DetectorProcess

RENDERED = 45
WARM_UP = 20
"""Frames before the first that counts: the detection, and the first windows."""
WORKLOAD_EVERY = 5
PERIOD_NS = 33_333_333
FRAME, WORKLOAD, ALIGNMENT = "whole frame", "opencv workload", "align 240x240"
FACE_BOX = (200, 120, 240, 240)
"""Whose alignment alone has a row: the middle of the color image, as large as a near face."""

Stages = dict[str, dict[str, float]]


def opencv_workload() -> float:
    """Milliseconds of a fixed piece of work: a (480, 640) float32 image blurred by a Gaussian of 25 x 25."""
    image = np.full((480, 640), 100.0, np.float32)
    started = time.perf_counter_ns()
    cv2.GaussianBlur(image, (25, 25), 4.0)
    return (time.perf_counter_ns() - started) / 1e6


def alignment(aligner: RegionAligner, depth: DepthImage) -> float:
    """Milliseconds of laying the depth of `FACE_BOX` on the color image."""
    started = time.perf_counter_ns()
    aligner.align(depth, FACE_BOX)
    return (time.perf_counter_ns() - started) / 1e6


def time_frames(frames: int, method: str = "iclk") -> Stages:
    """Time of each frame of a rendered 640x480 face that sways, by stage, with the fixed workload in between.

    Faces are found in another process, as in a session. Also in between: the alignment of `FACE_BOX` alone, of a frame
    of long ago, whose depth is cold.

    Args:
        frames: that count.
        method: flow method.
    """
    sequence = FaceSequence(draw_plan(17, RENDERED / 30.0, micro=0, macro=0, blinks=0, sway=1.0))
    rendered = [sequence.frame(index) for index in range(RENDERED)]
    turn = 2 * (RENDERED - 1)
    laps: dict[str, list[float]] = {FRAME: [], **{stage: [] for stage in STAGES}, ALIGNMENT: [], WORKLOAD: []}
    aligner = RegionAligner(rendered[0].calibration, rendered[0].depth_scale_m)
    config = StreamConfig.model_validate({"flow": method})
    with _analysis(config) as analysis:
        for index in range(WARM_UP + frames):
            place = index % turn
            shown = rendered[min(place, turn - place)]
            frame = replace(shown, sequence=index, t_capture_ns=index * PERIOD_NS)
            started = time.perf_counter_ns()
            analysis.push(frame)
            spent = (time.perf_counter_ns() - started) / 1e6
            if index >= WARM_UP:
                laps[FRAME].append(spent)
                for stage, stage_ns in analysis.stage_ns.items():
                    laps[stage].append(stage_ns / 1e6)
            if index % WORKLOAD_EVERY == 0:
                laps[WORKLOAD].append(opencv_workload())
                laps[ALIGNMENT].append(alignment(aligner, rendered[(index + RENDERED // 2) % RENDERED].depth))
    return {
        stage: {"median_ms": float(np.median(spent)), "p99_ms": float(np.percentile(spent, 99))}
        for stage, spent in laps.items()
    }


@contextmanager
def _analysis(config: StreamConfig) -> Iterator[Analysis]:
    """An analysis whose faces another process finds."""
    with closing(DetectorProcess(config.face)) as beside:
        analysis = Analysis(config, detector=RemoteDetector(beside.connection, config.face, _refuse))
        with closing(analysis):
            yield analysis


def _refuse(loss: str) -> None:
    raise RuntimeError(f"{loss}; nothing was measured")


def frame_ratios(stages: Stages) -> dict[str, float]:
    """A frame as a multiple of the fixed workload, and its 99th percentile as one of its median."""
    frame = stages[FRAME]
    return {
        "frame_vs_opencv": frame["median_ms"] / stages[WORKLOAD]["median_ms"],
        "frame_p99_vs_median": frame["p99_ms"] / frame["median_ms"],
    }
