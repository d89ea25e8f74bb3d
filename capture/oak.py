"""Live OAK cameras; the only file that imports depthai (version 3)."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from .camera_list import CameraListing
from .config import CaptureConfig
from .device_source import DeviceSource
from .frame import Calibration, ClockDomain, Intrinsics
from .live_frames import SensorFrame
from .pairing import Role
from .source import SourceError

SIZE = (640, 480)
"""Color, and depth which the camera itself lays on the color image."""
QUEUE_FRAMES = 8
POLL_S = 0.002
"""Between two looks into the queues: of two at once the SDK cannot wait for the first."""
RATES = (60, 30, 15)
_UDEV = (
    'On Linux it needs the udev rule \'SUBSYSTEM=="usb", ATTRS{idVendor}=="03e7", MODE="0666"\' in '
    "/etc/udev/rules.d/80-movidius.rules"
)


def sdk() -> Any:
    """The SDK's Python module.

    Raises:
        SourceError: not installed, or version 2.
    """
    try:
        import depthai
    except ImportError as error:
        raise SourceError(
            f"oak: depthai cannot be loaded ({error}); run pip install '.[oak]' in the checkout"
        ) from error
    if int(depthai.__version__.split(".")[0]) < 3:
        raise SourceError(f"oak: depthai {depthai.__version__} is too old; run pip install 'depthai>=3'")
    return depthai


def list_cameras() -> list[CameraListing]:
    """OAK cameras that answer; they are not started, so firmware (which comes with depthai) is the library's.

    Raises:
        SourceError: the SDK is missing.
    """
    dai = sdk()
    modes = tuple(f"{role} {SIZE[0]}x{SIZE[1]}@{fps}" for role in ("color", "depth") for fps in RATES)
    return [
        CameraListing("oak", one.getDeviceId(), f"OAK ({one.platform.name})", dai.__version__, "", modes)
        for one in dai.Device.getAllConnectedDevices()
    ]


class OakSource(DeviceSource):
    """One OAK with stereo: undistorted color, and depth that the camera computes and lays on it (in mm).

    The stereo preset for faces is the vendor's own. Frames carry `depth_aligned`.

    Raises:
        AbsentError: no such camera.
        SourceError: SDK missing, busy, no stereo, no frames.
    """

    def __init__(self, config: CaptureConfig) -> None:
        super().__init__(config, RuntimeError)
        self._dai = sdk()
        self._pipeline: Any = None
        found = self._find()
        self.serial = str(found.getDeviceId())
        self.label = f"oak {self.serial}"
        self.fps = config.fps or 30
        self._size = config.color_size or SIZE
        if config.depth_size not in (None, self._size):
            self.warnings.append(f"depth comes in the size of color, {self._size}, not {config.depth_size}")
        try:
            self._device = self._dai.Device(found)
        except RuntimeError as error:
            raise SourceError(f"{self.label}: cannot be opened, another program may use it ({error})") from error
        self.start(self._stream)

    def read(self, timeout_s: float) -> list[SensorFrame]:
        """What both queues hold, as soon as one of them holds something: depth comes when color is long there."""
        until_s = time.monotonic() + timeout_s
        try:
            while not (frames := self._waiting("color", self._color) + self._waiting("depth", self._depth)):
                if time.monotonic() >= until_s:
                    break
                time.sleep(POLL_S)
            if not frames and (self._device.isClosed() or not self._pipeline.isRunning()):
                raise SourceError(f"{self.label}: lost while streaming; look at cable and power")
        except RuntimeError as error:
            raise SourceError(f"{self.label}: lost while streaming ({error}); look at cable and power") from error
        return frames

    def _waiting(self, role: Role, queue: Any) -> list[SensorFrame]:
        frames = []
        while (message := queue.tryGet()) is not None:
            frames.append(self._frame(role, message))
        return frames

    def freeze(self) -> None:
        """Lock what the automatics have arrived at."""
        control = self._dai.CameraControl()
        control.setAutoExposureLock(True)
        control.setAutoWhiteBalanceLock(True)
        self._control.send(control)
        self.details["frozen"] = True

    def stop(self) -> None:
        """Stop and close; an unplugged one refuses and needs neither."""
        with suppress(RuntimeError):
            if self._pipeline is not None:
                self._pipeline.stop()
        with suppress(RuntimeError):
            self._device.close()

    def _find(self) -> Any:
        def listed() -> dict[str, Any]:
            return {one.getDeviceId(): one for one in self._dai.Device.getAllConnectedDevices()}

        return self.find("oak", listed, self.config.wait_for_device_timeout, _UDEV)

    def _stream(self) -> None:
        dai = self._dai
        socket = dai.CameraBoardSocket.CAM_A
        self._pipeline = dai.Pipeline(self._device)
        try:
            camera = self._pipeline.create(dai.node.Camera).build(socket, sensorFps=self.fps)
            output = camera.requestOutput(
                self._size, type=dai.ImgFrame.Type.RGB888i, fps=self.fps, enableUndistortion=True
            )
            stereo = self._pipeline.create(dai.node.StereoDepth).build(
                autoCreateCameras=True, presetMode=dai.node.StereoDepth.PresetMode.FACE, fps=self.fps
            )
            output.link(stereo.inputAlignTo)
            self._color = output.createOutputQueue(maxSize=QUEUE_FRAMES, blocking=False)
            self._depth = stereo.depth.createOutputQueue(maxSize=QUEUE_FRAMES, blocking=False)
            self._control = camera.inputControl.createInputQueue()
            matrix = self._device.readCalibration().getCameraIntrinsics(socket, *self._size)
            self._pipeline.start()
        except RuntimeError as error:
            raise SourceError(
                f"{self.label}: color and stereo depth at {self.fps} fps were refused: {error}"
            ) from error
        lens = Intrinsics(*self._size, matrix[0][0], matrix[1][1], matrix[0][2], matrix[1][2])
        self.calibration = Calibration(color=lens, depth=lens, depth_aligned=True)
        self.details |= {
            "model": str(self._device.getDeviceName()),
            "usb_type": str(self._device.getUsbSpeed().name),
            "sdk": dai.__version__,
            "preset": "FACE",
        }
        if self._device.getUsbSpeed().name in ("LOW", "FULL", "HIGH"):
            self.warnings.append("USB 2 CONNECTION: use a USB 3 port and cable, then start again")

    def _frame(self, role: Role, message: Any) -> SensorFrame:
        stamp_ns = round(message.getTimestampDevice().total_seconds() * 1e9)
        return SensorFrame(
            role=role,
            image=message.getFrame().copy(),
            number=int(message.getSequenceNum()),
            t_device_ns=stamp_ns,
            clock_domain=ClockDomain.HARDWARE,
            t_host_ns=time.monotonic_ns(),
            t_global_ns=round(message.getTimestamp().total_seconds() * 1e9),
        )
