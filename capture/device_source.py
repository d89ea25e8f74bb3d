"""What every live camera does alike: warm up, pair, watch for stalls, count; an adapter reads its SDK."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from .camera_list import pick, topic_name, wanted_serial
from .config import CaptureConfig
from .frame import Calibration, RGBDFrame
from .live_frames import LiveFrames, SensorFrame
from .source import AbsentError, FrameSource, SourceError, SourceInfo

READ_S = 0.2
"""Longest wait of one read, so that stops and stalls are noticed."""
LOOK_S = 0.2
"""Between two looks for a camera that is not there yet."""
EMPTIED_S = 1.0
"""Longest emptying of the SDK's queue, where frames come as fast as they are read."""
FIRST_FRAME_S = 4.0
"""A camera may take seconds to its first frame."""
DeviceT = TypeVar("DeviceT")


class DeviceSource(FrameSource):
    """A camera whose SDK hands out color and depth; pairing, segments and watching are done here.

    An adapter's constructor fills the fields below and calls `start` last.
    """

    label: str
    """Kind and serial, for messages."""
    serial: str
    calibration: Calibration
    fps: int
    """Requested."""
    details: dict[str, str | int | float | bool]
    warnings: list[str]

    def __init__(self, config: CaptureConfig, sdk_error: type[Exception]) -> None:
        """`sdk_error` is what the SDK raises where a camera refuses or is gone."""
        self.config = config
        self._sdk_error = sdk_error
        self.details = {}
        self.warnings = []
        self._rate: float | None = None
        self._closed = False

    @abstractmethod
    def read(self, timeout_s: float) -> list[SensorFrame]:
        """Copies of the frames that came within `timeout_s`; [] where none did.

        With 0 those that wait already.

        Raises:
            SourceError: the camera is gone.
        """

    @abstractmethod
    def stop(self) -> None:
        """Release the device; called once."""

    def find(self, kind: str, listed: Callable[[], Mapping[str, DeviceT]], wait_s: float, advice: str) -> DeviceT:
        """The camera asked for, waited for up to `wait_s` (below 0 = for ever).

        Args:
            kind: as in `--camera`.
            listed: what is connected, by serial number.
            wait_s: seconds.
            advice: what to do where none is there.

        Raises:
            AbsentError: it did not come.
            SourceError: several are there and none was named.
        """
        wanted = wanted_serial(self.config.camera, self.config.serial_no)
        until_s = time.monotonic() + wait_s
        while True:
            devices = listed()
            serial = pick(kind, list(devices), wanted)
            if serial is not None:
                return devices[serial]
            if wait_s >= 0 and time.monotonic() >= until_s:
                break
            time.sleep(LOOK_S)
        if devices:
            raise AbsentError(f"{kind}: no camera with serial {wanted}; connected: {', '.join(devices)}")
        asked = f" with serial {wanted}" if wanted else ""
        raise AbsentError(f"{kind}: no camera{asked} is connected. {advice}")

    def start(self, stream: Callable[[], None]) -> None:
        """Stream and warm up; whatever goes wrong leaves nothing open.

        Raises:
            SourceError: the camera refuses, or gives no frames.
        """
        try:
            stream()
            self.warm_up()
        except BaseException as error:
            self.close()
            if isinstance(error, self._sdk_error):
                raise SourceError(
                    f"{self.label}: refused while it was started ({error}); another program may use it, or replug it"
                ) from error
            raise

    def freeze(self) -> None:
        """Fix exposure, gain and white balance at what they are."""
        self.warnings.append(f"{self.label}: exposure cannot be frozen through this SDK")

    @property
    def info(self) -> SourceInfo:
        """What was opened; `fps` is what the camera achieved during its warm-up, where that is known."""
        return SourceInfo(
            camera=topic_name(self.serial),
            kind="device",
            live=True,
            fps=round(self._rate or self.fps, 2),
            calibration=self.calibration,
            warnings=tuple(self.warnings),
            stamped=True,
            details={"serial": self.serial, "fps_requested": self.fps, **self.details},
        )

    @property
    def drops(self) -> Mapping[str, int]:
        """Frames without pair by cause."""
        return self._live.drops

    def frames(self) -> Iterator[RGBDFrame]:
        """Pairs as they arrive, each with the host's time at which the later of its two images came.

        Raises:
            SourceError: the camera is gone, a stream stalled.
        """
        self._begin()
        self._pass_over_the_queue()
        while not self._closed:
            for frame in self.read(READ_S):
                yield from self._live.push(self._fitting(frame))
            self._watch("", self.config.stall_timeout, "look at cable, port and power")

    def close(self) -> None:
        """Stop and release; safe to call twice."""
        if not self._closed:
            self._closed = True
            self.stop()

    def warm_up(self) -> None:
        """Skip frames until exposure has settled, measure the rate, freeze if asked."""
        self._begin()
        pairs = 0
        while pairs < max(1, self.config.warmup_frames):
            for frame in self.read(READ_S):
                pairs += len(self._live.push(self._fitting(frame)))
            self._watch("opened, but ", max(FIRST_FRAME_S, self.config.stall_timeout), "replug it, or reset it")
        self._rate = self._live.rate
        if self._rate is not None and self._rate < 0.9 * self.fps:
            self.warnings.append(
                f"the camera makes {self._rate:.1f} frames a second instead of {self.fps}: more light?"
            )
        if self.config.freeze_exposure:
            self.freeze()

    def _pass_over_the_queue(self) -> None:
        """Skip what came while nobody read: between warm-up and first frame the analysis gets ready, for seconds."""
        until_s = time.monotonic() + EMPTIED_S
        while time.monotonic() < until_s and (waiting := self.read(0.0)):
            for frame in waiting:
                self._live.pass_over(self._fitting(frame))

    def _fitting(self, frame: SensorFrame) -> SensorFrame:
        """The frame, if it has the size that its calibration is for."""
        lens = self.calibration.color if frame.role == "color" else self.calibration.depth
        if frame.image.shape[:2] != (lens.height, lens.width):
            raise SourceError(
                f"{self.label}: {frame.role} comes as {frame.image.shape[1]}x{frame.image.shape[0]}, its calibration "
                f"is for {lens.width}x{lens.height}; choose another capture.{frame.role}_size"
            )
        return frame

    def _begin(self) -> None:
        self._live = LiveFrames(self.calibration, round(1e9 / self.fps), time.monotonic_ns())

    def _watch(self, before: str, limit_s: float, advice: str) -> None:
        trouble = self._live.trouble(time.monotonic_ns(), limit_s)
        if trouble is not None:
            raise SourceError(f"{self.label}: {before}{trouble}; {advice}")


def nearest(wanted: int, possible: tuple[int, ...]) -> int:
    """The possible value nearest to the wanted one."""
    return min(possible, key=lambda value: abs(value - wanted))
