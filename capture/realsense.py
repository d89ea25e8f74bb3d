"""Live RealSense cameras; the only file that imports the vendor's SDK."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.metadata import version
from typing import Any

from .camera_list import CameraListing, pick, topic_name, wanted_serial
from .config import CaptureConfig
from .frame import RGBDFrame
from .live_frames import LiveFrames
from .realsense_controls import Controls
from .realsense_frames import Offered, offered, read_calibration, sensor_frame
from .realsense_presets import choose_preset
from .realsense_profiles import ModePair, fallbacks, usb2_message
from .source import AbsentError, FrameSource, SourceError, SourceInfo

OLDEST_GOOD = (2, 58, 4)
"""Older SDKs shift aligned depth by half a pixel; nothing here aligns by SDK, but other tools on the data may."""
QUEUE_FRAMES = 16
RESET_WAIT_S = 10.0
FIRST_FRAME_S = 4.0
"""A camera may take seconds to its first frame."""
_LOOK_MS = 200
_UDEV = (
    "Plug it into a USB 3 port and look whether `sfam cameras` lists it; on Linux it needs the udev rule "
    '\'SUBSYSTEM=="usb", ATTRS{idVendor}=="8086", MODE="0666"\' in /etc/udev/rules.d/99-realsense.rules'
)


def sdk() -> Any:
    """The SDK's Python module.

    Raises:
        SourceError: not installed, or its libraries are missing.
    """
    try:
        import pyrealsense2
    except ImportError as error:
        raise SourceError(
            f"realsense: pyrealsense2 cannot be loaded ({error}); run pip install 'sfam-live[realsense]', and on "
            "Debian or Ubuntu apt install libusb-1.0-0"
        ) from error
    return pyrealsense2


def list_cameras(context: Any = None) -> list[CameraListing]:
    """RealSense cameras that answer.

    Raises:
        SourceError: the SDK is missing.
    """
    rs = sdk()
    listings = []
    for device in (context or rs.context()).query_devices():
        modes = sorted({(one.role, one.mode) for one in offered(device.query_sensors())}, reverse=True)
        listings.append(
            CameraListing(
                kind="realsense",
                serial=_info(rs, device, "serial_number"),
                name=_info(rs, device, "name"),
                firmware=_info(rs, device, "firmware_version"),
                connection=_info(rs, device, "usb_type_descriptor"),
                modes=tuple(f"{role} {mode}" for role, mode in modes),
            )
        )
    return listings


class RealSenseSource(FrameSource):
    """One camera, streaming from the constructor on; its warm-up is over when that returns.

    Both sensors write into one small queue of the SDK, from which every frame is copied at once. Pairing is ours; depth
    stays as sensed. A camera that is unplugged, or of which one stream stalls, ends `frames()` with a `SourceError`.

    Args:
        config: which camera, and how.
        context: an SDK context to search instead of a new one.

    Raises:
        SourceError: SDK missing, no such camera, busy, nothing it can stream, no frames.
    """

    def __init__(self, config: CaptureConfig, context: Any = None) -> None:
        self._rs = sdk()
        self._config = config
        self._context = context or self._rs.context()
        self._sensors: list[Any] = []
        self._warnings: list[str] = _sdk_warnings(self._rs)
        self._device = self._find(config.wait_for_device_timeout)
        self._serial = _info(self._rs, self._device, "serial_number")
        self._label = f"realsense {self._serial}"
        if config.initial_reset:
            self._reset()
        self._queue = self._rs.frame_queue(QUEUE_FRAMES, True)
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    @property
    def info(self) -> SourceInfo:
        """What was opened; `fps` is what the camera achieved during its warm-up, where that is known."""
        rs = self._rs
        details = {
            "serial": self._serial,
            "model": _info(rs, self._device, "name"),
            "firmware": _info(rs, self._device, "firmware_version"),
            "usb_type": _info(rs, self._device, "usb_type_descriptor"),
            "sdk": rs.__version__,
            "modes": str(self._modes),
            "fps_requested": self._wanted.color.fps,
            "depth_unit_m": self._unit_m,
            **self._controls.details,
        }
        return SourceInfo(
            camera=topic_name(self._serial),
            kind="device",
            live=True,
            fps=round(self._rate or self._modes.color.fps, 2),
            calibration=self._calibration,
            warnings=tuple(self._warnings + self._controls.warnings),
            details=details,
        )

    @property
    def drops(self) -> Mapping[str, int]:
        """Frames without pair by cause; `lost*` were skipped by the sensors' own counters."""
        return self._live.drops

    def frames(self) -> Iterator[RGBDFrame]:
        """Pairs as they arrive.

        Raises:
            SourceError: unplugged, a stream stalled, stamps that never meet.
        """
        self._live = LiveFrames(self._calibration, self._period_ns, time.monotonic_ns())
        while self._sensors:
            frame = self._next()
            if frame is not None:
                yield from self._take(frame)
            elif not self._device.is_connected():
                raise SourceError(f"{self._label}: unplugged; {_UDEV}")
            trouble = self._live.trouble(time.monotonic_ns(), self._config.stall_timeout)
            if trouble is not None:
                raise SourceError(f"{self._label}: {trouble}; look at cable and port, lower capture.fps if it repeats")

    def close(self) -> None:
        """Stop and release; safe to call twice."""
        sensors, self._sensors = self._sensors, []
        for sensor in sensors:
            # An unplugged camera refuses both; there is nothing left to release then.
            with suppress(RuntimeError):
                sensor.stop()
            with suppress(RuntimeError):
                sensor.close()

    def _begin(self) -> None:
        sensors = self._device.query_sensors()
        choices = offered(sensors)
        preset = choose_preset(self._config.preset, _info(self._rs, self._device, "name"))
        self._wanted = preset.modes(self._config)
        color, depth = self._choose(sensors, choices)
        self._controls = Controls(self._rs, sensors[color.sensor], sensors[depth.sensor])
        self._unit_m = self._controls.prepare(preset)
        color, depth = self._open(sensors, choices)
        self._channels = color.format
        self._calibration = read_calibration(color.profile, depth.profile)
        self._modes = ModePair(color.mode, depth.mode)
        self._period_ns = round(1e9 / color.mode.fps)
        self._warn_of_modes()
        self._live = LiveFrames(self._calibration, self._period_ns, time.monotonic_ns())
        for sensor in self._sensors:
            sensor.start(self._queue)
        self._warm_up()

    def _find(self, wait_s: float) -> Any:
        """The camera asked for, waiting for it up to `wait_s` (below 0 = for ever)."""
        wanted = wanted_serial(self._config.camera, self._config.serial_no)
        until_s = time.monotonic() + wait_s
        while True:
            devices = {_info(self._rs, device, "serial_number"): device for device in self._context.query_devices()}
            serial = pick("realsense", list(devices), wanted)
            if serial is not None:
                return devices[serial]
            if wait_s >= 0 and time.monotonic() >= until_s:
                break
            time.sleep(0.2)
        if devices:
            raise AbsentError(f"realsense: no camera with serial {wanted}; connected: {', '.join(devices)}")
        asked = f" with serial {wanted}" if wanted else ""
        raise AbsentError(f"realsense: no camera{asked} is connected. {_UDEV}")

    def _reset(self) -> None:
        """One reset of the hardware, then wait for the same serial to come back."""
        try:
            self._device.hardware_reset()
        except RuntimeError as error:
            self._warnings.append(f"hardware reset was refused: {error}")
            return
        time.sleep(1.0)  # it takes a moment to go away
        self._config = self._config.model_copy(update={"serial_no": self._serial})
        self._device = self._find(RESET_WAIT_S)

    def _choose(self, sensors: list[Any], choices: list[Offered]) -> tuple[Offered, Offered]:
        """The first pair of modes, to know which sensors are meant."""
        pairs = self._pairs(choices)
        if not pairs:
            has = ", ".join(sorted({f"{one.role} {one.mode}" for one in choices})) or "no color and no depth"
            raise SourceError(f"{self._label}: no color and depth stream of one frame rate; it offers {has}")
        return pairs[0]

    def _pairs(self, choices: list[Offered]) -> list[tuple[Offered, Offered]]:
        by_mode = {(one.role, one.mode): one for one in choices}
        modes = {role: [one.mode for one in choices if one.role == role] for role in ("color", "depth")}
        best = fallbacks(modes["color"], modes["depth"], self._wanted)
        return [(by_mode["color", pair.color], by_mode["depth", pair.depth]) for pair in best]

    def _open(self, sensors: list[Any], choices: list[Offered]) -> tuple[Offered, Offered]:
        """Open the best pair of modes that the camera accepts."""
        refusals: list[str] = []
        for color, depth in self._pairs(choices):
            profiles: dict[int, list[Any]] = {}
            for one in (color, depth):
                profiles.setdefault(one.sensor, []).append(one.profile)
            try:
                for index, those in profiles.items():
                    sensors[index].open(those)
                    self._sensors.append(sensors[index])
            except RuntimeError as error:
                self.close()
                if _is_busy(str(error)):
                    raise SourceError(
                        f"{self._label}: another program uses it ({error}); close that one, RealSense Viewer for "
                        "example, or replug the camera"
                    ) from error
                refusals.append(f"{ModePair(color.mode, depth.mode)}: {error}")
            else:
                return color, depth
        raise SourceError(f"{self._label}: refused every mode that was tried: {'; '.join(refusals)}")

    def _warn_of_modes(self) -> None:
        slow = usb2_message(_info(self._rs, self._device, "usb_type_descriptor"), self._modes)
        if slow is not None:
            self._warnings.append(slow)
        if self._modes != self._wanted:
            self._warnings.append(f"asked for {self._wanted}, the camera runs at {self._modes}")

    def _warm_up(self) -> None:
        """Skip frames until exposure has settled, measure the rate, then freeze if asked."""
        limit_s = max(self._config.stall_timeout, FIRST_FRAME_S)
        counts, newest = {"color": 0, "depth": 0}, dict[str, Any]()
        while min(counts.values()) < max(1, self._config.warmup_frames):
            frame = self._next()
            if frame is not None:
                role = frame.get_profile().stream_type().name
                newest[role] = frame
                self._take(frame)
                counts[role] = counts.get(role, 0) + 1
            trouble = self._live.trouble(time.monotonic_ns(), limit_s)
            if trouble is not None:
                raise SourceError(f"{self._label}: opened, but {trouble}; replug it, or set capture.initial_reset")
        self._rate = self._live.rate
        if self._rate is not None and self._rate < 0.9 * self._modes.color.fps:
            self._warnings.append(
                f"the camera makes {self._rate:.1f} frames a second instead of {self._modes.color.fps}: more light, "
                "or a fixed exposure below the frame interval"
            )
        if self._config.freeze_exposure:
            self._controls.freeze(newest)

    def _next(self) -> Any:
        """The next SDK frame; None where none came for a while."""
        came, frame = self._queue.try_wait_for_frame(_LOOK_MS)
        return frame if came else None

    def _take(self, frame: Any) -> list[RGBDFrame]:
        one = sensor_frame(self._rs, frame, self._channels, time.monotonic_ns())
        return self._live.push(one) if one is not None else []


def _info(rs: Any, device: Any, name: str) -> str:
    key = getattr(rs.camera_info, name)
    return str(device.get_info(key)) if device.supports(key) else ""


def _is_busy(text: str) -> bool:
    return any(word in text.lower() for word in ("busy", "errno=16", "already", "streaming", "power state", "locked"))


def _sdk_warnings(rs: Any) -> list[str]:
    parts = tuple(int(part) for part in rs.__version__.split(".")[:3])
    if parts >= OLDEST_GOOD:
        return []
    return [
        f"pyrealsense2 {version('pyrealsense2')} shifts aligned depth by half a pixel; nothing here uses its "
        f"alignment, but update to {'.'.join(map(str, OLDEST_GOOD))} or later before comparing with data aligned by it"
    ]
