"""What `capture/orbbec.py` uses of pyorbbecsdk2, without a camera; names and signatures are compared with the wheel."""

from __future__ import annotations

import time
from enum import Enum
from types import SimpleNamespace
from typing import Any

import numpy as np

SERIAL = "CL8H741005J"
lost = False
busy = False
silent = False
present = True
started: list[Any] = []
rebooted: list[str] = []


class OBError(Exception):
    pass


class OBSensorType(Enum):
    COLOR_SENSOR = 1
    DEPTH_SENSOR = 2


class OBFormat(Enum):
    RGB = 1
    MJPG = 2
    Y16 = 3


class OBFrameAggregateOutputMode(Enum):
    ANY_SITUATION = 1


class OBFrameMetadataType(Enum):
    SENSOR_TIMESTAMP = 1


class OBPermissionType(Enum):
    PERMISSION_WRITE = 1


class OBPropertyID(Enum):
    OB_PROP_COLOR_AUTO_EXPOSURE_BOOL = 1
    OB_PROP_COLOR_AUTO_WHITE_BALANCE_BOOL = 2


class OBCameraIntrinsic:
    fx = fy = 600.0
    cx, cy = 320.5, 287.5

    def __init__(self, width: int = 0, height: int = 0) -> None:
        self.width, self.height = width, height


class OBCameraDistortion:
    k1, k2, k3, k4, k5, k6, p1, p2 = 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0
    model = SimpleNamespace(name="BROWN_CONRADY_K6")


class OBExtrinsic:
    rot = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    transform = np.array([-32.0, 2.0, 4.0])


class VideoStreamProfile:
    def __init__(self, width: int = 0, height: int = 0, fps: int = 0, form: Any = None) -> None:
        self._facts = width, height, fps, form

    def as_video_stream_profile(self) -> VideoStreamProfile:
        return self

    def get_width(self) -> int:
        return self._facts[0]

    def get_height(self) -> int:
        return self._facts[1]

    def get_fps(self) -> int:
        return self._facts[2]

    def get_format(self) -> Any:
        return self._facts[3]

    def get_intrinsic(self) -> OBCameraIntrinsic:
        return OBCameraIntrinsic(self._facts[0], self._facts[1])

    def get_distortion(self) -> OBCameraDistortion:
        return OBCameraDistortion()

    def get_extrinsic_to(self, arg0: Any) -> OBExtrinsic:
        assert arg0.get_format() is OBFormat.RGB
        return OBExtrinsic()


class StreamProfileList:
    def __init__(self, profiles: list[VideoStreamProfile] | None = None) -> None:
        self._profiles = profiles or []

    def get_count(self) -> int:
        return len(self._profiles)

    def get_stream_profile_by_index(self, arg0: int) -> VideoStreamProfile:
        return self._profiles[arg0]


class DeviceInfo:
    def get_serial_number(self) -> str:
        return SERIAL

    def get_name(self) -> str:
        return "Orbbec Femto Bolt"

    def get_firmware_version(self) -> str:
        return "1.1.2"

    def get_connection_type(self) -> str:
        return "USB3.1"


class Device:
    def __init__(self) -> None:
        self.automatic = dict.fromkeys(OBPropertyID, True)

    def get_device_info(self) -> DeviceInfo:
        return DeviceInfo()

    def reboot(self) -> None:
        rebooted.append(SERIAL)

    def is_property_supported(self, arg0: Any, arg1: Any) -> bool:
        return True

    def set_bool_property(self, arg0: Any, arg1: bool) -> None:
        self.automatic[arg0] = arg1

    def get_bool_property(self, arg0: Any) -> bool:
        return self.automatic[arg0]


class DeviceList:
    def get_count(self) -> int:
        return 1 if present else 0

    def get_device_by_index(self, index: int) -> Device:
        return Device()

    def get_device_serial_number_by_index(self, arg0: int) -> str:
        return SERIAL

    def get_device_by_serial_number(self, serial_number: str) -> Device:
        if busy:
            raise OBError("device is already opened")
        return Device()


class Context:
    def query_devices(self) -> DeviceList:
        return DeviceList()


class Config:
    def enable_stream(self, arg0: Any) -> None:
        assert isinstance(arg0, VideoStreamProfile)

    def set_frame_aggregate_output_mode(self, arg0: Any) -> None:
        assert arg0 is OBFrameAggregateOutputMode.ANY_SITUATION


class DepthFrame:
    def __init__(self, role: str = "", number: int = 0) -> None:
        self._role, self._number = role, number

    def get_width(self) -> int:
        return 1280 if self._role == "color" else 640

    def get_height(self) -> int:
        return 720 if self._role == "color" else 576

    def get_data(self) -> Any:
        if self._role == "color":
            return np.tile(np.array([1, 2, 3], np.uint8), 1280 * 720)
        return np.full(640 * 576, self._number, np.uint16).view(np.uint8)

    def get_index(self) -> int:
        return self._number

    def get_timestamp_us(self) -> int:
        return self._number * 33_333

    def get_global_timestamp_us(self) -> int:
        return 1_700_000_000_000_000 + self._number * 33_333

    def has_metadata(self, arg0: Any) -> bool:
        return True

    def get_metadata_value(self, arg0: Any) -> int:
        return self._number * 33_333 - 5000

    def get_depth_scale(self) -> float:
        return 0.5


class FrameSet:
    def __init__(self, number: int = 0) -> None:
        self._number = number

    def get_color_frame(self) -> Any:
        return DepthFrame("color", self._number)

    def get_depth_frame(self) -> Any:
        return None if self._number % 10 == 7 else DepthFrame("depth", self._number)


class Pipeline:
    def __init__(self, arg0: Any) -> None:
        self._number = 0

    def get_stream_profile_list(self, arg0: Any) -> StreamProfileList:
        if arg0 is OBSensorType.COLOR_SENSOR:
            return StreamProfileList(
                [VideoStreamProfile(1280, 720, 30, form) for form in (OBFormat.MJPG, OBFormat.RGB)]
            )
        return StreamProfileList([VideoStreamProfile(640, 576, 30, OBFormat.Y16)])

    def disable_frame_sync(self) -> None:
        pass

    def start(self, arg0: Any) -> None:
        started.append(self)

    def stop(self) -> None:
        if self in started:
            started.remove(self)
        if lost:
            raise OBError("device gone")

    def wait_for_frames(self, arg0: int) -> FrameSet | None:
        if lost:
            raise OBError("device gone")
        if silent or arg0 == 0:  # nothing waits in its queue
            time.sleep(arg0 / 1000)
            return None
        time.sleep(0.004)
        self._number += 1
        return FrameSet(self._number)
