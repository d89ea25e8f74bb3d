"""The smallest motion that would be seen here: known displacements are put into real frames and looked for.

Every trial takes two frames of the source that are one window apart, moves the skin at the brows and at the mouth of
the later one by a Gaussian field of known size, in the image and in depth, and measures with the session's own flow,
depth (averaged as configured) and head-motion code, from where the tracker saw the face go. Noise, light, distance and
texture are those of the camera. Unlike in a session, flow does not begin with the window before but cold, for nothing
has moved there; a warm stream errs by at most 5 % more. A size is found when nine of ten trials exceed what frames
without it show (their middle plus three robust standard deviations); in depth none is where the session leaves w out.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from statistics import median
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from sfam.capture.frame import RGBDFrame
from sfam.stream.analysis import Analysis
from sfam.stream.config import StreamConfig
from sfam.stream.depth_change import depth_change, smooth_depth
from sfam.stream.face_track import FaceTrack
from sfam.stream.flow import FlowProducts, open_flow
from sfam.stream.flow_window import FlowWindow
from sfam.stream.head_motion import HeadMotionFit, rigid_mask
from sfam.stream.past_frames import cut_grey, region_box
from sfam.stream.scene_flow import Crop, FloatMap

from .known_motion import motion_lengths, moved_depth, moved_skin, no_motion, places, true_means
from .selftest_pairs import Pair, PairCollector
from .selftest_result import SelfTestError, SelfTestResult, SizeResult, smallest_found

T = TypeVar("T")
SIZES_PX = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0, 2.0)
SIZES_MM = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0)
SHORT = (1, 3, 5, 7)
"""Of these, the sizes that the short form tries."""
PAIRS = 16
SHORT_PAIRS = 6
SIGMAS = 3.0
OUTLIER_SIGMAS = 6.0
"""A pair that differs from the others by more shows a face that moved by itself."""
MOST_FRAMES = 900
DIRECTIONS = ((0.0, -1.0), (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0))


Trials = Generator[None, None, T]
"""Work in small steps, and its result."""


class SelfTest:
    """Collects pairs of frames while a session runs, and then looks for known motion in them.

    The collecting costs a few copies; `result` takes about 20 ms for each pair and size.

    Args:
        config: flow settings of the session.
        short: fewer pairs and sizes, for the start of a session.
    """

    def __init__(self, config: StreamConfig, *, short: bool = False) -> None:
        self._solver = open_flow(config.flow)
        self._head = HeadMotionFit()
        self._remove_head = config.head_motion
        self._sizes = SHORT if short else tuple(range(len(SIZES_PX)))
        self._collector = PairCollector(config, SHORT_PAIRS if short else PAIRS)
        self._pairs: list[Pair] = []

    @property
    def ready(self) -> bool:
        """Whether enough pairs are there."""
        return self._collector.ready

    def push(self, frame: RGBDFrame, windows: Sequence[FlowWindow], tracks: Sequence[FaceTrack]) -> None:
        """Take what the analysis made of a frame; frames come in order and are held for a window and a half."""
        self._collector.push(frame, windows, tracks)

    def result(self) -> SelfTestResult:
        """Put the motions in and look for them.

        Raises:
            SelfTestError: no pair of frames with a face at rest was seen.
        """
        trials = self.trials()
        while True:
            try:
                next(trials)
            except StopIteration as end:
                result: SelfTestResult = end.value
                return result

    def trials(self) -> Trials[SelfTestResult]:
        """The same in steps of about 10 ms, for whoever has other things to do in between.

        Raises:
            SelfTestError: at the first step.
        """
        self._pairs = self._collector.pairs
        if not self._pairs:
            raise SelfTestError(
                "self-test saw no face at rest for two windows' time; sit still before the camera, look at it, and "
                "try again"
            )
        bars, spread = yield from self._rest()
        plane, depth = [], []
        for index in self._sizes:
            in_plane, in_depth = yield from self._try(SIZES_PX[index], SIZES_MM[index], bars)
            plane.append(in_plane)
            depth.append(in_depth)
        left_out = depth_left_out([pair.depth_left_out for pair in self._collector.pairs])
        known = [pair.first_mm[pair.first_mm > 0] for pair in self._pairs if pair.first_mm[32:96, 32:96].any()]
        return SelfTestResult(
            pairs=len(self._pairs),
            distance_mm=median(float(np.median(depth)) for depth in known) if known else float("nan"),
            face_px=self._collector.pairs[-1].face_px,
            px_per_color_px=self._pairs[0].crop.scale,
            light_grey=median(pair.light_grey for pair in self._collector.pairs),
            rest_px=float(spread[0]),
            rest_mm=float(spread[1]),
            smallest_px=smallest_found(plane),
            smallest_mm=None if left_out else smallest_found(depth),
            depth_left_out=left_out,
            px=tuple(plane),
            mm=tuple(depth),
        )

    def _rest(self) -> Trials[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """What frames without added motion show: the bars to exceed and the robust standard deviation, (px, mm).

        Pairs in which the face itself moved are dropped, as long as half of them remain.
        """
        shown = []
        for pair in self._pairs:
            for turn in range(len(DIRECTIONS)):
                shown.append(self._measure(pair, no_motion(), 0.0, turn))
                yield
        rest = np.array(shown).reshape(len(self._pairs), len(DIRECTIONS), -1, 2)
        middle, spread = _robust(rest.reshape(-1, 2))
        with np.errstate(invalid="ignore"):
            away = np.nan_to_num(np.abs(rest - middle) / spread).max(axis=(1, 2, 3))
        calm = away <= max(OUTLIER_SIGMAS, float(np.median(away)))
        self._pairs = [pair for pair, keep in zip(self._pairs, calm, strict=True) if keep]
        middle, spread = _robust(rest[calm].reshape(-1, 2))
        return np.abs(middle) + SIGMAS * spread, spread

    def _try(self, size_px: float, size_mm: float, bars: NDArray[np.float64]) -> Trials[tuple[SizeResult, SizeResult]]:
        """All pairs with one size: in-plane and depth."""
        seen, shares = [], []
        for number, pair in enumerate(self._pairs):
            turn = number % len(DIRECTIONS)
            field = motion_lengths(pair.landmarks, size_px)
            still = np.array(self._measure(pair, no_motion(), 0.0, turn))
            yield
            moved = np.array(self._measure(pair, field, size_mm / max(size_px, 1e-9), turn))
            truth = np.array([true_means(pair.landmarks, size) for size in (size_px, size_mm)]).T
            seen.append(moved)
            shares.append((moved - still) / truth)
            yield
        values, recovered = np.concatenate(seen), np.concatenate(shares)
        found = [float((values[:, axis] > bars[axis]).mean()) for axis in (0, 1)]
        known = [float(np.median(recovered[:, axis])) for axis in (0, 1)]
        return SizeResult(size_px, found[0], known[0]), SizeResult(size_mm, found[1], known[1])

    def _measure(self, pair: Pair, field: FloatMap, mm_per_px: float, turn: int) -> list[tuple[float, float]]:
        """In-plane motion along the direction (px) and depth motion (mm) at brow and mouth; NaN where w is unknown."""
        along = DIRECTIONS[turn]
        reference, moving = self._products(pair.first_grey, pair.crop), self._moved(pair, field, along)
        solved = self._solver.solve(reference, moving, shift_px=pair.shift_px)
        before = smooth_depth(pair.first_mm)
        w, known = depth_change(before, smooth_depth(moved_depth(pair.second_mm, field, along, mm_per_px)), solved)
        u, v = solved.u, solved.v
        if self._remove_head:
            head = self._head.fit(solved, w, known, before.shape_mm, pair.camera, rigid_mask(pair.landmarks))
            rigid = self._head.induced(head, before.shape_mm, pair.camera)
            u, v, w = u - rigid[0], v - rigid[1], w - rigid[2]
        areas = [place > 0.5 for place in places(pair.landmarks)]
        return [
            (
                float((along[0] * u[place] + along[1] * v[place]).mean()),
                float(w[place].mean()) if known[place].mean() > 0.5 else float("nan"),
            )
            for place in areas
        ]

    def _products(self, region: NDArray[np.uint8], crop: Crop) -> FlowProducts:
        x, y = crop.x - region_box(crop)[0], crop.y - region_box(crop)[1]
        return self._solver.prepare(cut_grey(region, x, y, crop.size))

    def _moved(self, pair: Pair, field: FloatMap, along: tuple[float, float]) -> FlowProducts:
        """The later frame with its skin moved, at the color image's own resolution."""
        margin = (pair.second_grey.shape[0] - pair.crop.size) // 2
        side = pair.crop.size
        inner = cv2.resize(field, (side, side), interpolation=cv2.INTER_CUBIC) / np.float32(pair.crop.scale)
        push = cv2.copyMakeBorder(inner, margin, margin, margin, margin, cv2.BORDER_CONSTANT)
        return self._products(moved_skin(pair.second_grey, np.asarray(push, np.float32), along), pair.crop)


def depth_left_out(flags: Sequence[str]) -> str:
    """Why the session leaves w out, '' where it counts: noise once told stays so, holes of most pairs.

    Args:
        flags: of the pairs in their order, `Pair.depth_left_out`.
    """
    if flags[-1] == "noisy_depth":
        return "noisy_depth"
    return "no_depth" if 2 * flags.count("no_depth") > len(flags) else ""


def _robust(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Median and robust standard deviation of each column, NaN where nothing is known."""
    columns = [column[np.isfinite(column)] for column in values.T]
    middle = np.array([np.median(column) if len(column) else np.nan for column in columns])
    spread = [np.median(np.abs(c - m)) if len(c) else np.nan for c, m in zip(columns, middle, strict=True)]
    return middle, 1.4826 * np.maximum(np.array(spread), 1e-4)


def run_selftest(frames: Iterable[RGBDFrame], config: StreamConfig, *, short: bool = False) -> SelfTestResult:
    """Self-test on the frames of an open source: until enough windows of a resting face were seen.

    Args:
        frames: in order; at most `MOST_FRAMES` of them are looked at.
        config: the session's stream settings.
        short: the short form.

    Raises:
        SelfTestError: no face at rest was seen.
        FaceError: the face backend cannot be opened.
    """
    analysis, test = Analysis(config), SelfTest(config, short=short)
    try:
        for _, frame in zip(range(MOST_FRAMES), frames, strict=False):
            windows = analysis.push(frame)
            test.push(frame, windows, analysis.tracks)
            if test.ready:
                break
    finally:
        analysis.close()
    return test.result()
