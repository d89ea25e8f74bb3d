"""What every session finds out about itself at its start: does the engine compute right, and what could it see here?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sfam.capture.frame import RGBDFrame
from sfam.engine.backend import ParityReport
from sfam.stream.config import StreamConfig
from sfam.stream.face_track import FaceTrack
from sfam.stream.flow_window import FlowWindow

from .selftest import SelfTest, Trials
from .selftest_result import SelfTestError, SelfTestResult

LONGEST_END_S = 1.0
"""The end of a session waits no longer than this for the self-test; then it is given up."""
MOST_FRAMES = 900
"""Frames with a face that are looked at: half a minute; a face that never rests cannot be tested with."""


class StartCheck:
    """Parity is known at once; the short self-test collects frames of a face at rest, then runs in spare time.

    It touches nothing that reaches a table. In steps, not in a thread: one that calls OpenCV makes each of the some
    hundred calls of a frame wait for the interpreter's lock, and frames were 200 ms late.

    Args:
        config: the session's stream settings.
        parity: of the engine, already passed.
        selftest: whether to run the self-test too.
    """

    def __init__(self, config: StreamConfig, parity: ParityReport, *, selftest: bool = True) -> None:
        self._parity = parity
        self._test = SelfTest(config, short=True) if selftest else None
        self._trials: Trials[SelfTestResult] | None = None
        self._frames = 0
        self._result: SelfTestResult | str | None = None if selftest else "not asked for (app.selftest)"
        self._tested = self._told = False

    @property
    def collected(self) -> bool:
        """True once no further frame is needed."""
        return self._test is None

    def push(self, frame: RGBDFrame, windows: Sequence[FlowWindow], tracks: Sequence[FaceTrack]) -> None:
        """Look at a frame while the test still collects."""
        if self._test is None or not tracks:
            return
        self._frames += 1
        self._test.push(frame, windows, tracks)
        if self._test.ready or self._frames == MOST_FRAMES:
            self._trials, self._test, self._tested = self._test.trials(), None, True

    def step(self) -> None:
        """Go on with the test for 10 to 30 ms, by the face's size, where it has collected what it needs."""
        if self._trials is None:
            return
        try:
            next(self._trials)
        except StopIteration as end:
            self._result, self._trials = end.value, None
        except SelfTestError as error:
            self._result, self._trials = str(error), None
        except Exception as error:  # no session ends by its self-test; the operator is told, and session.json
            self._result, self._trials = f"the self-test failed: {type(error).__name__}: {error}", None

    def news(self) -> str | None:
        """The result for the operator, once."""
        if self._told or self._result is None or not self._tested:
            return None
        self._told = True
        if isinstance(self._result, str):
            return self._result
        px = self._result.smallest_px
        plane = "none of the sizes tried" if px is None else f"{px:g} px"
        return f"self-test: smallest motion seen: {plane} in the image plane, {self._result.depth_answer}"

    def finish(self) -> None:
        """Go on for a moment with a test that runs; one that still collects has come to nothing."""
        until_s = time.monotonic() + LONGEST_END_S
        while self._trials is not None and time.monotonic() < until_s:
            self.step()
        self._test = None
        if self._trials is not None:
            self._trials, self._result = None, "the session ended before its self-test had"
        elif self._result is None:
            self._result = f"the session ended before a face had rested long enough ({self._frames} frames with a face)"

    def fields(self) -> dict[str, Any]:
        """For session.json."""
        result = self._result
        selftest = result.as_json() if isinstance(result, SelfTestResult) else {"not_run": result or "not yet"}
        return {"parity": asdict(self._parity), "selftest": selftest}
