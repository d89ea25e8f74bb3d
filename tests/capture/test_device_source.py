"""What every live camera does alike, on one whose frames and their arrivals are written down."""

from __future__ import annotations

import time

import numpy as np

from sfam.capture.clock import SessionClock
from sfam.capture.config import CaptureConfig
from sfam.capture.device_source import DeviceSource
from sfam.capture.frame import Calibration, ClockDomain, Intrinsics, RGBDFrame
from sfam.capture.live_frames import SensorFrame
from sfam.capture.pacing import delivered
from sfam.capture.pairing import Role

LENS = Intrinsics(4, 3, 5.0, 5.0, 2.0, 1.5)
PERIOD_NS = 33_333_333
BEGAN_NS = time.monotonic_ns()


def image(role: Role, number: int, t_ns: int) -> SensorFrame:
    """Taken at `t_ns` of the camera's clock and arrived 3 ms later."""
    pixels = np.zeros((3, 4, 3), np.uint8) if role == "color" else np.zeros((3, 4), np.uint16)
    return SensorFrame(role, pixels, number, t_ns, ClockDomain.HARDWARE, BEGAN_NS + t_ns + 3_000_000)


class Scripted(DeviceSource):
    """Gives `waiting` at once and `coming` to those who wait, then ends."""

    def __init__(self, waiting: list[SensorFrame], coming: list[SensorFrame]) -> None:
        super().__init__(CaptureConfig(camera="scripted", stall_timeout=1e6), RuntimeError)
        self.label, self.serial, self.fps = "scripted", "1", 30
        self.calibration = Calibration(LENS, LENS)
        self._waiting, self._coming = iter(waiting), iter(coming)

    def read(self, timeout_s: float) -> list[SensorFrame]:
        frame = next(self._coming if timeout_s else self._waiting, None)
        if frame is None and timeout_s:
            self.close()
        return [] if frame is None else [frame]

    def stop(self) -> None:
        pass


def session(source: DeviceSource) -> tuple[list[RGBDFrame], SessionClock]:
    clock = SessionClock.start()
    return list(delivered(source.frames(), source.info, 1.0, clock, stop=lambda: False)), clock


def streams(numbers: range, color_late_ns: int) -> list[SensorFrame]:
    images = []
    for number in numbers:
        images += [
            image("depth", number, number * PERIOD_NS),
            image("color", number, number * PERIOD_NS + color_late_ns),
        ]
    return images


def test_a_pair_that_only_the_next_frame_settles_keeps_the_time_of_its_arrival() -> None:
    coming = streams(range(10), 12_000_000)
    arrivals = {one.number: one.t_host_ns for one in coming if one.role == "color"}
    frames, clock = session(Scripted([], coming))
    assert len(frames) == 9, "the last one's next frame never came"
    for frame in frames:
        assert frame.t_capture_ns == frame.t_host_ns == arrivals[frame.color_number]
        assert frame.t_utc_ns - clock.anchor_utc_ns == frame.t_capture_ns - clock.anchor_monotonic_ns


def test_what_waited_in_the_sdk_while_nobody_read_is_not_handed_out() -> None:
    """Those frames came seconds ago, nobody knows when: 8 pairs within a millisecond are no motion to measure."""
    source = Scripted(streams(range(8), 200_000), streams(range(8, 12), 200_000))
    frames, _ = session(source)
    assert [(frame.sequence, frame.color_number) for frame in frames] == [(0, 8), (1, 9), (2, 10), (3, 11)]
    assert source.drops == {}


def test_a_pair_of_which_one_image_waited_has_the_time_of_the_other() -> None:
    *waiting, last = streams(range(5), 200_000)
    frames, _ = session(Scripted(waiting, [last, *streams(range(5, 7), 200_000)]))
    assert [frame.color_number for frame in frames] == [4, 5, 6]
    assert frames[0].t_capture_ns == last.t_host_ns
