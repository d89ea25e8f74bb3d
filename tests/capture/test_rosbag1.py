"""The bag container: every compression, whole and cut, on real and written files."""

from __future__ import annotations

import struct
from pathlib import Path

import lz4.frame
import numpy as np
import pytest

from sfam.capture.lz4_frames import lz4_prefix, unpack_lz4
from sfam.capture.rosbag1 import FRONT, Rosbag1
from sfam.capture.rosbag1_records import Connection, parse_fields
from sfam.capture.source import SourceError
from tests.capture.bag_writer import BagWriter, fields, record
from tests.shared_data import shared


def everything(_: Connection) -> bool:
    return True


def filled(compression: str) -> BagWriter:
    writer = BagWriter(compression)
    for number in range(6):
        writer.add("/a", "std_msgs/UInt32", struct.pack("<I", number), time_ns=number)
        writer.add("/b", "std_msgs/UInt32", struct.pack("<I", 100 + number) + bytes(3000), time_ns=number)
        if number % 2:
            writer.end_chunk()
    return writer


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize("compression", ["none", "lz4", "bz2"])
def test_messages_come_in_file_order_with_and_without_index(tmp_path: Path, compression: str, indexed: bool) -> None:
    bag = Rosbag1(filled(compression).save(tmp_path / "a.bag", indexed=indexed))
    got = [(one.topic, time, struct.unpack_from("<I", data)[0]) for one, time, data in bag.messages(everything)]
    assert got == [(topic, n, n + add) for n in range(6) for topic, add in (("/a", 0), ("/b", 100))]
    assert (bag.index is not None) == indexed
    assert bag.damage is None
    assert (bag.index_damage or "").startswith("unindexed") == (not indexed)
    bag.close()


def test_only_wanted_topics_are_given(tmp_path: Path) -> None:
    bag = Rosbag1(filled("lz4").save(tmp_path / "a.bag"))
    assert {one.topic for one, _, _ in bag.messages(lambda one: one.topic == "/b")} == {"/b"}


def test_of_a_topic_only_messages_with_a_wanted_front_are_given(tmp_path: Path) -> None:
    writer = BagWriter()
    texts = [b"exposure time", b"exposure gain", b"short", b"exposure timing"]
    for number, text in enumerate(texts):
        writer.add("/a", "std_msgs/String", struct.pack("<I", len(text)) + text, time_ns=number)
        writer.add("/b", "std_msgs/String", struct.pack("<I", 1) + b"x", time_ns=number)
    bag = Rosbag1(writer.save(tmp_path / "a.bag"))
    front = (bytes(4) + texts[0])[FRONT]
    assert front == b"exposure ti"
    found = bag.messages(lambda one: frozenset((front,)) if one.topic == "/a" else False)
    assert [time for _, time, _ in found] == [0, 3]
    assert bag.damage is None


@pytest.mark.parametrize("compression", ["none", "lz4", "bz2"])
def test_a_cut_file_gives_a_prefix_of_the_messages_wherever_it_is_cut(tmp_path: Path, compression: str) -> None:
    whole = filled(compression).save(tmp_path / "whole.bag")
    expected = [bytes(data) for _, _, data in Rosbag1(whole).messages(everything)]
    content = whole.read_bytes()
    counts = []
    for size in range(4200, len(content), max(1, (len(content) - 4200) // 60)):
        cut = tmp_path / "cut.bag"
        cut.write_bytes(content[:size])
        bag = Rosbag1(cut)
        got = [bytes(data) for _, _, data in bag.messages(everything)]
        assert got == expected[: len(got)]
        assert (bag.index_damage or "").startswith("truncated")
        counts.append(len(got))
        bag.close()
    assert counts == sorted(counts)
    assert counts[0] < 2
    assert counts[-1] == 12


def test_a_flipped_bit_is_found_where_checksums_are_compared(tmp_path: Path) -> None:
    writer = BagWriter("lz4")
    writer.add("/a", "std_msgs/UInt32", bytes(range(256)) * 3)
    path = writer.save(tmp_path / "a.bag")
    content = bytearray(path.read_bytes())
    content[content.index(bytes(range(20, 200))) + 90] ^= 1
    path.write_bytes(bytes(content))
    bag = Rosbag1(path)
    assert len(list(bag.messages(everything))) == 1
    assert bag.damage is None
    bag.verify = True
    assert list(bag.messages(everything)) == []
    assert bag.damage is not None


@pytest.mark.parametrize("block", [4, 5, 7])
@pytest.mark.parametrize("linked", [True, False])
@pytest.mark.parametrize("checksums", [True, False])
def test_quick_and_checked_unpacking_give_the_same(block: int, linked: bool, checksums: bool) -> None:
    rng = np.random.default_rng(4)
    data = rng.integers(0, 4, 300_000, np.uint8).tobytes() + rng.bytes(100_000)
    stored = memoryview(
        lz4.frame.compress(
            data,
            block_size=block,
            block_linked=linked,
            content_checksum=True,
            block_checksum=checksums,
            store_size=linked,
        )
    )
    for verify in (True, False):
        assert unpack_lz4(stored, len(data), verify=verify) == data
    assert len(unpack_lz4(stored[:200_000], len(data), verify=False)) < len(data)


def test_a_chunk_that_does_not_decompress_ends_the_walk_and_is_named(tmp_path: Path) -> None:
    writer = filled("lz4")
    path = writer.save(tmp_path / "a.bag")
    content = bytearray(path.read_bytes())
    second = writer.infos[1][0]
    content[second + 100 : second + 140] = bytes(40)
    path.write_bytes(bytes(content))
    bag = Rosbag1(path)
    assert len(list(bag.messages(everything))) == 4
    assert bag.damage is not None
    assert str(second) in bag.damage


def test_zeros_behind_the_last_record_are_damage_not_an_endless_walk(tmp_path: Path) -> None:
    path = filled("none").save(tmp_path / "a.bag", indexed=False)
    path.write_bytes(path.read_bytes() + bytes(10_000))
    bag = Rosbag1(path)
    assert len(list(bag.messages(everything))) == 12
    assert bag.damage is not None


def test_message_headers_in_another_field_order_are_read_too(tmp_path: Path) -> None:
    writer = BagWriter()
    writer.add("/a", "std_msgs/UInt32", b"1234")
    head = fields(op=b"\x02", time=struct.pack("<II", 2, 5), conn=struct.pack("<I", 0))
    writer.chunk += record(head, b"5678")
    bag = Rosbag1(writer.save(tmp_path / "a.bag"))
    assert [(time, bytes(data)) for _, time, data in bag.messages(everything)] == [
        (1, b"1234"),
        (2_000_000_005, b"5678"),
    ]


@pytest.mark.parametrize(("shift", "more"), [(1, 0), (-1, 0), (-1000, 0), (1 << 40, 0), (0, 1), (0, 250), (0, 1 << 31)])
def test_an_index_that_is_wrong_about_a_chunk_does_not_lose_messages(tmp_path: Path, shift: int, more: int) -> None:
    writer = filled("none")
    position, counts = writer.infos[1]
    writer.infos[1] = position + shift, {number: count + more for number, count in counts.items()}
    bag = Rosbag1(writer.save(tmp_path / "a.bag"))
    assert bag.index is not None
    assert len(list(bag.messages(everything))) == 12
    assert bag.damage is None


def test_index_records_between_chunks_are_not_needed(tmp_path: Path) -> None:
    writer = filled("none")
    path = writer.save(tmp_path / "a.bag")
    content = bytearray(path.read_bytes())
    second = writer.infos[1][0]
    content[second - 30 : second] = bytes(30)
    path.write_bytes(bytes(content))
    bag = Rosbag1(path)
    assert len(list(bag.messages(everything))) == 12
    assert bag.damage is None


def test_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "old.bag"
    path.write_bytes(b"#ROSBAG V1.2\n" + bytes(100))
    with pytest.raises(SourceError, match=r"2\.0"):
        Rosbag1(path)


def test_a_field_may_hold_an_equals_sign() -> None:
    assert parse_fields(fields(topic=b"/a=b", op=b"=")) == {"topic": b"/a=b", "op": b"="}


def test_the_front_of_a_compressed_chunk_equals_what_the_library_gives() -> None:
    bag = Rosbag1(shared("recordings/face_a.bag"))
    seen = 0
    for chunk in bag.chunks():
        whole = bytes(bag.unpack(chunk))
        with bag.path.open("rb") as file:
            file.seek(chunk.start)
            stored = memoryview(file.read(chunk.stored))
        for length in (1, 60, 700, 5000):
            assert lz4_prefix(stored, length) == whole[:length]
        assert lz4_prefix(stored[:40], 5000) is None
        seen += 1
        if seen == 12:
            break
    assert seen == 12
