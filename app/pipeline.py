"""One face stream through everything that judges: analysis, engine, spotter. The same code in every mode."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2

from sfam.capture.frame import RGBDFrame
from sfam.engine.auto_backend import open_auto
from sfam.engine.backend import Backend, check_parity, open_backend
from sfam.engine.calibration import Calibration
from sfam.engine.calibration_file import read_calibration
from sfam.engine.decoding import PaperSpec
from sfam.engine.events import Event, Score
from sfam.engine.model import ModelArtifact, ModelError, load_model
from sfam.engine.scorer import Scorer
from sfam.engine.spotting import LiveSpotter
from sfam.stream.analysis import Analysis
from sfam.stream.face import FaceDetector
from sfam.stream.face_track import FaceTrack
from sfam.stream.flow_window import FlowWindow
from sfam.stream.scene_flow import SceneFlow

from .config import Config


@dataclass(frozen=True, slots=True, eq=False)
class FrameAnalysis:
    """Everything one frame gave."""

    frame: RGBDFrame
    tracks: tuple[FaceTrack, ...]
    windows: tuple[FlowWindow, ...]
    flows: tuple[SceneFlow, ...]
    scores: tuple[Score, ...]
    events: tuple[Event, ...]
    cause: str
    """Why there is no score at all, '' where there is one; the causes of `Analysis.cause`."""
    causes: Mapping[int, str]
    """The same for each face, by track id."""
    stage_ns: Mapping[str, int]
    """Wall time of each stage, for statistics only."""


class Pipeline:
    """Frames in, scores and events out.

    Args:
        config: the effective settings.
        scorer: judges with the same model for several cameras in this process; default one of its own.
        may_swap: with engine `auto`, a faster engine may take over once it is built; tables depend on when that is.
        say: told which engine `auto` took and why.
        detector: finds faces; default is the configured one, in this process.

    Raises:
        ModelError: unknown or damaged model, parity mismatch, or a window length the model was not made for.
    """

    def __init__(
        self,
        config: Config,
        scorer: Scorer | None = None,
        *,
        may_swap: bool = False,
        say: Callable[[str], None] = lambda text: None,
        detector: FaceDetector | None = None,
    ) -> None:
        cv2.setNumThreads(config.stream.opencv_threads)
        self.config = config
        self.model: ModelArtifact = load_model(config.engine.model)
        if abs(self.model.window_ms - config.stream.window_ms) > 1e-6:
            raise ModelError(
                f"model {self.model.name!r} reads windows of {self.model.window_ms:g} ms but stream.window_ms is "
                f"{config.stream.window_ms:g}; add --set stream.window_ms={self.model.window_ms:g}"
            )
        self._is_shared = scorer is not None
        self.scorer = scorer or open_scorer(config, self.model, may_swap, say)
        self._is_open = True
        self._detector = detector
        self._analysis = Analysis(config.stream, detector=detector)
        self.calibration = _calibration_of(config, self.model)
        """The participant's baseline, None where there is none."""
        self._spotter = self._new_spotter(config.engine.threshold)
        self.scorer.join()

    def process(self, frame: RGBDFrame) -> FrameAnalysis:
        """Analyse one frame; frames come in the order of their `sequence`."""
        windows = self._analysis.push(frame)
        started = time.perf_counter_ns()
        scores = self.scorer.score_batch(windows)
        scored = time.perf_counter_ns()
        events: list[Event] = []
        for score, window in zip(scores, windows, strict=True):
            events += self._spotter.push(score, window)
        stage_ns = dict(self._analysis.stage_ns)
        stage_ns["engine"] = scored - started
        stage_ns["spotting"] = time.perf_counter_ns() - scored
        return FrameAnalysis(
            frame=frame,
            tracks=self._analysis.tracks,
            windows=tuple(windows),
            flows=self._analysis.scene_flows,
            scores=tuple(scores),
            events=tuple(events),
            cause=self._analysis.cause,
            causes=dict(self._analysis.causes),
            stage_ns=stage_ns,
        )

    def push(self, frame: RGBDFrame) -> list[Score | Event]:
        """Analyse one frame of an embedding program; scores first, then the events they decided."""
        result = self.process(frame)
        return [*result.scores, *result.events]

    def flush(self) -> list[Event]:
        """Decide what is still open; call once at the end of a stream."""
        return self._spotter.flush()

    def set_threshold(self, threshold: float | None) -> list[Event]:
        """Spot with another threshold from now on; returns what is decided of the events open until now.

        Args:
            threshold: None = the calibrated one, else the model's own.
        """
        decided = self._spotter.flush()
        self._spotter = self._new_spotter(threshold, self._spotter.next_id)
        return decided

    def forget(self, next_event: int) -> None:
        """Know nothing of the frames so far, as if just started; events are numbered from `next_event`."""
        self._analysis.close()
        self._analysis = Analysis(self.config.stream, detector=self._detector)
        self._spotter = self._new_spotter(self._asked_threshold, next_event)

    def _new_spotter(self, threshold: float | None, first_id: int = 0) -> LiveSpotter:
        self._asked_threshold = threshold
        calibration = self.calibration
        if threshold is None and calibration is not None:
            threshold = calibration.threshold
        spec = self.model.spotting_spec(threshold)
        self.threshold = spec.height if isinstance(spec, PaperSpec) else spec.hi
        rate_of = None if calibration is None else calibration.rates_at(self.threshold)
        return LiveSpotter(spec, first_id=first_id, rate_of=rate_of)

    @property
    def withheld(self) -> Mapping[str, int]:
        """Frames without a window so far, by cause."""
        return self._analysis.withheld

    def close(self) -> None:
        """End the detection thread and the engine; safe to call twice."""
        self._analysis.close()
        if self._is_open:
            self._is_open = False
            self.scorer.leave()
            if not self._is_shared:
                self.scorer.backend.close()


def _calibration_of(config: Config, model: ModelArtifact) -> Calibration | None:
    path = config.engine.calibration
    return None if path is None else read_calibration(Path(path), model)


def open_scorer(
    config: Config, model: ModelArtifact, may_swap: bool = False, say: Callable[[str], None] = lambda text: None
) -> Scorer:
    """The configured engine with a model, its outputs checked against the stored ones; see `Pipeline`.

    Raises:
        ModelError: it cannot run the model, or computes something else.
    """
    settings = config.engine
    auto = settings.backend == "auto"
    backend: Backend = open_auto(settings, model, may_swap, say) if auto else open_backend(settings, model)
    check_parity(backend, model)
    return Scorer(backend, model.model_id, settings.max_batch_delay_ms)
