"""LZ4 frames as chunks of a bag hold them: whole, or only the first bytes."""

from __future__ import annotations

import struct

MAGIC = b"\x04\x22\x4d\x18"
_BLOCK_BYTES = {4: 64 << 10, 5: 256 << 10, 6: 1 << 20, 7: 4 << 20}


def unpack_lz4(stored: memoryview, size: int, *, verify: bool) -> bytes:
    """Decompress an LZ4 frame into exactly `size` bytes, or what a cut one still gives.

    Args:
        stored: the frame.
        size: bytes once decompressed.
        verify: compare the checksum of a whole frame, which costs several times the decoding itself.

    Raises:
        RuntimeError: when it does not decompress.
    """
    import lz4.frame

    if verify:
        return bytes(lz4.frame.decompress(stored))
    quick = _unpack_blocks(stored, size)
    if quick is not None:
        return quick
    context = lz4.frame.create_decompression_context()
    data, _, _ = lz4.frame.decompress_chunk(context, stored, max_length=size)
    return bytes(data)


def _unpack_blocks(stored: memoryview, size: int) -> bytes | None:
    """The blocks of a frame, straight into place; None for a frame of another than the plain form."""
    import lz4.block

    flags = stored[4] if len(stored) > 6 and bytes(stored[:4]) == MAGIC else 0
    if flags & 0xF3 != 0x60 or stored[5] >> 4 not in _BLOCK_BYTES:  # version 1, independent, no block checksums
        return None
    largest = _BLOCK_BYTES[stored[5] >> 4]
    position, parts, left = 7 + (8 if flags & 0x08 else 0), [], size
    while left > 0:
        if position + 4 > len(stored):
            return None
        (length,) = struct.unpack_from("<I", stored, position)
        block = stored[position + 4 : position + 4 + (length & 0x7FFFFFFF)]
        if not length or len(block) < length & 0x7FFFFFFF:
            return None
        expected = min(left, largest)
        try:
            part = bytes(block) if length >> 31 else lz4.block.decompress(block, uncompressed_size=expected)
        except lz4.block.LZ4BlockError as error:
            raise RuntimeError(f"an LZ4 block does not decompress: {error}") from error
        if len(part) != expected:
            raise RuntimeError(f"an LZ4 block gives {len(part)} bytes, {expected} were recorded")
        parts.append(part)
        left -= expected
        position += 4 + len(block)
    return parts[0] if len(parts) == 1 else b"".join(parts)


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
