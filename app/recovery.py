"""What happens when a running camera is lost: kill what hangs, try again with growing pauses, reset once, give up."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from sfam.capture.source import SourceInfo

from .capture_role import CaptureSettings
from .interruption import Interruption
from .role import Retry, RoleResult

FIRST_PAUSE_S = 0.5
REFUSALS_BEFORE_RESET = 3
"""Failed attempts with the camera in sight before its hardware is reset, once per outage."""
OPENING_TIMEOUT_S = 30.0
"""Opening that hangs for longer, beyond the waits that were asked for, is killed."""
STABLE_S = 10.0
"""A camera lost again within this time goes on where the ladder stood."""
ABSENT = "AbsentError"


class CameraRecovery:
    """Decides for the capture process; asked by the supervising process, never blocks.

    Only a camera that has been opened once is tried again, always the one with the same serial number. A camera that
    was not there at the start ends the session at once: the user is still looking.

    Args:
        settings: of the capture process's first start.
        tell: a line for the operator.
        now_s: monotonic seconds.
    """

    def __init__(
        self, settings: CaptureSettings, tell: Callable[[str], None], now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._tell = tell
        self._now_s = now_s
        self._info: SourceInfo | None = None
        self._streaming_from_s: float | None = None
        self._started_s = now_s()
        self._first_s: float | None = None
        self._lost_s: float | None = None
        self._back_s = self._started_s
        self._written = 0
        self._cause = ""
        self._attempts = 0
        self._refusals = 0
        self._resets = 0
        self._reset_due = False
        self.restarts = 0
        """Times the camera came back."""

    @property
    def watches(self) -> bool:
        """True for a camera that can be lost; false for recordings and before the first opening.

        The demo camera counts as one while it runs in real time.
        """
        kinds = ("device", "synthetic") if self._settings.speed == 1.0 else ("device",)
        return self._info is not None and self._info.kind in kinds

    def opened(self, info: SourceInfo) -> None:
        """The capture process has opened the source; it waits to be told where to write."""
        self._info = self._info or info
        self._started_s = float("inf")

    def streaming(self, written: int) -> None:
        """The capture process writes from now on, after `written` frames of others."""
        self._written = written
        self._streaming_from_s = self._now_s()
        if self._first_s is None:
            self._first_s = self._streaming_from_s

    @property
    def is_lost(self) -> bool:
        """True while the camera is away."""
        return self._lost_s is not None

    @property
    def cause(self) -> str:
        """What the last outage began with."""
        return self._cause

    def flowing(self, written: int) -> Interruption | None:
        """The outage that ended because frames are written again; None where there is none, or it lasts.

        Args:
            written: frames in the ring so far.
        """
        if self._lost_s is None or self._streaming_from_s is None or written <= self._written:
            return None
        ended = self._interruption(self._now_s())
        self._tell(f"camera back after {ended.seconds:.1f} s and {self._attempts} attempts; the session goes on")
        self._lost_s, self._back_s = None, self._now_s()
        self.restarts += 1
        return ended

    def hangs(self, silence_s: float) -> str | None:
        """Why the capture process should be killed; None where it need not.

        Args:
            silence_s: time since a frame was written.
        """
        if not self.watches or (self._info is not None and self._info.kind == "synthetic"):
            return None  # what is rendered on a busy machine is slow, not stuck
        config, now_s = self._settings.config, self._now_s()
        if self._streaming_from_s is None:
            allowed_s = OPENING_TIMEOUT_S + config.reconnect_timeout
            return "did not open the camera in time" if now_s - self._started_s > allowed_s else None
        # The process notices most troubles itself; it gets the time to say what is wrong.
        allowed_s = 2 * config.stall_timeout + 1.0
        silent = min(silence_s, now_s - self._streaming_from_s) > allowed_s
        return f"gave no frame for {allowed_s:g} s" if silent else None

    def failed(self, result: RoleResult) -> tuple[Retry | None, Interruption | None]:
        """The capture process has ended badly: when and how to start it again, and the outage so far.

        (None, None) where it is not started again.
        """
        if self._info is None or not self.watches:
            return None, None
        config, now_s = self._settings.config, self._now_s()
        self._streaming_from_s = None
        if self._lost_s is None:
            self._lost_s, self._cause = now_s, result.message
            if now_s - self._back_s > STABLE_S:
                self._attempts, self._refusals, self._resets, self._reset_due = 0, 0, 0, False
        else:
            # A camera that needs longer to come back from its reset than that waits is absent then, but has had it.
            self._resets += self._reset_due
            self._refusals += ABSENT not in result.error_names
        if now_s - self._lost_s >= config.give_up_timeout:
            return None, None
        self._reset_due = self._refusals >= REFUSALS_BEFORE_RESET and not self._resets
        self._attempts += 1
        pause_s = min(FIRST_PAUSE_S * 2 ** min(self._attempts - 1, 10), config.reconnect_timeout)
        how = "with a reset of its hardware " if self._reset_due else ""
        self._tell(f"camera lost: {result.message}; attempt {self._attempts} {how}in {pause_s:.1f} s")
        self._started_s = now_s + pause_s
        # a camera host is found by its address, whatever camera it has
        serial = "" if "://" in config.camera else str(self._info.details.get("serial", ""))
        again = config.model_copy(
            update={
                "camera": config.camera.partition(":")[0] if serial else config.camera,
                "serial_no": serial or None,
                "initial_reset": self._reset_due,
                "wait_for_device_timeout": config.reconnect_timeout,
            }
        )
        return Retry(replace(self._settings, config=again, duration_s=self._left_s()), pause_s), self._interruption(
            None
        )

    def _left_s(self) -> float | None:
        """Of a limited duration, what is left: the time without camera counts."""
        if self._settings.duration_s is None or self._first_s is None:
            return self._settings.duration_s
        return max(0.1, self._settings.duration_s - (self._now_s() - self._first_s))

    def _interruption(self, ended_s: float | None) -> Interruption:
        assert self._lost_s is not None
        return Interruption(
            cause=self._cause,
            began_ns=round(self._lost_s * 1e9),
            ended_ns=None if ended_s is None else round(ended_s * 1e9),
            attempts=self._attempts,
            resets=self._resets + self._reset_due,
        )
