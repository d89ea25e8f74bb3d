"""What `capture/kinect.py` uses of pyk4a, without a camera; names and signatures are compared with the real wheel."""

from __future__ import annotations

import time
from enum import IntEnum
from typing import Any

import numpy as np

SERIAL = "000123412312"
lost = False
busy = False
silent = False
present = True
started: list[Any] = []
never: set[int] = set()
"""Numbers of captures that do not come."""


class K4AException(Exception):  # noqa: N818
    pass


class K4ATimeoutException(K4AException):
    pass


class FPS(IntEnum):
    FPS_5 = 0
    FPS_15 = 1
    FPS_30 = 2


class ImageFormat(IntEnum):
    COLOR_BGRA32 = 3


class DepthMode(IntEnum):
    NFOV_2X2BINNED = 1
    NFOV_UNBINNED = 2
    WFOV_2X2BINNED = 3


class ColorResolution(IntEnum):
    RES_720P = 1
    RES_1080P = 2
    RES_1440P = 3
    RES_1536P = 4


class CalibrationType(IntEnum):
    DEPTH = 0
    COLOR = 1


class Config:
    def __init__(
        self,
        color_resolution: Any = ColorResolution.RES_720P,
        color_format: Any = ImageFormat.COLOR_BGRA32,
        depth_mode: Any = DepthMode.NFOV_UNBINNED,
        camera_fps: Any = FPS.FPS_30,
        synchronized_images_only: bool = True,
    ) -> None:
        assert color_format is ImageFormat.COLOR_BGRA32
        assert not synchronized_images_only
        self.camera_fps = camera_fps


class Calibration:
    def get_camera_matrix(self, camera: Any) -> Any:
        fx, cx, cy = (505.0, 322.5, 331.25) if camera is CalibrationType.DEPTH else (612.0, 640.5, 366.0)
        return np.array([[fx, 0, cx], [0, fx + 1, cy], [0, 0, 1]])

    def get_distortion_coefficients(self, camera: Any) -> Any:
        return np.arange(1, 9) / 100

    def get_extrinsic_parameters(self, source_camera: Any, target_camera: Any) -> Any:
        assert (source_camera, target_camera) == (CalibrationType.DEPTH, CalibrationType.COLOR)
        return np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]), np.array([[-0.032, 0.002, 0.004]])


class PyK4ACapture:
    def __init__(self, number: int) -> None:
        self._number = number

    @property
    def color(self) -> Any:
        image = np.zeros((720, 1280, 4), np.uint8)
        image[:] = (3, 2, 1, 255)
        return image

    @property
    def color_timestamp_usec(self) -> int:
        return self._number * 33_333 + 160

    @property
    def depth(self) -> Any:
        return None if self._number % 10 == 7 else np.full((576, 640), self._number, np.uint16)

    @property
    def depth_timestamp_usec(self) -> int:
        return self._number * 33_333


class PyK4A:
    exposure, gain, whitebalance = 8330, 128, 4500

    def __init__(self, config: Any = None, device_id: int = 0) -> None:
        self._number = 0
        self._open = False

    def open(self) -> None:
        if busy:
            raise K4AException
        self._open = True

    def close(self) -> None:
        if not self._open:
            raise K4AException
        self._open = False

    def start(self) -> None:
        if busy:
            raise K4AException
        self._open = True
        started.append(self)

    def stop(self) -> None:
        self._open = False
        started.remove(self)
        if lost:
            raise K4AException

    @property
    def serial(self) -> str:
        return SERIAL

    @property
    def calibration(self) -> Calibration:
        return Calibration()

    def get_capture(self, timeout: int = -1) -> PyK4ACapture:
        if lost:
            raise K4AException
        if silent or timeout == 0:  # nothing waits in its queue
            time.sleep(timeout / 1000)
            raise K4ATimeoutException
        time.sleep(0.004)
        self._number += 1
        while self._number in never:
            self._number += 1
        return PyK4ACapture(self._number)


def connected_device_count() -> int:
    return 1 if present else 0
