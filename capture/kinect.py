"""Live Azure Kinect cameras, and Femto cameras by Orbbec's replacement library; the only file that imports pyk4a."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import numpy as np

from .camera_list import CameraListing
from .config import CaptureConfig
from .device_source import DeviceSource, nearest
from .frame import Calibration, ClockDomain, Distortion, Extrinsics, Intrinsics
from .live_frames import SensorFrame
from .source import AbsentError, SourceError

COLOR_MODES = {
    (1280, 720): "RES_720P",
    (1920, 1080): "RES_1080P",
    (2560, 1440): "RES_1440P",
    (2048, 1536): "RES_1536P",
}
DEPTH_MODES = {(640, 576): "NFOV_UNBINNED", (320, 288): "NFOV_2X2BINNED", (512, 512): "WFOV_2X2BINNED"}
RATES = (5, 15, 30)
_ADVICE = "It needs its power supply, a USB 3 port and, on Linux, the udev rule of the Azure Kinect SDK (idVendor 045e)"


def sdk() -> Any:
    """The SDK's Python module.

    Raises:
        SourceError: not installed, or built for another numpy.
    """
    try:
        import pyk4a
    except ImportError as error:
        raise SourceError(
            f"kinect: pyk4a cannot be loaded ({error}); it needs numpy < 2, so use an environment of its own: "
            "pip install '.[kinect]' in the checkout"
        ) from error
    return pyk4a


def list_cameras() -> list[CameraListing]:
    """Azure Kinects that answer; one in use is listed without serial.

    Raises:
        SourceError: the SDK is missing.
    """
    k4a = sdk()
    modes = [f"color {w}x{h}@30" for w, h in COLOR_MODES] + [f"depth {w}x{h}@30" for w, h in DEPTH_MODES]
    return [
        CameraListing("kinect", serial or f"in use (number {index})", "Azure Kinect", "", "", tuple(modes))
        for index, serial in enumerate(_serials(k4a))
    ]


def _serials(k4a: Any) -> list[str]:
    """Serial numbers by device index; '' for one that is in use."""
    serials = []
    for index in range(k4a.connected_device_count()):
        device = k4a.PyK4A(device_id=index)
        try:
            device.open()
            serials.append(str(device.serial))
            device.close()
        except k4a.K4AException:
            serials.append("")
    return serials


class KinectSource(DeviceSource):
    """One Azure Kinect, color as BGRA, depth as sensed in its own distorted image; pairing is ours.

    Raises:
        AbsentError: no such camera.
        SourceError: SDK missing, busy, no frames.
    """

    def __init__(self, config: CaptureConfig) -> None:
        self._k4a = sdk()
        super().__init__(config, self._k4a.K4AException)
        index, self.serial = self._find()
        self.label = f"kinect {self.serial}"
        self._device = self._k4a.PyK4A(config=self._settings(), device_id=index)
        try:
            self._device.start()
        except self._k4a.K4AException as error:
            with suppress(self._k4a.K4AException):
                self._device.close()
            raise SourceError(
                f"{self.label}: cannot be started; another program uses it, the port is not USB 3, or the depth engine "
                "finds no display (it needs OpenGL)"
            ) from error
        self.start(self._read_calibration)

    def read(self, timeout_s: float) -> list[SensorFrame]:
        """One capture: color, depth or both."""
        try:
            capture = self._device.get_capture(timeout=round(timeout_s * 1000))
        except self._k4a.K4ATimeoutException:
            return []
        except self._k4a.K4AException as error:
            raise SourceError(f"{self.label}: lost while streaming; look at cable and power") from error
        now_ns = time.monotonic_ns()
        frames = []
        if capture.depth is not None:
            stamp_ns = capture.depth_timestamp_usec * 1000
            frames.append(SensorFrame("depth", capture.depth.copy(), -1, stamp_ns, ClockDomain.HARDWARE, now_ns))
        if capture.color is not None:
            stamp_ns = capture.color_timestamp_usec * 1000
            image = np.ascontiguousarray(capture.color[:, :, 2::-1])
            frames.append(SensorFrame("color", image, -1, stamp_ns, ClockDomain.HARDWARE, now_ns))
        return frames

    def freeze(self) -> None:
        """Setting the values it reads now makes all three manual."""
        for name in ("exposure", "gain", "whitebalance"):
            value = getattr(self._device, name)
            setattr(self._device, name, value)
            self.details[f"color.{name}"] = value
        self.details["frozen"] = True

    def stop(self) -> None:
        """Stop the cameras and close; an unplugged one has nothing to close."""
        with suppress(self._k4a.K4AException):
            self._device.stop()

    def _find(self) -> tuple[int, str]:
        busy = 0

        def listed() -> dict[str, tuple[int, str]]:
            nonlocal busy
            serials = _serials(self._k4a)
            busy = serials.count("")
            return {serial: (index, serial) for index, serial in enumerate(serials) if serial}

        try:
            return self.find("kinect", listed, self.config.wait_for_device_timeout, _ADVICE)
        except AbsentError as error:
            if not busy:
                raise
            raise SourceError(f"{error} {busy} more are connected, but another program uses them") from error

    def _settings(self) -> Any:
        k4a, config = self._k4a, self.config
        color_size, depth_size = config.color_size or (1280, 720), config.depth_size or (640, 576)
        if color_size not in COLOR_MODES or depth_size not in DEPTH_MODES:
            raise SourceError(
                f"kinect: no mode color {color_size}, depth {depth_size}; color has {list(COLOR_MODES)}, depth has "
                f"{list(DEPTH_MODES)}"
            )
        self.fps = nearest(config.fps or 30, RATES)
        if self.fps != (config.fps or 30):
            self.warnings.append(f"asked for {config.fps} frames a second, the camera runs at {self.fps}")
        if config.initial_reset:
            self.warnings.append("this SDK has no hardware reset; unplug and plug instead")
        self._sizes = color_size, depth_size
        self.details |= {"color_mode": COLOR_MODES[color_size], "depth_mode": DEPTH_MODES[depth_size]}
        return k4a.Config(
            color_resolution=getattr(k4a.ColorResolution, COLOR_MODES[color_size]),
            color_format=k4a.ImageFormat.COLOR_BGRA32,
            depth_mode=getattr(k4a.DepthMode, DEPTH_MODES[depth_size]),
            camera_fps=getattr(k4a.FPS, f"FPS_{self.fps}"),
            synchronized_images_only=False,
        )

    def _read_calibration(self) -> None:
        kinds, found = self._k4a.CalibrationType, self._device.calibration
        rotation, translation = found.get_extrinsic_parameters(kinds.DEPTH, kinds.COLOR)
        self.calibration = Calibration(
            color=_camera(found, kinds.COLOR, self._sizes[0]),
            depth=_camera(found, kinds.DEPTH, self._sizes[1]),
            depth_to_color=Extrinsics.of(rotation, translation),
        )


def _camera(calibration: Any, kind: Any, size: tuple[int, int]) -> Intrinsics:
    """Both cameras have the 6-parameter rational model, which pyk4a gives in OpenCV's order."""
    matrix = calibration.get_camera_matrix(kind)
    coeffs = tuple(float(value) for value in calibration.get_distortion_coefficients(kind))
    return Intrinsics(
        *size,
        float(matrix[0, 0]),
        float(matrix[1, 1]),
        float(matrix[0, 2]),
        float(matrix[1, 2]),
        Distortion.RATIONAL,
        coeffs,
    )
