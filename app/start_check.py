"""What every session finds out about itself at its start: does the engine compute right, and what could it see here?"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sfam.capture.frame import RGBDFrame
from sfam.engine.backend import ParityReport
from sfam.stream.config import StreamConfig
from sfam.stream.face_track import FaceTrack
from sfam.stream.flow_window import FlowWindow

from .selftest import SelfTest, SelfTestError, SelfTestResult

LAST_WAIT_S = 1.0
"""The end of a session waits no longer than this for the self-test to finish; then it is given up."""
MOST_FRAMES = 900
"""Frames with a face that are looked at: half a minute; a face that never rests cannot be tested with."""


class StartCheck:
    """Parity is known at once; the short self-test collects frames of a face at rest and then runs beside the session.

    It touches nothing that reaches a table.

    Args:
        config: the session's stream settings.
        parity: of the engine, already passed.
        selftest: whether to run the self-test too.
    """

    def __init__(self, config: StreamConfig, parity: ParityReport, *, selftest: bool = True) -> None:
        self._parity = parity
        self._running = SelfTest(config, short=True)
        self._test = self._running if selftest else None
        self._frames = 0
        self._thread: threading.Thread | None = None
        self._result: SelfTestResult | str | None = None if selftest else "not asked for (app.selftest)"
        self._told = False

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
            self._test = None
            self._thread = threading.Thread(target=self._run, name="self-test", daemon=True)
            self._thread.start()

    def news(self) -> str | None:
        """The result for the operator, once."""
        if self._told or self._thread is None or self._result is None:
            return None
        self._told = True
        if isinstance(self._result, str):
            return self._result
        px, mm = self._result.smallest_px, self._result.smallest_mm
        plane = "no motion of the sizes tried" if px is None else f"motion from {px:g} px"
        depth = "none" if mm is None else f"from {mm:g} mm"
        return f"self-test: {plane} in the image plane and {depth} in depth would be seen"

    def finish(self) -> None:
        """Wait a moment for a test that runs; one that still collects has come to nothing."""
        if self._thread is not None:
            self._thread.join(LAST_WAIT_S)
            self.close()
        elif self._result is None:
            self._test = None
            self._result = f"the session ended before a face had rested long enough ({self._frames} frames with a face)"

    def close(self) -> None:
        """Have no thread at work any more: one that is in OpenCV when the interpreter ends aborts the process."""
        self._running.give_up()
        if self._thread is not None:
            self._thread.join()

    def fields(self) -> dict[str, Any]:
        """For session.json."""
        result = self._result
        selftest = result.as_json() if isinstance(result, SelfTestResult) else {"not_run": result or "not yet"}
        return {"parity": asdict(self._parity), "selftest": selftest}

    def _run(self) -> None:
        try:
            self._result = self._running.result()
        except SelfTestError as error:
            self._result = str(error)
