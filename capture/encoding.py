"""Pixel encodings of recordings, under the names that ROS and the RealSense SDK give them, to RGB8 and uint16."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .frame import ColorImage, DepthImage
from .image_head import check_head

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
_BYTE, _WORD, _BIG_WORD = np.dtype(np.uint8), np.dtype("<u2"), np.dtype(">u2")
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
    pixels = _pixels(data, (height, width, channels), _BYTE, width * channels, step)
    if name == "rgb8":
        return pixels
    return np.asarray(cv2.cvtColor(pixels, _TO_RGB[name]), dtype=np.uint8)


def depth_image(data: Bytes, encoding: str, width: int, height: int, step: int, *, big: bool = False) -> DepthImage:
    """Pixels of a raw depth image as (height, width) uint16 in the recording's unit; float metres in 0.1 mm.

    A view of `data` where that holds the same values, also where it begins at an odd address.

    Raises:
        ValueError: unknown encoding, or fewer bytes than the size needs.
    """
    name = encoding.lower()
    if name not in DEPTH_BYTES:
        raise ValueError(f"depth encoding {encoding} is not one of {', '.join(DEPTH_BYTES)}")
    if name == "32fc1":
        return depth_from_metres(_pixels(data, (height, width), np.dtype(">f4" if big else "<f4"), 4 * width, step))
    depth = _pixels(data, (height, width), _BIG_WORD if big else _WORD, 2 * width, step)
    return depth if depth.dtype.isnative else depth.astype(np.uint16)


def depth_from_metres(metres: NDArray[np.float32]) -> DepthImage:
    """Float metres as uint16 in `FLOAT_DEPTH_UNIT_M`; not finite, negative and too far all become 0 = no data."""
    units = np.rint(np.nan_to_num(metres, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float64) / FLOAT_DEPTH_UNIT_M)
    return np.where((units > 0) & (units <= 65535), units, 0).astype(np.uint16)


def decode_png(data: Bytes, role: str) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """A PNG or JPEG as stored: RGB8 for 'color', uint16 for 'depth'.

    Raises:
        ValueError: when it does not decode, has another depth, or its head is damaged.
    """
    check_head(data)
    flag = cv2.IMREAD_COLOR if role == "color" else cv2.IMREAD_UNCHANGED
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flag) if len(data) else None
    if image is None:
        raise ValueError(f"a {role} image of {len(data)} bytes does not decode")
    if role == "color":
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
    if role == "depth" and (image.dtype != np.uint16 or image.ndim != 2):
        raise ValueError(f"a depth image is {image.dtype} {image.shape}, expected 16-bit with one channel")
    return image.astype(np.uint16, copy=False)


def _pixels(data: Bytes, shape: tuple[int, ...], kind: np.dtype[Any], row_bytes: int, step: int) -> NDArray[Any]:
    """An image without the padding at the end of its rows; a view of `data` where there is none."""
    height = shape[0]
    step = step or row_bytes
    if step < row_bytes or len(data) < step * (height - 1) + row_bytes:
        raise ValueError(f"an image of {height} rows of {row_bytes} bytes has only {len(data)} bytes, step {step}")
    if step == row_bytes:
        # not `np.ndarray`, which keeps no hold on the buffer: the file's map could be closed under the image
        return np.frombuffer(data, kind, row_bytes * height // kind.itemsize).reshape(shape)
    padded = np.zeros(step * height, np.uint8)
    padded[: min(len(data), step * height)] = np.frombuffer(data, np.uint8)[: step * height]
    return np.ascontiguousarray(padded.reshape(height, step)[:, :row_bytes]).view(kind).reshape(shape)


@dataclass(frozen=True, slots=True)
class Payload:
    """The pixels of a ROS image message, raw (`encoding`, size, step) or compressed (`format`)."""

    data: Bytes
    encoding: str = ""
    format: str = ""
    width: int = 0
    height: int = 0
    step: int = 0
    big_endian: bool = False


def decode_payload(payload: Payload, role: str) -> ColorImage | DepthImage:
    """An image message's pixels as RGB8 or uint16, whatever its form; read-only.

    Raises:
        ValueError: when it does not decode, or its form is not known.
    """
    if payload.format:
        image = _decode_compressed(payload, role)
    elif role == "depth":
        image = depth_image(
            payload.data, payload.encoding, payload.width, payload.height, payload.step, big=payload.big_endian
        )
    else:
        image = color_image(payload.data, payload.encoding, payload.width, payload.height, payload.step)
    image.flags.writeable = False
    return image


def _decode_compressed(payload: Payload, role: str) -> ColorImage | DepthImage:
    """A CompressedImage; formats read like '16UC1; compressedDepth png' or 'rgb8; jpeg compressed bgr8'."""
    parts = [part.strip() for part in payload.format.split(";")]
    if "zstd" in parts[1:]:
        return _decode_zstd(payload, parts, role)
    if role == "depth" and "compressedDepth" in payload.format:
        if "rvl" in payload.format.lower():
            raise ValueError(f"depth compressed as {payload.format!r} is not read; record it as PNG or raw")
        return _decode_compressed_depth(payload.data, parts[0])
    return decode_png(payload.data, role)


def _decode_zstd(payload: Payload, parts: list[str], role: str) -> ColorImage | DepthImage:
    """Raw pixels under zstd, as the RealSense SDK packs what PNG cannot hold: 'YUYV; zstd; 640x480 step=1280'."""
    import zstandard

    size = re.search(r"(\d+)x(\d+)(?: step=(\d+))?", parts[-1])
    if size is None:
        raise ValueError(f"a zstd image says {payload.format!r}, without its size")
    width, height, step = (int(one or 0) for one in size.groups())
    try:
        data = zstandard.ZstdDecompressor().decompressobj().decompress(bytes(payload.data))
    except zstandard.ZstdError as error:
        raise ValueError(f"a zstd image does not decompress: {error}") from error
    decode = depth_image if role == "depth" else color_image
    return decode(data, parts[0], width, height, step)


def _decode_compressed_depth(data: Bytes, encoding: str) -> DepthImage:
    """PNG behind a 12-byte header; for float depth the header says how it was quantised.

    metres = a / (stored - b) after compressed_depth_image_transport.
    """
    if len(data) < 12:
        raise ValueError(f"a compressed depth image has {len(data)} bytes")
    _, a, b = struct.unpack_from("<iff", data)
    stored = np.asarray(decode_png(memoryview(data)[12:], "depth"), np.uint16)
    if encoding.lower() != "32fc1" or a == 0:
        return stored
    with np.errstate(divide="ignore", invalid="ignore"):
        metres = np.where(stored > 0, np.float32(a) / (stored.astype(np.float32) - np.float32(b)), 0)
    return depth_from_metres(metres.astype(np.float32))
