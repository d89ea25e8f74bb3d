"""Live Orbbec cameras (Femto, Gemini); the only file that imports pyorbbecsdk, from the wheel pyorbbecsdk2."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import cv2
import numpy as np

from .camera_list import CameraListing
from .config import CaptureConfig
from .device_source import DeviceSource
from .frame import Calibration, ClockDomain, ColorImage, DepthImage, Distortion, Extrinsics, Intrinsics
from .live_frames import SensorFrame
from .pairing import Role
from .realsense_profiles import Mode, ModePair, fallbacks
from .source import SourceError

COLOR_FORMATS = ("RGB", "BGR", "YUYV", "MJPG")
"""Best first: no conversion, no loss."""
DEPTH_FORMATS = ("Y16", "Z16")
WANTED = ModePair(Mode(1280, 720, 30), Mode(640, 576, 30))
MM = 0.001
_UDEV = (
    'On Linux it needs the udev rule \'SUBSYSTEM=="usb", ATTRS{idVendor}=="2bc5", MODE="0666"\' in '
    "/etc/udev/rules.d/99-obsensor.rules"
)
DISTORTIONS = {
    "NONE": Distortion.NONE,
    "BROWN_CONRADY": Distortion.BROWN_CONRADY,
    "INVERSE_BROWN_CONRADY": Distortion.INVERSE_BROWN_CONRADY,
    "MODIFIED_BROWN_CONRADY": Distortion.MODIFIED_BROWN_CONRADY,
    "BROWN_CONRADY_K6": Distortion.RATIONAL,
}


def sdk() -> Any:
    """The SDK's Python module.

    Raises:
        SourceError: not installed, or built for another numpy.
    """
    try:
        import pyorbbecsdk
    except ImportError as error:
        raise SourceError(
            f"orbbec: pyorbbecsdk cannot be loaded ({error}); it needs numpy < 2, so use an environment of its own: "
            "pip install --no-deps pyorbbecsdk2"
        ) from error
    return pyorbbecsdk


def list_cameras() -> Iterator[CameraListing]:
    """Orbbec cameras that answer.

    Raises:
        SourceError: the SDK is missing; after those that answer: one that is plugged in does not.
    """
    ob = sdk()
    refusals = []
    devices = ob.Context().query_devices()
    for index in range(devices.get_count()):
        try:
            listing = _listing(ob, devices.get_device_by_index(index))
        except ob.OBError as error:
            refusals.append(str(error))
        else:
            yield listing
    if refusals:
        raise SourceError(f"orbbec: a camera is plugged in but does not answer ({'; '.join(refusals)}). {_UDEV}")


def _listing(ob: Any, device: Any) -> CameraListing:
    about, pipeline = device.get_device_info(), ob.Pipeline(device)
    modes = {(role, mode) for role in ("color", "depth") for mode in _profiles(ob, pipeline, role)}
    return CameraListing(
        "orbbec",
        about.get_serial_number(),
        about.get_name(),
        about.get_firmware_version(),
        about.get_connection_type().removeprefix("USB"),
        tuple(f"{role} {mode}" for role, mode in sorted(modes, reverse=True)),
    )


def _profiles(ob: Any, pipeline: Any, role: str) -> dict[Mode, Any]:
    """Profiles by mode, each in the best format; {} without such a sensor."""
    sensor = ob.OBSensorType.COLOR_SENSOR if role == "color" else ob.OBSensorType.DEPTH_SENSOR
    formats = COLOR_FORMATS if role == "color" else DEPTH_FORMATS
    found: dict[Mode, Any] = {}
    try:
        profiles = pipeline.get_stream_profile_list(sensor)
    except ob.OBError:
        return {}
    for index in range(profiles.get_count()):
        profile = profiles.get_stream_profile_by_index(index).as_video_stream_profile()
        form = profile.get_format().name
        mode = Mode(profile.get_width(), profile.get_height(), profile.get_fps())
        if form in formats and (
            mode not in found or formats.index(form) < formats.index(found[mode].get_format().name)
        ):
            found[mode] = profile
    return found


class OrbbecSource(DeviceSource):
    """One Orbbec camera; depth as sensed, pairing ours (the SDK's frame sync is off).

    Raises:
        AbsentError: no such camera.
        SourceError: SDK missing, busy, nothing it can stream, no frames.
    """

    def __init__(self, config: CaptureConfig) -> None:
        self._ob = sdk()
        super().__init__(config, self._ob.OBError)
        self._context = self._ob.Context()
        self._pipeline: Any = None
        device = self._find(config.wait_for_device_timeout)
        self.serial = str(device.get_device_info().get_serial_number())
        self.label = f"orbbec {self.serial}"
        if config.initial_reset:
            device = self._reset(device)
        self._device = device
        self.start(self._stream)

    def read(self, timeout_s: float) -> list[SensorFrame]:
        """One frame set: color, depth or both."""
        try:
            frameset = self._pipeline.wait_for_frames(round(timeout_s * 1000))
        except self._ob.OBError as error:
            raise SourceError(f"{self.label}: lost while streaming ({error}); look at cable and power") from error
        if frameset is None:
            return []
        color, depth = frameset.get_color_frame(), frameset.get_depth_frame()
        frames = [self._frame("depth", depth)] if depth is not None else []
        return frames + ([self._frame("color", color)] if color is not None else [])

    def freeze(self) -> None:
        """Turn the automatics of the color camera off; it keeps what they had arrived at."""
        kinds = self._ob.OBPropertyID
        for name in ("OB_PROP_COLOR_AUTO_EXPOSURE_BOOL", "OB_PROP_COLOR_AUTO_WHITE_BALANCE_BOOL"):
            key = getattr(kinds, name)
            if self._device.is_property_supported(key, self._ob.OBPermissionType.PERMISSION_WRITE):
                self._device.set_bool_property(key, False)
                self.details[name] = bool(self._device.get_bool_property(key))
        self.details["frozen"] = True

    def stop(self) -> None:
        """Stop; an unplugged one refuses and needs it not."""
        if self._pipeline is not None:
            with suppress(self._ob.OBError):
                self._pipeline.stop()

    def _find(self, wait_s: float) -> Any:
        def listed() -> dict[str, tuple[Any, str]]:
            devices = self._context.query_devices()
            serials = [devices.get_device_serial_number_by_index(index) for index in range(devices.get_count())]
            return {serial: (devices, serial) for serial in serials}

        try:
            devices, serial = self.find("orbbec", listed, wait_s, _UDEV)
            return devices.get_device_by_serial_number(serial)
        except self._ob.OBError as error:
            raise SourceError(f"orbbec: cannot be opened, another program may use it ({error}). {_UDEV}") from error

    def _reset(self, device: Any) -> Any:
        try:
            device.reboot()
        except self._ob.OBError as error:
            self.warnings.append(f"hardware reset was refused: {error}")
            return device
        time.sleep(1.0)  # it takes a moment to go away
        self.config = self.config.model_copy(update={"serial_no": self.serial})
        return self._find(10.0)

    def _stream(self) -> None:
        ob, config = self._ob, self.config
        self._pipeline = ob.Pipeline(self._device)
        fps = config.fps or WANTED.color.fps
        wanted = ModePair(
            Mode(*(config.color_size or WANTED.color.size), fps), Mode(*(config.depth_size or WANTED.depth.size), fps)
        )
        color, depth = (_profiles(ob, self._pipeline, role) for role in ("color", "depth"))
        pairs = fallbacks(color, depth, wanted)
        if not pairs:
            raise SourceError(f"{self.label}: no color and depth of one frame rate; color {[*color]}, depth {[*depth]}")
        refusals = []
        self._pipeline.disable_frame_sync()
        for pair in pairs:
            settings = ob.Config()
            settings.enable_stream(color[pair.color])
            settings.enable_stream(depth[pair.depth])
            settings.set_frame_aggregate_output_mode(ob.OBFrameAggregateOutputMode.ANY_SITUATION)
            try:
                self._pipeline.start(settings)
            except ob.OBError as error:
                refusals.append(f"{pair}: {error}")
                continue
            self._note(pair, wanted, color[pair.color], depth[pair.depth])
            return
        raise SourceError(f"{self.label}: refused every mode that was tried: {'; '.join(refusals)}")

    def _note(self, pair: ModePair, wanted: ModePair, color: Any, depth: Any) -> None:
        """Geometry and facts of what streams now."""
        about = self._device.get_device_info()
        if pair != wanted:
            self.warnings.append(f"asked for {wanted}, the camera runs at {pair}")
        if about.get_connection_type().startswith("USB2"):
            self.warnings.append("USB 2 CONNECTION: use a USB 3 port and cable, then start again")
        self.fps = pair.color.fps
        self._color_format = color.get_format().name
        self.details |= {
            "model": about.get_name(),
            "firmware": about.get_firmware_version(),
            "usb_type": about.get_connection_type(),
            "modes": str(pair),
            "color_format": self._color_format,
        }
        to_color = depth.get_extrinsic_to(color)
        self.calibration = Calibration(
            color=_camera(color),
            depth=_camera(depth),
            depth_to_color=Extrinsics.of(to_color.rot, np.multiply(to_color.transform, MM)),
        )

    def _frame(self, role: Role, frame: Any) -> SensorFrame:
        height, width = frame.get_height(), frame.get_width()
        data = np.frombuffer(frame.get_data(), np.uint8)
        image: ColorImage | DepthImage = (
            _rgb(data, self._color_format, width, height)
            if role == "color"
            else data.view(np.uint16).reshape(height, width).copy()
        )
        key = self._ob.OBFrameMetadataType.SENSOR_TIMESTAMP
        global_us = frame.get_global_timestamp_us()
        return SensorFrame(
            role=role,
            image=image,
            number=int(frame.get_index()),
            t_device_ns=frame.get_timestamp_us() * 1000,
            clock_domain=ClockDomain.HARDWARE,
            t_host_ns=time.monotonic_ns(),
            t_sensor_ns=frame.get_metadata_value(key) * 1000 if frame.has_metadata(key) else None,
            t_global_ns=global_us * 1000 if global_us else None,
            depth_scale_m=frame.get_depth_scale() * MM if role == "depth" else 0.0,
        )


def _camera(profile: Any) -> Intrinsics:
    lens, bent = profile.get_intrinsic(), profile.get_distortion()
    distortion = DISTORTIONS.get(bent.model.name)
    if distortion is None:
        raise SourceError(f"orbbec: lens model {bent.model.name} is not known here")
    coeffs = [bent.k1, bent.k2, bent.p1, bent.p2, bent.k3]
    coeffs += [bent.k4, bent.k5, bent.k6] if distortion is Distortion.RATIONAL else []
    return Intrinsics(
        lens.width, lens.height, lens.fx, lens.fy, lens.cx, lens.cy, distortion, tuple(float(one) for one in coeffs)
    )


def _rgb(data: Any, form: str, width: int, height: int) -> ColorImage:
    """Color in whatever form it came; always memory of its own."""
    if form == "MJPG":
        decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
        if decoded is None:
            raise SourceError("orbbec: a color frame did not decode as JPEG; look at the cable")
        return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)
    if form == "YUYV":
        return np.asarray(cv2.cvtColor(data.reshape(height, width, 2), cv2.COLOR_YUV2RGB_YUYV), np.uint8)
    image: ColorImage = data.reshape(height, width, 3)
    return image[:, :, ::-1].copy() if form == "BGR" else image.copy()
