"""The work of capture and analysis in one process, without a ring."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from sfam.capture.frame import RGBDFrame
from sfam.capture.pacing import ReplayControl, is_live
from sfam.capture.source import SourceError, open_source
from sfam.stream.ring_reader import StreamEnd

from .analysis_role import AnalysisSettings
from .capture_role import Capture, CaptureSettings
from .pause import PauseGate
from .role_link import STATUS_EVERY_S, Tell


def run_single_process(
    capture: CaptureSettings,
    analysis: AnalysisSettings,
    *,
    stop: Callable[[], bool],
    control: ReplayControl,
    tell: Tell,
    show_status: Callable[[Mapping[str, Any]], None],
    held: Callable[[], bool] = lambda: False,
) -> Mapping[str, Any]:
    """The work of capture and analysis in this process, without a ring; returns the session's totals.

    Args:
        capture, analysis: as for the processes.
        stop: ends it; asked for each frame and every 20 ms.
        control: of a replay.
        tell, show_status: for the operator.
        held: whether a participant's pause is asked for; looked at as often as `stop`.

    Raises:
        SourceError: as in `capture_role`, after the session was finished with the error's text.
    """
    session = analysis.open_session(analysis.config, tell)
    try:
        with open_source(capture.config) as source:
            session.begin(source.info)
            gate = PauseGate(is_live(source.info, capture.speed), control)

            def look() -> bool:
                if held() != gate.closed:
                    session.pause(gate.hold(not gate.closed))
                    session.idle()
                return stop()

            work = Capture(source, capture, look, control)
            shown_s = 0.0
            try:

                def push(frame: RGBDFrame) -> bool:
                    session.push(frame, work.stage_ns, work.drops)
                    session.spare()
                    return True

                for passed in gate.passed(work.frames(), push, look):
                    if not passed:
                        session.idle()
                    if time.monotonic() - shown_s >= STATUS_EVERY_S:
                        shown_s = time.monotonic()
                        show_status(session.status())
            except SourceError as error:
                session.finish(StreamEnd("failed", str(error)), work.drops)
                raise
            show_status(session.status())
            return session.finish(StreamEnd("ended", warnings=tuple(source.info.warnings)), work.drops)
    finally:
        session.close()
