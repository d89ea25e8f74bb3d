"""When frames are delivered: replays by their stamps, live ones as they come, each with its session stamps."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from .clock import SessionClock
from .frame import RGBDFrame
from .source import SourceInfo

LONGEST_WAIT_S = 2.0
"""A gap in a recording, or a stamp that jumps, costs a replay this much at most."""
_LOOK_AROUND_S = 0.02


class ReplayControl:
    """Pause and single steps of a replay; any thread may turn it while `paced` obeys."""

    def __init__(self, paused: bool = False) -> None:
        self._lock = threading.Lock()
        self._paused = paused
        self._steps = 0

    @property
    def paused(self) -> bool:
        """True while frames come by single steps only."""
        return self._paused

    def pause(self) -> None:
        """Hold the next frame back."""
        self._paused = True

    def resume(self) -> None:
        """Go on at the replay's speed."""
        with self._lock:
            self._paused, self._steps = False, 0

    def toggle(self) -> None:
        """Pause, or go on."""
        self.resume() if self._paused else self.pause()

    def step(self) -> None:
        """Let one more frame through and stay paused."""
        with self._lock:
            self._paused = True
            self._steps += 1

    def passes(self) -> bool:
        """True where a frame may go now; uses up a step while paused."""
        with self._lock:
            if self._paused and not self._steps:
                return False
            self._steps -= self._paused
            return True


def is_live(info: SourceInfo, speed: float) -> bool:
    """True where frames carry the time they arrive at; the synthetic camera is a replay at any speed but 1."""
    return info.live and (info.kind != "synthetic" or speed == 1.0)


def delivered(
    frames: Iterable[RGBDFrame],
    info: SourceInfo,
    speed: float,
    clock: SessionClock,
    *,
    stop: Callable[[], bool],
    control: ReplayControl | None = None,
) -> Iterator[RGBDFrame]:
    """Frames of an open source when they are due, with their session stamps; the same in every mode of running.

    Args:
        frames: of the source.
        info: of the source.
        speed: 1 = real time, `math.inf` = as fast as they are taken.
        clock: of the session.
        stop: ends the delivery; asked at least every 20 ms while waiting.
        control: pause and steps, for replays.
    """
    live = is_live(info, speed)
    if not (live and info.kind == "device"):
        frames = paced(frames, speed, clock.now_ns, time.sleep, stop, None if live else control)
    for frame in frames:
        if stop():
            return
        if live and info.stamped:
            yield replace(frame, t_utc_ns=clock.utc_ns(frame.t_capture_ns))
        else:
            yield stamp_live(frame, clock) if live else stamp_replay(frame, clock)


def paced(
    frames: Iterable[RGBDFrame],
    speed: float | None,
    clock: Callable[[], int],
    sleep: Callable[[float], None],
    stop: Callable[[], bool],
    control: ReplayControl | None = None,
) -> Iterator[RGBDFrame]:
    """Frames at the distances of their capture stamps, divided by `speed`.

    Due times count from one frame's, so that lateness never adds up; they start anew after a pause, a jump of the
    stamps back or ahead, a new segment, or lateness beyond `LONGEST_WAIT_S`.

    Args:
        frames: stamped in file time.
        speed: None or infinite = no waiting.
        clock: monotonic nanoseconds.
        sleep: takes seconds.
        stop: ends the delivery.
        control: pause and steps.

    Raises:
        ValueError: speed of 0 or below.
    """
    if speed is not None and not speed > 0:
        raise ValueError(f"speed {speed}: a replay needs a speed above 0; pause it instead")
    timeline = _Timeline(math.inf if speed is None else speed)
    for frame in frames:
        due_ns = timeline.due_ns(frame, clock())
        while not stop() and (left_s := (due_ns - clock()) / 1e9) > 0:
            sleep(min(left_s, _LOOK_AROUND_S))
        if control is not None and control.paused:
            while not stop() and not control.passes():
                sleep(_LOOK_AROUND_S)
            timeline.restart(frame, clock())
        if stop():
            return
        yield frame


class _Timeline:
    """Maps stamps of a recording to due times on the host's clock."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._anchor: tuple[int, int] | None = None
        self._last_ns = 0
        self._segment = 0

    def due_ns(self, frame: RGBDFrame, now_ns: int) -> int:
        """When the frame is due."""
        if math.isinf(self._speed):
            return now_ns
        if self._anchor is None or frame.segment != self._segment or frame.t_capture_ns < self._last_ns:
            return self.restart(frame, now_ns)
        self._last_ns = frame.t_capture_ns
        stamp_ns, host_ns = self._anchor
        due_ns = host_ns + round((frame.t_capture_ns - stamp_ns) / self._speed)
        longest_ns = int(LONGEST_WAIT_S * 1e9)
        if abs(due_ns - now_ns) <= longest_ns:
            return due_ns
        return self.restart(frame, now_ns + longest_ns if due_ns > now_ns else now_ns)

    def restart(self, frame: RGBDFrame, due_ns: int) -> int:
        """Count from this frame, due at that time, on."""
        self._anchor = (frame.t_capture_ns, due_ns)
        self._last_ns, self._segment = frame.t_capture_ns, frame.segment
        return due_ns


def stamp_live(frame: RGBDFrame, clock: SessionClock) -> RGBDFrame:
    """The frame of a source that does not stamp it: it arrives now."""
    now_ns = clock.now_ns()
    return replace(frame, t_capture_ns=now_ns, t_host_ns=now_ns, t_utc_ns=clock.utc_ns(now_ns))


def stamp_replay(frame: RGBDFrame, clock: SessionClock) -> RGBDFrame:
    """The frame with the time of its delivery, for latencies only; its capture time stays the file's."""
    return replace(frame, t_host_ns=clock.now_ns())


def limited(frames: Iterable[RGBDFrame], duration_s: float | None) -> Iterator[RGBDFrame]:
    """Frames of the first `duration_s` seconds of capture time; all where None."""
    first_ns: int | None = None
    for frame in frames:
        first_ns = frame.t_capture_ns if first_ns is None else first_ns
        if duration_s is not None and frame.t_capture_ns - first_ns >= duration_s * 1e9:
            return
        yield frame
