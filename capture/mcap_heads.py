"""The first bytes of messages in an indexed mcap file, without reading the rest of them.

The index behind each chunk says where in the unpacked chunk a message begins. An uncompressed chunk is read there; a
compressed one is unpacked as far as its last message wanted. Layout: https://mcap.dev/spec
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

_CHUNK = struct.Struct("<BQQQQII")  # opcode, length, start, end, unpacked bytes, checksum, bytes of compression's name
_INDEX = struct.Struct("<BQHI")
_ENTRY = struct.Struct("<QQ")
_MESSAGE = struct.Struct("<BQHIQQ")
_CHUNK_OPCODE, _INDEX_OPCODE, _MESSAGE_OPCODE = 0x06, 0x07, 0x05
_PIECE = 64 * 1024
_LARGEST_INDEX = 2**26


def message_heads(file: BinaryIO, chunk: Any, topics: Mapping[int, str], size: int) -> Iterator[tuple[str, int, bytes]]:
    """(topic, log time in ns, first `size` bytes of the data) of some channels' messages in one chunk, in file order.

    Args:
        file: the mcap file, opened without a buffer.
        chunk: its chunk index record.
        topics: channel number -> topic of those wanted.
        size: bytes of each message.

    Raises:
        ValueError: where index and file do not agree.
    """
    places = {number: at for number, at in chunk.message_index_offsets.items() if number in topics}
    offsets = sorted(offset for number, at in places.items() for offset in _offsets(file, at, number))
    if not offsets:
        return
    opcode, _, _, _, unpacked, _, name = _CHUNK.unpack(_read(file, chunk.chunk_start_offset, _CHUNK.size))
    if opcode != _CHUNK_OPCODE or name > 16 or offsets[-1] >= unpacked:
        raise ValueError(f"the index names a chunk at byte {chunk.chunk_start_offset} that is not as it says")
    begin, one = chunk.chunk_start_offset + _CHUNK.size + name + 8, _MESSAGE.size + size
    need = min(offsets[-1] + one, unpacked)
    front = _front(file, begin, chunk.compressed_size, chunk.compression, need) if chunk.compression else b""
    for offset in offsets:
        found = front[offset : offset + one] if front else _read_some(file, begin + offset, one)
        if len(found) < _MESSAGE.size or found[0] != _MESSAGE_OPCODE:
            raise ValueError(f"the index names a message at byte {offset} of a chunk where there is none")
        _, length, number, _, time_ns, _ = _MESSAGE.unpack_from(found)
        if number in topics:
            yield topics[number], time_ns, found[_MESSAGE.size : 9 + length]


def _offsets(file: BinaryIO, position: int, number: int) -> Iterator[int]:
    """Where in its unpacked chunk each message of a channel begins."""
    opcode, _, channel, size = _INDEX.unpack(_read(file, position, _INDEX.size))
    if opcode != _INDEX_OPCODE or channel != number or size > _LARGEST_INDEX:
        raise ValueError(f"no message index of channel {number} at byte {position}")
    for _, offset in _ENTRY.iter_unpack(_read(file, position + _INDEX.size, size - size % _ENTRY.size)):
        yield offset


def _front(file: BinaryIO, position: int, stored: int, compression: str, need: int) -> bytes:
    """The first `need` bytes of a compressed chunk.

    Raises:
        ValueError: when it does not unpack so far, or its compression is unknown.
    """
    file.seek(position)
    if compression == "zstd":
        import zstandard

        try:
            with zstandard.ZstdDecompressor().stream_reader(file, read_size=_PIECE, closefd=False) as reader:
                front: bytes = reader.read(need)
        except zstandard.ZstdError as error:
            raise ValueError(f"the chunk at byte {position} does not decompress: {error}") from error
    elif compression == "lz4":
        front = _lz4_front(file, stored, need)
    else:
        raise ValueError(f"a chunk is compressed as {compression!r}, which is not known")
    if len(front) < need:
        raise ValueError(f"the chunk at byte {position} gives {len(front)} bytes, {need} were needed")
    return front


def _lz4_front(file: BinaryIO, stored: int, need: int) -> bytes:
    """The same of an LZ4 frame."""
    import lz4.frame

    unpacker, parts, done = lz4.frame.LZ4FrameDecompressor(), [], 0
    try:
        while done < need and stored > 0:
            piece = file.read(min(_PIECE, stored)) if unpacker.needs_input else b""
            stored -= len(piece)
            parts.append(unpacker.decompress(piece, need - done))
            done += len(parts[-1])
            if unpacker.eof or (not piece and not parts[-1]):
                break
        while done < need and not unpacker.eof and not unpacker.needs_input:
            parts.append(unpacker.decompress(b"", need - done))
            done += len(parts[-1])
            if not parts[-1]:
                break
    except (RuntimeError, EOFError) as error:
        raise ValueError(f"an LZ4 chunk does not decompress: {error}") from error
    return b"".join(parts)


def _read(file: BinaryIO, position: int, size: int) -> bytes:
    """Bytes at a position.

    Raises:
        ValueError: when the file ends before the last of them.
    """
    found = _read_some(file, position, size)
    if len(found) < size:
        raise ValueError(f"the file ends before byte {position + size}")
    return found


def _read_some(file: BinaryIO, position: int, size: int) -> bytes:
    """Bytes at a position, fewer at the end of the file."""
    if position < 0 or position > 1 << 62:
        raise ValueError(f"byte {position} is outside of any file")
    file.seek(position)
    return file.read(size)
