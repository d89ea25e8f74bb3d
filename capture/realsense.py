"""Live RealSense cameras; the only file that imports the vendor's SDK."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import version
from typing import Any

from .camera_list import CameraListing
from .config import CaptureConfig
from .device_source import DeviceSource
from .live_frames import SensorFrame
from .realsense_controls import Controls
from .realsense_frames import Offered, offered, read_calibration, sensor_frame
from .realsense_presets import choose_preset
from .realsense_profiles import ModePair, fallbacks, usb2_message
from .source import AbsentError, SourceError

OLDEST_GOOD = (2, 58, 4)
"""Older SDKs shift aligned depth by half a pixel; nothing here aligns by SDK, but other tools on the data may."""
QUEUE_FRAMES = 16
RESET_WAIT_S = 10.0
_RULE = (
    "on Linux it needs the udev rule "
    '\'SUBSYSTEM=="usb", ATTRS{idVendor}=="8086", MODE="0666"\' in /etc/udev/rules.d/99-realsense.rules'
)
_UDEV = f"Plug it into a USB 3 port and look whether `sfam cameras` lists it; {_RULE}"


def sdk() -> Any:
    """The SDK's Python module.

    Raises:
        SourceError: not installed, or its libraries are missing.
    """
    try:
        import pyrealsense2
    except ImportError as error:
        raise SourceError(
            f"realsense: pyrealsense2 cannot be loaded ({error}); run pip install '.[realsense]' in the checkout, and "
            "on Debian or Ubuntu apt install libusb-1.0-0"
        ) from error
    return pyrealsense2


def list_cameras(context: Any = None) -> Iterator[CameraListing]:
    """RealSense cameras that answer.

    Raises:
        SourceError: the SDK is missing; after those that answer: one that is plugged in does not.
    """
    rs = sdk()
    devices, refusals = _connected(rs, context or _new_context(rs))
    for serial, device in devices.items():
        try:
            listing = _listing(rs, serial, device)
        except RuntimeError as error:
            refusals.append(str(error))
        else:
            yield listing
    if refusals:
        raise _unanswered(refusals)


def _listing(rs: Any, serial: str, device: Any) -> CameraListing:
    modes = sorted({(one.role, one.mode) for one in offered(device.query_sensors())}, reverse=True)
    return CameraListing(
        kind="realsense",
        serial=serial,
        name=_info(rs, device, "name"),
        firmware=_info(rs, device, "firmware_version"),
        connection=_info(rs, device, "usb_type_descriptor"),
        modes=tuple(f"{role} {mode}" for role, mode in modes),
    )


def _new_context(rs: Any) -> Any:
    try:
        return rs.context()
    except RuntimeError as error:
        raise SourceError(f"realsense: the SDK cannot look for cameras ({error}). {_UDEV}") from error


def _connected(rs: Any, context: Any) -> tuple[dict[str, Any], list[str]]:
    """Cameras by serial number, and what the SDK says of those that are plugged in but cannot be asked."""
    devices: dict[str, Any] = {}
    refusals: list[str] = []
    try:
        found = context.query_devices()
    except RuntimeError as error:
        return {}, [str(error)]
    for index in range(len(found)):
        try:
            device = found[index]
            devices[_info(rs, device, "serial_number")] = device
        except RuntimeError as error:
            refusals.append(str(error))
    return devices, refusals


def _unanswered(refusals: list[str]) -> SourceError:
    return SourceError(f"realsense: a camera is plugged in but does not answer ({'; '.join(refusals)}). {_UDEV}")


class RealSenseSource(DeviceSource):
    """One camera, streaming from the constructor on; its warm-up is over when that returns.

    Both sensors write into one small queue of the SDK, from which every frame is copied at once. Pairing is ours; depth
    stays as sensed. A camera that is unplugged, or of which one stream stalls, ends `frames()` with a `SourceError`.

    Args:
        config: which camera, and how.
        context: an SDK context to search instead of a new one.

    Raises:
        AbsentError: no such camera.
        SourceError: SDK missing, busy, nothing it can stream, no frames.
    """

    def __init__(self, config: CaptureConfig, context: Any = None) -> None:
        super().__init__(config, RuntimeError)
        self._rs = sdk()
        self._context = context or _new_context(self._rs)
        self._sensors: list[Any] = []
        self._newest: dict[str, Any] = {}
        self.warnings += _sdk_warnings(self._rs)
        self._device = self._find(config.wait_for_device_timeout)
        self.serial = _info(self._rs, self._device, "serial_number")
        self.label = f"realsense {self.serial}"
        if config.initial_reset:
            self._reset()
        self._queue = self._rs.frame_queue(QUEUE_FRAMES, True)
        self.start(self._stream)

    def read(self, timeout_s: float) -> list[SensorFrame]:
        """The next frame of either sensor."""
        came, frame = self._queue.try_wait_for_frame(round(timeout_s * 1000))
        if not came:
            if not self._device.is_connected():
                raise SourceError(f"{self.label}: unplugged; {_UDEV}")
            return []
        if self.config.freeze_exposure and "frozen" not in self.details:
            self._newest[frame.get_profile().stream_type().name] = frame
        one = sensor_frame(self._rs, frame, self._channels, time.monotonic_ns())
        return [one] if one is not None else []

    def freeze(self) -> None:
        """Fix exposure, gain and white balance at what the newest frames were taken with."""
        self._controls.freeze(self._newest)
        self._newest.clear()

    def stop(self) -> None:
        """Stop and release both sensors."""
        sensors, self._sensors = self._sensors, []
        for sensor in sensors:
            # An unplugged camera refuses both; there is nothing left to release then.
            with suppress(RuntimeError):
                sensor.stop()
            with suppress(RuntimeError):
                sensor.close()

    def _stream(self) -> None:
        sensors = self._device.query_sensors()
        choices = offered(sensors)
        preset = choose_preset(self.config.preset, _info(self._rs, self._device, "name"))
        self._wanted = preset.modes(self.config)
        color, depth = self._choose(choices)
        self._controls = Controls(self._rs, sensors[color.sensor], sensors[depth.sensor], self.details, self.warnings)
        self.details["depth_unit_m"] = self._controls.prepare(preset)
        color, depth = self._open(sensors, choices)
        self._channels = color.format
        self.calibration = read_calibration(color.profile, depth.profile)
        self._note(ModePair(color.mode, depth.mode))
        for sensor in self._sensors:
            sensor.start(self._queue)

    def _find(self, wait_s: float) -> Any:
        refusals: list[str] = []

        def listed() -> dict[str, Any]:
            devices, refusals[:] = _connected(self._rs, self._context)
            return devices

        try:
            return self.find("realsense", listed, wait_s, _UDEV)
        except AbsentError as error:
            if not refusals:
                raise
            raise _unanswered(refusals) from error

    def _reset(self) -> None:
        """One reset of the hardware, then wait for the same serial to come back."""
        try:
            self._device.hardware_reset()
        except RuntimeError as error:
            self.warnings.append(f"hardware reset was refused: {error}")
            return
        time.sleep(1.0)  # it takes a moment to go away
        self.config = self.config.model_copy(update={"serial_no": self.serial})
        self._device = self._find(RESET_WAIT_S)

    def _choose(self, choices: list[Offered]) -> tuple[Offered, Offered]:
        """The first pair of modes, to know which sensors are meant."""
        pairs = self._pairs(choices)
        if not pairs:
            has = ", ".join(sorted({f"{one.role} {one.mode}" for one in choices})) or "no color and no depth"
            raise SourceError(f"{self.label}: no color and depth stream of one frame rate; it offers {has}")
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
                self.stop()
                if _is_busy(str(error)):
                    raise SourceError(
                        f"{self.label}: another program uses it ({error}); close that one, RealSense Viewer for "
                        f"example, or replug the camera; {_RULE}"
                    ) from error
                refusals.append(f"{ModePair(color.mode, depth.mode)}: {error}")
            else:
                return color, depth
        raise SourceError(f"{self.label}: refused every mode that was tried: {'; '.join(refusals)}. {_UDEV}")

    def _note(self, modes: ModePair) -> None:
        """Facts of what streams now, and what the user should hear about them."""
        rs, device = self._rs, self._device
        self.fps = modes.color.fps
        usb = _info(rs, device, "usb_type_descriptor")
        self.details |= {
            "model": _info(rs, device, "name"),
            "firmware": _info(rs, device, "firmware_version"),
            "usb_type": usb,
            "sdk": rs.__version__,
            "modes": str(modes),
        }
        slow = usb2_message(usb, modes)
        if slow is not None:
            self.warnings.append(slow)
        if modes != self._wanted:
            self.warnings.append(f"asked for {self._wanted}, the camera runs at {modes}")


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
