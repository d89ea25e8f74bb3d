"""LZ4 frames as chunks of a bag hold them: whole, or only the first bytes."""

from __future__ import annotations

import struct

MAGIC = b"\x04\x22\x4d\x18"


def unpack_lz4(stored: memoryview, size: int) -> bytes:
    """Decompress an LZ4 frame into exactly `size` bytes, or what a cut one still gives."""
    import lz4.frame

    # the size is known from the record: one allocation, twice as fast as lz4.frame.decompress on these bags
    context = lz4.frame.create_decompression_context()
    data, _, _ = lz4.frame.decompress_chunk(context, stored, max_length=size)
    return bytes(data)


def lz4_prefix(stored: memoryview, length: int) -> bytes | None:
    """The first `length` bytes of an LZ4 frame without decoding its first block to the end.

    The library decodes whole blocks (1 MB in these bags); to look at one image header that would cost as much as
    reading the image. Returns None where the frame is not of the plain form, is cut, or its first block is shorter.
    Format: github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md
    """
    if len(stored) < 11 or bytes(stored[:4]) != MAGIC or stored[4] & 0x01:
        return None
    start = 7 + (8 if stored[4] & 0x08 else 0)
    (size,) = struct.unpack_from("<I", stored, start)
    if size & 0x80000000:
        return bytes(stored[start + 4 : start + 4 + length]) if size & 0x7FFFFFFF >= length else None
    return _lz4_block_prefix(stored[start + 4 : start + 4 + min(size, 4 * length + 64)], length)


def _lz4_block_prefix(block: memoryview, length: int) -> bytes | None:
    """Sequences of literals and matches until `length` bytes stand."""
    out = bytearray()
    position = 0
    try:
        while len(out) < length:
            token = block[position]
            literals, position = _lz4_length(block, position + 1, token >> 4)
            out += block[position : position + literals]
            position += literals
            if len(out) >= length:
                break
            offset = block[position] | block[position + 1] << 8
            matched, position = _lz4_length(block, position + 2, token & 15, length)
            matched = min(matched + 4, length)  # one match may run through the whole image
            if offset == 0 or offset > len(out):
                return None
            tail = bytes(out[-offset:])
            out += (tail * (matched // offset + 1))[:matched] if offset < matched else tail[:matched]
    except IndexError:
        return None
    return bytes(out[:length])


def _lz4_length(block: memoryview, position: int, length: int, enough: int | None = None) -> tuple[int, int]:
    """A length that goes on in further bytes when its nibble is full, followed until it is `enough`."""
    if length == 15:
        while enough is None or length < enough:
            more = block[position]
            position += 1
            length += more
            if more != 255:
                break
    return length, position
