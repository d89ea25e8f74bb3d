"""A session in one process: capture and analysis one after the other."""

from __future__ import annotations

import signal

from sfam.capture.pacing import ReplayControl
from sfam.sinks.folder_hold import FolderHold

from .exit_codes import OK
from .live_run import PAUSE_KEY, LiveRun, obey
from .pause import PauseRequest
from .single_process import run_single_process
from .sink_roles import require_no_sinks


class SingleProcess(LiveRun):
    """Capture and analysis one after the other in this process."""

    interrupted = False
    """True where SIGINT or SIGTERM asked for the end."""

    def run(self) -> int:
        """Run to the end; errors of ours pass to the caller."""
        require_no_sinks(self._config.sinks)

        def on_interrupt(number: int, _: object) -> None:
            if self.interrupted and number == signal.SIGINT:
                raise KeyboardInterrupt
            self.interrupted = True

        plan = self._cameras[0].plan
        request, hold = PauseRequest(plan.folder), FolderHold(plan.folder)
        if plan.force:
            request.clear()  # of the session that is overwritten
        control = ReplayControl(self._cameras[0].capture.paused)

        def stop() -> bool:
            # Asked every 20 ms also while a paused replay waits, so keys are looked at here.
            hold.take()
            key = self._keys.pressed()
            if key == PAUSE_KEY:
                request.toggle()
            else:
                obey(key, control.toggle, control.step, control.paused)
            return self.interrupted

        before = {number: signal.signal(number, on_interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            totals = run_single_process(
                self._cameras[0].capture,
                self._analysis,
                stop=stop,
                control=control,
                tell=self._tell,
                show_status=self._show,
                held=lambda: request.is_set,
            )
            request.clear()
        finally:
            hold.release()
            for number, handler in before.items():
                signal.signal(number, handler)
        self._summarise(totals, plan.folder)
        return OK
