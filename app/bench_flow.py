"""`sfam bench flow`: speed against the predecessor's TV-L1 in one run, accuracy on an archive of exact scene flow."""

from __future__ import annotations

import os
import platform
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from sfam.capture.face_sequence import FaceSequence
from sfam.capture.render import CANONICAL
from sfam.capture.sequence_plan import draw_plan
from sfam.stream.depth_change import DepthProducts, depth_change, smooth_depth
from sfam.stream.flow import FlowField, FlowProducts, open_flow
from sfam.stream.head_motion import CropCamera, HeadMotionFit, rigid_mask

from .bench_accuracy import cold_flow, estimate, read_truth, score
from .bench_frame import ALIGNMENT, FRAME, WORKLOAD, frame_ratios, time_frames
from .bench_predecessor import Predecessor

METHODS = {"fast": "iclk", "quality": "quality"}
WINDOW_FRAMES = 6
STREAM_FRAMES = 240
PREDECESSOR_EVERY = 12
WHOLE_FRAMES = 300

Crop = tuple[NDArray[np.uint8], NDArray[np.float32]]
Stages = dict[str, dict[str, float]]
T = TypeVar("T")
P = ParamSpec("P")


def bench_flow(truth: Path | None = None, mode: str = "fast", save: Path | None = None) -> dict[str, object]:
    """Measure one flow mode.

    Args:
        truth: archive in the form of the project's exact-flow pairs, its description (.json) beside it.
        mode: fast or quality.
        save: where u, v, w (before head-motion removal) and ru, rv, rw (after) of every pair go, (N, 128, 128) float32.

    Returns:
        machine, stages (ms per frame) and ratios; with `truth` also accuracy, light and nothing_moves.

    Raises:
        ValueError: unknown mode, `save` without `truth`, or an incomplete archive.
        OSError: the archive cannot be read or the estimates not be written.
    """
    if mode not in METHODS:
        raise ValueError(f"bench flow: mode '{mode}' is unknown; known: {', '.join(METHODS)}")
    if save is not None and truth is None:
        raise ValueError("bench flow: --save needs --truth, the archive whose estimates it writes")
    pairs = None if truth is None else read_truth(truth)
    with one_thread():
        stages, whole = time_stream(METHODS[mode], STREAM_FRAMES), time_frames(WHOLE_FRAMES, METHODS[mode])
        ratios = speed_ratios(stages) | frame_ratios(whole)
        stages |= {
            name if name in (FRAME, ALIGNMENT, WORKLOAD) else f"frame: {name}": laps for name, laps in whole.items()
        }
        report: dict[str, object] = {"machine": machine(), "stages": stages, "ratios": ratios}
        if pairs is not None:
            measured, residual = estimate(cold_flow(METHODS[mode]), pairs)
            report.update(score(measured, residual, pairs))
            if save is not None:
                names = ("u", "v", "w", "ru", "rv", "rw")
                maps = np.concatenate([measured, residual], axis=1).swapaxes(0, 1)
                np.savez_compressed(save, **dict(zip(names, maps, strict=True)))
    return report


@contextmanager
def one_thread() -> Iterator[None]:
    """OpenCV on one thread: ratios are stated for one core."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def machine() -> str:
    """Processor and library versions, for the reader of the numbers."""
    return (
        f"{platform.machine()} {platform.system()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"numpy {np.__version__}, OpenCV {cv2.__version__}"
    )


def synthetic_stream(frames: int) -> tuple[list[Crop], NDArray[np.floating]]:
    """A synthetic face that moves its head and shows expressions.

    Returns:
        Per frame grey (128, 128) uint8 and depth (128, 128) float32 mm, with sensor noise; and (68, 2) landmarks of
        the first frame.
    """
    sequence = FaceSequence(draw_plan(7, frames / 30.0, sway=0.5))
    crops: list[Crop] = []
    for index in range(frames):
        color, depth_mm = sequence.crop(index)
        crops.append((cv2.cvtColor(color, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False), depth_mm))
    return crops, sequence.landmarks(0, CANONICAL)


class _Laps:
    """Durations by stage."""

    def __init__(self) -> None:
        self._laps: dict[str, list[float]] = {}

    def time(self, stage: str, call: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        start = time.perf_counter_ns()
        result = call(*args, **options)
        self._laps.setdefault(stage, []).append((time.perf_counter_ns() - start) / 1e6)
        return result

    def stages(self) -> Stages:
        return {
            stage: {"median_ms": float(np.median(laps)), "p99_ms": float(np.percentile(laps, 99))}
            for stage, laps in self._laps.items()
        }


def time_stream(method: str, frames: int) -> Stages:
    """Every stage on a warm stream, per frame, with the predecessor on some of the same pairs in between."""
    solver, predecessor, fit, laps = open_flow(method), Predecessor(), HeadMotionFit(), _Laps()
    camera = CropCamera(CANONICAL.fx, CANONICAL.fy, CANONICAL.cx, CANONICAL.cy)
    stream, landmarks = synthetic_stream(frames)
    mask = rigid_mask(landmarks)
    held: deque[tuple[NDArray[np.uint8], FlowProducts, DepthProducts]] = deque(maxlen=WINDOW_FRAMES + 1)
    field: FlowField | None = None

    def flow(grey: NDArray[np.uint8]) -> tuple[FlowProducts, FlowField | None]:
        products = solver.prepare(grey)
        if len(held) < WINDOW_FRAMES:
            return products, None
        return products, solver.solve(held[-WINDOW_FRAMES][1], products, initial=field)

    def motion(depth_mm: NDArray[np.float32], found: FlowField | None) -> DepthProducts:
        moving = smooth_depth(depth_mm)
        if found is not None:
            reference = held[-WINDOW_FRAMES][2]
            w, valid = depth_change(reference, moving, found)
            induced = fit.induced(
                fit.fit(found, w, valid, reference.shape_mm, camera, mask), reference.shape_mm, camera
            )
            for measured, rigid in zip((found.u, found.v, w), induced, strict=True):
                np.subtract(measured, rigid, out=rigid)
        return moving

    for index, (grey, depth_mm) in enumerate(stream):
        warm = field is not None
        products, found = laps.time("flow" if warm else "cold start", flow, grey)
        moving = laps.time("depth and head" if warm else "cold start", motion, depth_mm, found)
        held.append((grey, products, moving))
        field = found
        if warm and index % PREDECESSOR_EVERY == 0:
            laps.time("tvl1", predecessor.flow, held[0][0], grey)
            laps.time("predecessor window", predecessor.window, held[0][0], grey)
    return laps.stages()


def speed_ratios(stages: Stages) -> dict[str, float]:
    """How many times faster than TV-L1: flow alone, and flow with depth change and head motion."""
    tvl1, flow = stages["tvl1"]["median_ms"], stages["flow"]["median_ms"]
    return {"flow_vs_tvl1": tvl1 / flow, "motion_vs_tvl1": tvl1 / (flow + stages["depth and head"]["median_ms"])}
