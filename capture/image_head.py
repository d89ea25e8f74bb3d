"""What a PNG or JPEG says of its size, read before it is decoded: decoders take memory and seconds on its word."""

from __future__ import annotations

import struct

LARGEST_PIXELS = 2**26
"""More than any camera's image; a damaged head asks for gigabytes."""
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
_NO_FRAME = frozenset({0xC4, 0xC8, 0xCC})
"""JPEG markers among those of frames (C0 to CF) that begin something else."""


def check_head(data: bytes | bytearray | memoryview) -> None:
    """Let pass what can be decoded in an image's time and memory; other formats are left to the decoder.

    Raises:
        ValueError: a size that no camera has, or a part that reaches beyond the data.
    """
    if data[:8] == _PNG:
        size = _png_size(data)
    elif data[:2] == _JPEG:
        size = _jpeg_size(data)
    else:
        return
    if size[0] * size[1] > LARGEST_PIXELS:
        raise ValueError(f"an image of {size[0]}x{size[1]} pixels is not a camera's; its head is damaged")


def _png_size(data: bytes | bytearray | memoryview) -> tuple[int, int]:
    """Width and height of a PNG whose chunks all lie within the data."""
    position, size = 8, (0, 0)
    while position + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        if position + 12 + length > len(data):
            raise ValueError(f"a chunk of {length} bytes at byte {position} of a PNG of {len(data)} bytes")
        if kind == b"IHDR" and length >= 8:
            size = struct.unpack_from(">II", data, position + 8)
        if kind == b"IEND":
            break
        position += 12 + length
    return size


def _jpeg_size(data: bytes | bytearray | memoryview) -> tuple[int, int]:
    """Width and height of a JPEG's first frame; (0, 0) where none is found before the pixels."""
    position = 2
    while position + 9 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME:
            height, width = struct.unpack_from(">HH", data, position + 5)
            return width, height
        position += 1 if marker == 0xFF else 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return 0, 0
