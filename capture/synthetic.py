"""The `demo` camera: an endless synthetic RGB-D face whose every movement is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .config import CaptureConfig
from .face_sequence import CALIBRATION, FaceSequence, TruthEvent
from .frame import RGBDFrame
from .sequence_plan import EndlessPlan, Light, draw_sway
from .source import FrameSource, SourceInfo

DEMO_FPS = 30.0
DEMO_SWAY = 0.5
"""Someone sitting still and looking at the camera."""


class SyntheticSource(FrameSource):
    """Frames 0, 1, 2 ... of the demo face, as fast as they are asked for; stamps are index / fps.

    Pacing to real time and host stamps belong to whoever runs it live. The same seed gives byte-identical frames.
    """

    def __init__(self, config: CaptureConfig, fps: float = DEMO_FPS) -> None:
        """Draws the plan from `config.demo_seed`; renders the first frame, which takes a third of a second."""
        seed = config.demo_seed
        self.sequence = FaceSequence(
            EndlessPlan(seed, sway=draw_sway(seed, DEMO_SWAY), light=Light(drift=0.01)), fps=fps
        )
        self.sequence.frame(0)
        self._fps = fps
        self._closed = False

    @property
    def info(self) -> SourceInfo:
        """Always the same, known without rendering."""
        return SourceInfo(
            camera="demo",
            kind="synthetic",
            live=True,
            fps=self._fps,
            calibration=CALIBRATION,
            details={"seed": self.sequence.plan.seed, "what": "synthetic face, invented motion and noise"},
        )

    def frames(self) -> Iterator[RGBDFrame]:
        """Endless until `close()`."""
        index = 0
        while not self._closed:
            yield self.sequence.frame(index)
            index += 1

    @property
    def drops(self) -> Mapping[str, int]:
        """Nothing is ever lost before it is a pair."""
        return {}

    def close(self) -> None:
        """Ends `frames()` at its next step."""
        self._closed = True

    def truth_events(self, until_frame: int) -> tuple[TruthEvent, ...]:
        """Every event of kind micro, macro and blink that touches the frames before `until_frame`."""
        return self.sequence.events(until_frame)
