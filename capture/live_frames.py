"""Frames of a live device, stream by stream, become `RGBDFrame`s: pairing, segments, drops, rate, stalls."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median
from typing import cast

from .frame import Calibration, ClockDomain, ColorImage, DepthImage, RGBDFrame
from .pairing import Pair, Pairer, Role

WRAP_NS = 2**32 * 1000
"""A 32-bit microsecond counter, as many devices have, starts again after 71.6 minutes."""
_NEAR_WRAP_NS = 10_000_000_000
_RATE_OVER = 60
_SAME_TIME_PERIODS = 10


@dataclass(frozen=True, slots=True, eq=False)
class SensorFrame:
    """One image of one stream as a device gave it, copied out of the SDK's memory."""

    role: Role
    image: ColorImage | DepthImage
    """Color: (H, W, 3) uint8 RGB. Depth: (H, W) uint16 as sensed."""
    number: int
    """Frame counter of the sensor, -1 = none."""
    t_device_ns: int
    """Stamp in `clock_domain`; hardware wherever the device gives it."""
    clock_domain: ClockDomain
    t_host_ns: int
    """Host monotonic clock at arrival."""
    t_sensor_ns: int | None = None
    """Hardware stamp of mid-exposure."""
    t_global_ns: int | None = None
    """Device clock fitted to the host's by the SDK."""
    depth_scale_m: float = 0.001
    """Depth only: metres per unit of this image."""


class LiveFrames:
    """Pairs a device's frames and says what is wrong with them.

    A stamp that jumps back or changes its clock begins a new segment: what was waiting is given up, pairing starts
    afresh. A hardware counter that merely wraps after 2^32 us goes on.
    """

    def __init__(self, calibration: Calibration, period_ns: int, began_ns: int) -> None:
        """Nothing has been seen yet at `began_ns` of the host's monotonic clock."""
        self._calibration = calibration
        self._period_ns = period_ns
        self._pairer: Pairer[SensorFrame] = Pairer(period_ns, count_gaps=True)
        self._earlier: Counter[str] = Counter()
        self._last: dict[Role, SensorFrame] = {}
        self._wraps: dict[Role, int] = {"color": 0, "depth": 0}
        self._seen_ns: dict[Role, int] = {"color": began_ns, "depth": began_ns}
        self._paired_ns = began_ns
        self._recent: deque[tuple[int, int]] = deque(maxlen=_RATE_OVER)
        self._sequence = 0
        self._old_until_ns = -1
        self._epoch = self._first_epoch = 0
        self._epochs: dict[Role, int] = {"color": 0, "depth": 0}

    @property
    def drops(self) -> Mapping[str, int]:
        """Frames that never became part of a pair, by cause."""
        return dict(self._earlier + Counter(self._pairer.drops))

    @property
    def rate(self) -> float | None:
        """Frames a second the color sensor really makes: its own counter over its own clock; None at the beginning.

        Where it has no counter, gaps between its stamps are filled up.
        """
        if len(self._recent) < 10:
            return None
        (first, began_ns), (last, ended_ns) = self._recent[0], self._recent[-1]
        if last > first >= 0:
            count = last - first
        else:
            gaps_ns = [after - before for (_, before), (_, after) in pairwise(self._recent)]
            usual_ns = max(1.0, median(gaps_ns))
            count = sum(max(1, round(gap_ns / usual_ns)) for gap_ns in gaps_ns)
        return count * 1e9 / (ended_ns - began_ns) if ended_ns > began_ns else None

    def push(self, frame: SensorFrame) -> list[RGBDFrame]:
        """Take the next frame of either stream; returns what is now complete, in order."""
        self._seen_ns[frame.role] = frame.t_host_ns
        frame = self._unwrapped(frame)
        out = self._restart() if self._breaks(frame) else []
        if not self._keeps_up(frame):
            self._earlier[f"unpaired_{frame.role}"] += 1
            return out
        if frame.role == "color":
            self._recent.append((frame.number, frame.t_device_ns))
        return out + self._pair_up(self._pairer.push(frame))

    def pass_over(self, frame: SensorFrame) -> None:
        """Take a frame that waited in a queue for nobody knows how long.

        It may become the partner of one that comes later, whose arrival is known. A pair of two such frames is not
        handed out, and what was lost among them counts for nothing.
        """
        self._old_until_ns = frame.t_host_ns
        self.push(frame)
        self._earlier.subtract(self.drops)

    def trouble(self, now_ns: int, limit_s: float) -> str | None:
        """What has stalled for longer than `limit_s`, in words; None where all is well."""
        silent = [role for role, seen_ns in self._seen_ns.items() if now_ns - seen_ns > limit_s * 1e9]
        if len(silent) == 2:
            return f"no frame for {limit_s:g} s"
        if silent:
            return f"the {silent[0]} stream stalled: no frame of it for {limit_s:g} s while the other one runs"
        if now_ns - self._paired_ns > limit_s * 1e9:
            clocks = ", ".join(f"{role} in {frame.clock_domain} time" for role, frame in self._last.items())
            return f"both streams run but their stamps never meet ({clocks}): no pair for {limit_s:g} s"
        return None

    def _breaks(self, frame: SensorFrame) -> bool:
        """True where a stamp jumps back or changes its clock, as the first of the two streams."""
        role = frame.role
        last, self._last[role] = self._last.get(role), frame
        if last is None or (frame.clock_domain is last.clock_domain and frame.t_device_ns >= last.t_device_ns):
            return False
        self._epochs[role] += 1
        return self._epochs[role] > self._epoch

    def _restart(self) -> list[RGBDFrame]:
        """What is left of the old time; a new one begins."""
        rest = self._pair_up(self._pairer.flush())
        self._earlier.update(self._pairer.drops)
        self._pairer = Pairer(self._period_ns, count_gaps=True)
        self._recent.clear()
        self._epoch += 1
        return rest

    def _keeps_up(self, frame: SensorFrame) -> bool:
        """False while a stream still tells the old time after the other one has begun a new one."""
        role = frame.role
        if self._epochs[role] < self._epoch:
            other = self._last.get("depth" if role == "color" else "color")
            assert other is not None
            same = frame.clock_domain is other.clock_domain
            if same and abs(frame.t_device_ns - other.t_device_ns) < _SAME_TIME_PERIODS * self._period_ns:
                self._epochs[role] = self._epoch
        return self._epochs[role] >= self._epoch

    def _unwrapped(self, frame: SensorFrame) -> SensorFrame:
        """Undo the wrap of a 32-bit hardware counter."""
        if frame.clock_domain is not ClockDomain.HARDWARE:
            return frame
        role, last = frame.role, self._last.get(frame.role)
        wraps = self._wraps[role]
        if last is not None and last.clock_domain is ClockDomain.HARDWARE:
            ahead_ns = frame.t_device_ns + (wraps + 1) * WRAP_NS - last.t_device_ns
            if frame.t_device_ns + wraps * WRAP_NS < last.t_device_ns and 0 < ahead_ns < _NEAR_WRAP_NS:
                wraps += 1
        else:
            wraps = 0
        self._wraps[role] = wraps
        if not wraps:
            return frame
        device_ns, sensor_ns = frame.t_device_ns + wraps * WRAP_NS, frame.t_sensor_ns
        if sensor_ns is not None:
            # Mid-exposure lies before the device stamp: of the first frame after a wrap it has not wrapped yet.
            sensor_ns += round((device_ns - sensor_ns) / WRAP_NS) * WRAP_NS
        return replace(frame, t_device_ns=device_ns, t_sensor_ns=sensor_ns)

    def _pair_up(self, pairs: list[Pair[SensorFrame]]) -> list[RGBDFrame]:
        arrivals = [(max(pair.color.t_host_ns, pair.depth.t_host_ns), pair) for pair in pairs]
        return [self._frame(pair, arrived_ns) for arrived_ns, pair in arrivals if arrived_ns > self._old_until_ns]

    def _frame(self, pair: Pair[SensorFrame], arrived_ns: int) -> RGBDFrame:
        color, depth = pair.color, pair.depth
        if self._sequence == 0:
            self._first_epoch = self._epoch
        self._paired_ns = arrived_ns
        frame = RGBDFrame(
            sequence=self._sequence,
            color=cast(ColorImage, color.image),
            depth=cast(DepthImage, depth.image),
            calibration=self._calibration,
            depth_scale_m=depth.depth_scale_m,
            t_capture_ns=arrived_ns,
            t_device_ns=color.t_device_ns,
            clock_domain=color.clock_domain,
            t_host_ns=arrived_ns,
            t_utc_ns=0,
            t_depth_device_ns=depth.t_device_ns,
            t_sensor_ns=color.t_sensor_ns,
            t_global_ns=color.t_global_ns,
            color_number=color.number,
            depth_number=depth.number,
            segment=self._epoch - self._first_epoch,
            dropped_before=pair.dropped_before,
        )
        self._sequence += 1
        return frame
