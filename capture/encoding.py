"""Pixel encodings of recordings, under the names that ROS and the RealSense SDK give them, to RGB8 and uint16."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from .frame import ColorImage, DepthImage

Bytes = bytes | bytearray | memoryview

COLOR_BYTES = {
    "rgb8": 3,
    "bgr8": 3,
    "rgba8": 4,
    "bgra8": 4,
    "mono8": 1,
    "8uc1": 1,
    "y8": 1,
    "yuyv": 2,
    "yuv422_yuy2": 2,
    "uyvy": 2,
    "yuv422": 2,
}
"""Bytes per pixel of the color encodings read here, by lower-case name."""
DEPTH_BYTES = {"mono16": 2, "16uc1": 2, "z16": 2, "32fc1": 4}
"""Bytes per pixel of the depth encodings read here."""
_TO_RGB = {
    "bgr8": cv2.COLOR_BGR2RGB,
    "rgba8": cv2.COLOR_RGBA2RGB,
    "bgra8": cv2.COLOR_BGRA2RGB,
    "mono8": cv2.COLOR_GRAY2RGB,
    "8uc1": cv2.COLOR_GRAY2RGB,
    "y8": cv2.COLOR_GRAY2RGB,
    "yuyv": cv2.COLOR_YUV2RGB_YUYV,
    "yuv422_yuy2": cv2.COLOR_YUV2RGB_YUYV,
    "uyvy": cv2.COLOR_YUV2RGB_UYVY,
    "yuv422": cv2.COLOR_YUV2RGB_UYVY,
}
FLOAT_DEPTH_UNIT_M = 0.0001
"""Float metres are kept as uint16 in steps of 0.1 mm (range 6.5 m); the frame says so."""


def color_image(data: Bytes, encoding: str, width: int, height: int, step: int) -> ColorImage:
    """Pixels of a raw color image as (height, width, 3) uint8 RGB; rgb8 is a view of `data`, nothing is copied.

    Raises:
        ValueError: unknown encoding, or fewer bytes than the size needs.
    """
    name = encoding.lower()
    if name not in COLOR_BYTES:
        raise ValueError(f"color encoding {encoding} is not one of {', '.join(COLOR_BYTES)}")
    channels = COLOR_BYTES[name]
    rows = _rows(np.frombuffer(data, np.uint8), width * channels, height, step)
    pixels = rows.reshape(height, width, channels)
    if name == "rgb8":
        return pixels
    return np.asarray(cv2.cvtColor(pixels, _TO_RGB[name]), dtype=np.uint8)


def depth_image(data: Bytes, encoding: str, width: int, height: int, step: int, *, big: bool = False) -> DepthImage:
    """Pixels of a raw depth image as (height, width) uint16 in the recording's unit; float metres in 0.1 mm.

    Raises:
        ValueError: unknown encoding, or fewer bytes than the size needs.
    """
    name = encoding.lower()
    if name not in DEPTH_BYTES:
        raise ValueError(f"depth encoding {encoding} is not one of {', '.join(DEPTH_BYTES)}")
    rows = _rows(np.frombuffer(data, np.uint8), width * DEPTH_BYTES[name], height, step)
    if name == "32fc1":
        return depth_from_metres(np.ascontiguousarray(rows).view(">f4" if big else "<f4"))
    depth = np.require(rows.view(">u2" if big else "<u2"), dtype=np.uint16, requirements=["C", "A"])
    return depth.reshape(height, width)


def depth_from_metres(metres: NDArray[np.float32]) -> DepthImage:
    """Float metres as uint16 in `FLOAT_DEPTH_UNIT_M`; not finite, negative and too far all become 0 = no data."""
    units = np.rint(np.nan_to_num(metres, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float64) / FLOAT_DEPTH_UNIT_M)
    return np.where((units > 0) & (units <= 65535), units, 0).astype(np.uint16)


def decode_png(data: Bytes, role: str) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """A PNG or JPEG as stored: RGB8 for 'color', uint16 for 'depth'.

    Raises:
        ValueError: when it does not decode or has another depth.
    """
    flag = cv2.IMREAD_COLOR_RGB if role == "color" else cv2.IMREAD_UNCHANGED
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flag) if len(data) else None
    if image is None:
        raise ValueError(f"a {role} image of {len(data)} bytes does not decode")
    if role == "depth" and (image.dtype != np.uint16 or image.ndim != 2):
        raise ValueError(f"a depth image is {image.dtype} {image.shape}, expected 16-bit with one channel")
    return image.astype(np.uint16, copy=False) if role == "depth" else image.astype(np.uint8, copy=False)


def _rows(flat: NDArray[np.uint8], row_bytes: int, height: int, step: int) -> NDArray[np.uint8]:
    """(height, row_bytes) view without the padding at the end of each row."""
    step = step or row_bytes
    if step < row_bytes or len(flat) < step * (height - 1) + row_bytes:
        raise ValueError(f"an image of {height} rows of {row_bytes} bytes has only {len(flat)} bytes, step {step}")
    if step == row_bytes:
        return flat[: row_bytes * height].reshape(height, row_bytes)
    padded = np.zeros(step * height, np.uint8)
    padded[: min(len(flat), step * height)] = flat[: step * height]
    return np.ascontiguousarray(padded.reshape(height, step)[:, :row_bytes])
