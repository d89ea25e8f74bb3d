"""What `capture/oak.py` uses of depthai, without a camera; names and signatures are compared with the real wheel."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np

__version__ = "3.12.0"
SERIAL = "14442C10D13EABCD00"
lost = False
busy = False
silent = False
present = True
late = False
"""Depth comes a moment after color."""
started: list[Any] = []
sent: list[Any] = []


class CameraBoardSocket:
    CAM_A = SimpleNamespace(name="CAM_A")


class DeviceInfo:
    platform = SimpleNamespace(name="X_LINK_MYRIAD_X")

    def getDeviceId(self) -> str:  # noqa: N802
        return SERIAL


class CalibrationHandler:
    def getCameraIntrinsics(self, cameraId: Any, resizeWidth: int = -1, resizeHeight: int = -1) -> Any:  # noqa: N802
        assert (resizeWidth, resizeHeight) == (640, 480)
        return [[450.0, 0.0, 321.0], [0.0, 451.0, 242.0], [0.0, 0.0, 1.0]]


class Device:
    def __init__(self, deviceInfo: Any) -> None:
        if busy:
            raise RuntimeError("X_LINK_DEVICE_ALREADY_IN_USE")

    @staticmethod
    def getAllConnectedDevices() -> list[DeviceInfo]:  # noqa: N802
        return [DeviceInfo()] if present else []

    def readCalibration(self) -> CalibrationHandler:  # noqa: N802
        return CalibrationHandler()

    def getUsbSpeed(self) -> Any:  # noqa: N802
        return SimpleNamespace(name="SUPER")

    def getDeviceName(self) -> str:  # noqa: N802
        return "OAK-D"

    def isClosed(self) -> bool:  # noqa: N802
        return lost

    def close(self) -> None:
        if lost:
            raise RuntimeError("X_LINK_ERROR")


class CameraControl:
    def setAutoExposureLock(self, lock: bool) -> CameraControl:  # noqa: N802
        sent.append(("exposure", lock))
        return self

    def setAutoWhiteBalanceLock(self, lock: bool) -> CameraControl:  # noqa: N802
        sent.append(("balance", lock))
        return self


class InputQueue:
    def send(self, msg: Any) -> None:
        assert isinstance(msg, CameraControl)


class ImgFrame:
    class Type:
        RGB888i = 1

    def __init__(self, role: str, number: int) -> None:
        self._role, self._number = role, number

    def getFrame(self) -> Any:  # noqa: N802
        if self._role == "depth":
            return np.full((480, 640), self._number, np.uint16)
        return np.broadcast_to(np.array([1, 2, 3], np.uint8), (480, 640, 3))

    def getTimestampDevice(self) -> timedelta:  # noqa: N802
        return timedelta(seconds=self._number / 30)

    def getTimestamp(self) -> timedelta:  # noqa: N802
        return timedelta(seconds=1000 + self._number / 30)

    def getSequenceNum(self) -> int:  # noqa: N802
        return self._number


class MessageQueue:
    _newest = 0
    """Number of the newest color image; it comes at every third look, and depth with it or at the look after that."""

    def __init__(self, role: str) -> None:
        self._role, self._number, self._looks, self._heard_of = role, 0, 0, 0
        MessageQueue._newest = 0

    def tryGet(self) -> ImgFrame | None:  # noqa: N802
        if lost:
            raise RuntimeError("Communication exception - possible device error/misconfiguration")
        self._looks += 1
        if self._role == "color" and not silent and self._looks % 3 == 0:
            MessageQueue._newest += 1
        heard_of, self._heard_of = self._heard_of, MessageQueue._newest
        comes_later = late and self._role == "depth" and heard_of != MessageQueue._newest
        if silent or comes_later or self._number == MessageQueue._newest:
            return None
        self._number += 1
        return ImgFrame(self._role, self._number)


class Node:
    class Input:
        def createInputQueue(self) -> InputQueue:  # noqa: N802
            return InputQueue()

    class Output:
        def __init__(self, role: str) -> None:
            self._role = role

        def createOutputQueue(self, maxSize: int = 16, blocking: bool = False) -> MessageQueue:  # noqa: N802
            return MessageQueue(self._role)

        def link(self, input: Any) -> None:
            assert isinstance(input, Node.Input)


class node:  # noqa: N801
    class Camera:
        inputControl = Node.Input()  # noqa: N815

        def build(self, boardSocket: Any, sensorResolution: Any = None, sensorFps: float | None = None) -> Any:
            return self

        def requestOutput(  # noqa: N802
            self,
            size: tuple[int, int],
            type: Any = None,
            resizeMode: Any = None,
            fps: float | None = None,
            enableUndistortion: bool | None = None,
        ) -> Node.Output:
            assert type == ImgFrame.Type.RGB888i
            return Node.Output("color")

    class StereoDepth:
        class PresetMode:
            FACE = 3

        inputAlignTo = Node.Input()  # noqa: N815
        depth = Node.Output("depth")

        def build(
            self, autoCreateCameras: bool, presetMode: Any = 2, size: Any = None, fps: float | None = None
        ) -> Any:
            return self


class Pipeline:
    def __init__(self, defaultDevice: Any) -> None:
        pass

    def create(self, arg0: Any) -> Any:
        return arg0()

    def start(self) -> None:
        started.append(self)

    def stop(self) -> None:
        if self in started:
            started.remove(self)
        if lost:
            raise RuntimeError("X_LINK_ERROR")

    def isRunning(self) -> bool:  # noqa: N802
        return not lost
