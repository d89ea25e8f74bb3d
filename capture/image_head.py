"""What a PNG or JPEG says of its size, read before it is decoded: decoders take memory and seconds on its word."""

from __future__ import annotations

import struct
import zlib

LARGEST_PIXELS = 2**26
"""More than any camera's image; a damaged head asks for gigabytes."""
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_HEAD = b"\0\0\0\rIHDR"
_JPEG = b"\xff\xd8"
_NO_FRAME = frozenset({0xC4, 0xC8, 0xCC})
"""JPEG markers among those of frames (C0 to CF) that begin something else."""
_DEFLATE_AT_MOST = 1032
"""Bytes that one byte of deflate can become: a match of 258 takes two bits."""
_JPEG_PIXELS_PER_BYTE = 512
"""What no JPEG surpasses: a block of 8x8 takes one bit at least."""
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""By the head's color type."""


def check_head(data: bytes | bytearray | memoryview) -> None:
    """Let pass what can be decoded in an image's time and memory; other formats are left to the decoder.

    Raises:
        ValueError: a size that no camera has, more pixels than so few bytes can hold, or a part that reaches beyond
            the data.
    """
    if data[:8] == _PNG:
        (width, height), most = _png_size(data)
    elif data[:2] == _JPEG:
        (width, height), most = _jpeg_size(data), _JPEG_PIXELS_PER_BYTE * len(data)
    else:
        return
    if width * height > LARGEST_PIXELS:
        raise ValueError(f"an image of {width}x{height} pixels is not a camera's; its head is damaged")
    if width * height > most:
        raise ValueError(f"an image of {width}x{height} pixels is not in {len(data)} bytes; its head is damaged")


def _png_size(data: bytes | bytearray | memoryview) -> tuple[tuple[int, int], int]:
    """Width and height of a PNG whose parts all lie within the data, and how many pixels these can hold at most.

    Old decoders take any memory for a head that its checksum denies, or for pixels that never come.
    """
    head = bytes(data[8:33])
    if len(head) < 25 or head[:8] != _PNG_HEAD or zlib.crc32(head[4:21]) != int.from_bytes(head[21:], "big"):
        raise ValueError(f"a PNG of {len(data)} bytes with a damaged head")
    width, height, bits, color_type = struct.unpack_from(">IIBB", head, 8)
    position, has_pixels = 33, False
    while position + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        if position + 12 + length > len(data):
            raise ValueError(f"a chunk of {length} bytes at byte {position} of a PNG of {len(data)} bytes")
        has_pixels |= kind == b"IDAT"
        if kind == b"IEND":
            break
        position += 12 + length
    if not has_pixels:
        raise ValueError(f"a PNG of {len(data)} bytes without pixels")
    pixel_bits = max(bits, 1) * _PNG_CHANNELS.get(color_type, 1)
    return (width, height), 8 * _DEFLATE_AT_MOST * len(data) // pixel_bits


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
