"""Color and depth frames, each with its own stamps, become pairs; live and file alike.

Devices and their SDKs hand out the two streams separately, and an SDK's own pairing can be a frame off for a whole run
although the stamps agree. So frames are paired here, by nearest stamp within half a period, each at most once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Generic, Literal, Protocol, TypeVar

Role = Literal["color", "depth"]

DEFAULT_PERIOD_NS = 33_333_333
"""Taken only where neither stamps nor the source tell the period: two single frames."""
_MEASURED_FROM = 5
_MEMORY = 31


class Stamped(Protocol):
    """What pairing needs to know of a frame."""

    @property
    def role(self) -> Role:
        """'color' or 'depth'."""

    @property
    def number(self) -> int:
        """Frame counter of its sensor, -1 = none."""

    @property
    def t_device_ns(self) -> int:
        """Device stamp; both streams of a camera use the same clock."""


FrameT = TypeVar("FrameT", bound=Stamped)


@dataclass(frozen=True, slots=True, eq=False)
class Pair(Generic[FrameT]):
    """Color and depth of one instant."""

    color: FrameT
    depth: FrameT
    dropped_before: int
    """Color frames lost by the device, or left without depth, directly before this pair."""


class _Stream(Generic[FrameT]):
    """One side: frames that wait, and what its stamps and numbers have said so far."""

    def __init__(self, nominal_ns: int | None) -> None:
        """`nominal_ns`: the period before one is measured, where gaps count as losses; None = they do not."""
        self._nominal_ns = nominal_ns
        self.waiting: deque[tuple[FrameT, int]] = deque()  # frame, numbers lost directly before it
        self.last: tuple[int, int] | None = None  # (number, stamp)
        self.repeats = 0
        self.intervals: deque[int] = deque(maxlen=_MEMORY)
        self.period_ns: int | None = None

    def is_repeat(self, frame: FrameT) -> bool:
        """True for a frame with the number and stamp of the one before it."""
        repeated = self.last == (frame.number, frame.t_device_ns)
        self.repeats += repeated
        return repeated

    def note(self, frame: FrameT) -> int:
        """Remember number, stamp and interval; returns how many frames are missing before this one."""
        lost = 0
        if self.last is not None:
            number, stamp = self.last
            interval = frame.t_device_ns - stamp
            # a repeat was delivered in the place of a lost frame and is counted as a repeat already
            lost = max(0, self._missing(number, frame.number, interval) - self.repeats)
            if interval > 0:
                self.intervals.append(interval)
                if len(self.intervals) >= _MEASURED_FROM:
                    self.period_ns = int(median(self.intervals))
        self.last, self.repeats = (frame.number, frame.t_device_ns), 0
        return lost

    def _missing(self, before: int, number: int, interval_ns: int) -> int:
        """Frames between two by their numbers; where they have none, by the time between them."""
        if before >= 0:
            return number - before - 1
        return round(interval_ns / (self.period_ns or self._nominal_ns)) - 1 if self._nominal_ns else 0


class Pairer(Generic[FrameT]):
    """Streaming pairing with bounded memory.

    A pair is handed out as soon as no later frame can be nearer: at once when the stamps agree within a quarter of the
    period, else when the earlier one's stream has gone on. Frames come in the order of their stream; stamps may jump.
    """

    def __init__(self, period_ns: int | None = None, capacity: int = 16, *, count_gaps: bool = False) -> None:
        """Pair with a nominal period unless the measured one is another; hold at most `capacity` frames a side.

        Args:
            period_ns: nominal.
            capacity: frames.
            count_gaps: frames without number are missing where stamps are 1.5 periods apart or more.
        """
        self._nominal_ns = period_ns
        self._capacity = capacity
        gap_ns = period_ns if count_gaps else None
        self._sides: dict[Role, _Stream[FrameT]] = {"color": _Stream(gap_ns), "depth": _Stream(gap_ns)}
        self._drops = {
            "duplicate": 0,
            "duplicate_depth": 0,
            "lost": 0,
            "lost_depth": 0,
            "unpaired_color": 0,
            "unpaired_depth": 0,
        }
        self._dropped = 0  # color frames gone since the last pair

    @property
    def drops(self) -> Mapping[str, int]:
        """Frames that never became part of a pair, by cause; `lost` ones never reached us (numbers or time skipped)."""
        return {cause: count for cause, count in self._drops.items() if count}

    @property
    def period_ns(self) -> int | None:
        """Period of the faster stream: the nominal one as long as the measured median is near it, else that."""
        measured = min((side.period_ns for side in self._sides.values() if side.period_ns), default=None)
        nominal = self._nominal_ns
        if measured is None or (nominal is not None and 0.75 <= measured / nominal <= 1.33):
            return nominal
        return measured

    def push(self, frame: FrameT) -> list[Pair[FrameT]]:
        """Take the next frame of either stream; returns the pairs that are now certain, in order."""
        side = self._sides[frame.role]
        suffix = "" if frame.role == "color" else "_depth"
        if side.is_repeat(frame):
            self._drops["duplicate" + suffix] += 1
            return []
        lost = side.note(frame)
        self._drops["lost" + suffix] += lost
        side.waiting.append((frame, lost))
        pairs = self._settle(final=False)
        while len(side.waiting) > self._capacity:
            self._leave(frame.role)
        return pairs

    def flush(self) -> list[Pair[FrameT]]:
        """The stream has ended: pair what is left, count the rest."""
        pairs = self._settle(final=True)
        for role in self._sides:
            while self._sides[role].waiting:
                self._leave(role)
        return pairs

    def _settle(self, *, final: bool) -> list[Pair[FrameT]]:
        """Pair what is certain, oldest first."""
        pairs: list[Pair[FrameT]] = []
        period = self.period_ns or (DEFAULT_PERIOD_NS if final else None)
        while period is not None:
            for distance, color_at, depth_at in self._mutual():
                if distance > period / 2:
                    continue
                if final or distance <= period / 4 or self._earlier_went_on(color_at, depth_at):
                    pairs.append(self._take(color_at, depth_at))
                    break
            else:
                break
        return pairs

    def _mutual(self) -> list[tuple[int, int, int]]:
        """(distance in ns, place of the color frame, place of the depth frame) where each is the other's nearest."""
        colors = [color.t_device_ns for color, _ in self._sides["color"].waiting]
        depths = [depth.t_device_ns for depth, _ in self._sides["depth"].waiting]
        found = []
        for color_at, stamp in enumerate(colors):
            distance, depth_at = min(((abs(stamp - one), at) for at, one in enumerate(depths)), default=(0, -1))
            if depth_at >= 0 and all(abs(other - depths[depth_at]) >= distance for other in colors):
                found.append((distance, color_at, depth_at))
        return found

    def _earlier_went_on(self, color_at: int, depth_at: int) -> bool:
        """True when the earlier frame's stream has shown its next one, which then was no nearer."""
        colors, depths = self._sides["color"].waiting, self._sides["depth"].waiting
        if colors[color_at][0].t_device_ns <= depths[depth_at][0].t_device_ns:
            return color_at + 1 < len(colors)
        return depth_at + 1 < len(depths)

    def _take(self, color_at: int, depth_at: int) -> Pair[FrameT]:
        """Remove a pair; what came before it in either stream can find no partner any more."""
        for _ in range(color_at):
            self._leave("color")
        for _ in range(depth_at):
            self._leave("depth")
        color, lost = self._sides["color"].waiting.popleft()
        depth, _ = self._sides["depth"].waiting.popleft()
        dropped, self._dropped = self._dropped + lost, 0
        return Pair(color, depth, dropped)

    def _leave(self, role: Role) -> None:
        """Count the oldest waiting frame as left without partner."""
        _, lost = self._sides[role].waiting.popleft()
        self._drops[f"unpaired_{role}"] += 1
        if role == "color":
            self._dropped += 1 + lost
