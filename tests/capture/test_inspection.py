"""What `inspect` says of every reference file, shallow and deep, and what it costs on a huge one."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.fuzz_readers import Peak
from sfam.capture.config import CaptureConfig
from sfam.capture.frame import ClockDomain
from sfam.capture.inspection import inspect
from sfam.capture.recording_source import RecordingSource
from sfam.capture.ros1 import image_header
from tests.capture.bag_writer import COLOR, BagWriter, image
from tests.capture.huge_db3 import huge_db3, huge_ros_db3
from tests.capture.huge_files import huge_mcap, huge_mkv
from tests.capture.huge_own_mcap import huge_own_mcap
from tests.capture.test_recording import READ, REFUSED, SET
from tests.shared_data import shared

KEYS = ["container", "writer", "duration_s", "pairs", "recovered", "depth_unit_m"]
KEYS += ["gaps", "duplicates", "warnings", "streams", "fps", "clock_domain", "segments"]


@pytest.mark.parametrize("name", READ)
def test_the_report_agrees_with_the_manifest(name: str) -> None:
    entry, report = READ[name], inspect(SET / name, deep=True)
    content = json.loads(json.dumps(report.to_json()))
    expect = entry["expect"]
    assert list(content) == KEYS
    assert report.error is None
    assert content["pairs"] == expect.get("pairs", 0)
    assert content["gaps"] == expect.get("gaps", [])
    assert content["duplicates"] == expect.get("duplicates", [])
    assert content["fps"] is None or content["fps"] == pytest.approx(entry["streams"]["color"]["fps"], rel=0.05)
    assert content["clock_domain"] in ("hardware", "global", "system", "file")
    assert content["recovered"] == ("warning" in expect)
    assert any(expect.get("warning", "") in warning for warning in content["warnings"]) == ("warning" in expect)
    assert report.segments == len(expect.get("segments", [0])) if "segments" in expect else True
    hashes = {one["sha256"]: one for one in content["streams"] if one["sha256"]}
    wanted = expect.get("sha256_of_these_frames") or {key: one["sha256"] for key, one in entry["fed"].items()}
    assert len(hashes) == 2
    assert set(hashes) <= set(wanted.values())
    for side in ("depth", "color"):
        (stream,) = [one for one in hashes.values() if ("depth" in one["name"]) == (side == "depth")]
        if "aligned" not in stream["name"]:
            assert [stream["width"], stream["height"]] == entry["streams"][side]["size"]


@pytest.mark.parametrize("name", READ)
def test_shallow_and_deep_agree_in_everything_but_the_hashes(name: str) -> None:
    shallow, deep = inspect(SET / name).to_json(), inspect(SET / name, deep=True).to_json()
    for one in (*shallow["streams"], *deep["streams"]):
        del one["sha256"]
    assert shallow == deep


@pytest.mark.parametrize("name", REFUSED)
def test_a_useless_file_still_gets_a_report(name: str) -> None:
    report = inspect(SET / name)
    assert report.error is not None
    assert REFUSED[name]["expect"]["error"] in report.error
    content = report.to_json()
    assert list(content) == KEYS
    assert content["pairs"] == 0
    assert report.error in content["warnings"]


def test_a_color_only_bag_lists_its_stream() -> None:
    (stream,) = inspect(shared("recordings/odd_no_depth.bag")).streams
    assert (stream.name, stream.frames, stream.width, stream.height) == ("color", 5, 640, 480)


def test_both_streams_without_a_pair_is_no_error() -> None:
    report = inspect(shared("recordings/realsense_d435_real.bag"))
    assert (report.pairs, report.error) == (0, None)
    assert {one.name: one.frames for one in report.streams} == {"depth": 2, "color": 1}


def test_one_lost_frame_is_a_gap_and_jitter_is_not(tmp_path: Path) -> None:
    writer = BagWriter()
    writer.head()
    rng = np.random.default_rng(3)
    for k in [*range(10), *range(11, 20)]:
        writer.pair(k, k * 33_000_000 + int(rng.integers(-2_000_000, 2_000_000)))
    report = inspect(writer.save(tmp_path / "a.bag"))
    assert [gap.after_index for gap in report.gaps] == [9]


def test_depth_has_a_rate_a_clock_and_gaps_of_its_own(tmp_path: Path) -> None:
    writer = BagWriter()
    writer.head()
    for k in range(20):
        if k == 10:  # its depth image is missing
            color = image(k, k * 33_000_000, bytes(6 * 8 * 3), 8, 6, "rgb8", 24)
            writer.add(f"{COLOR}/image/data", "sensor_msgs/Image", color)
        else:
            writer.pair(k, k * 33_000_000)
    report = inspect(writer.save(tmp_path / "a.bag"))
    assert report.gaps == ()
    streams = {stream.name: stream for stream in report.streams}
    assert [(gap.after_index, gap.ms) for gap in streams["depth"].gaps] == [(9, 66)]
    assert streams["color"].gaps == ()
    for stream in streams.values():
        assert stream.fps == pytest.approx(30.3, abs=0.01)
        assert stream.clock_domain is ClockDomain.HARDWARE
    [told] = [one for one in report.to_json()["streams"] if one["name"] == "depth"]
    assert (told["gaps"], told["clock_domain"]) == ([{"after_index": 9, "ms": 66}], "hardware")


SCRAMBLED = [
    "small_2.56.5_uncompressed.bag",
    "realsense_d435_real.bag",
    "small_2.59.1_raw.db3",
    "ros2_realsense.mcap",
    "kinect_azure.mkv",
]


@pytest.mark.parametrize("seed", range(16))
@pytest.mark.parametrize("name", SCRAMBLED)
def test_scrambled_files_end_in_a_report_never_in_a_crash(tmp_path: Path, name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    content = np.frombuffer(shared(f"recordings/{name}").read_bytes(), np.uint8).copy()
    at = int(rng.integers(len(content) if seed % 2 else 8000))
    if seed % 4 == 0:
        content = content[: max(at, 16)]
    elif seed % 4 == 3:
        content[at : at + 4096] = 0
    else:
        content[at : at + int(rng.choice([1, 4, 40]))] = rng.integers(0, 256)
    path = tmp_path / name
    path.write_bytes(content.tobytes())
    for deep in (False, True):
        report = inspect(path, deep=deep)
        assert report.error is None or report.error in report.warnings


def huge_bag(path: Path, gigabytes: int) -> int:
    """An indexed, uncompressed bag whose pixels are holes in the file; returns its number of pairs."""
    writer = BagWriter()
    writer.head(size=(848, 480))
    writer.end_chunk()
    writer.pair(0, 0, size=(848, 480))
    chunk, entries = writer.chunk, sorted(offset for some in writer.entries.values() for _, offset in some)
    before = len(writer.body)
    writer.end_chunk()
    template, writer.body = writer.body[before:], writer.body[:before]
    start = template.index(chunk)
    images = []
    for offset in entries:
        data = start + offset + 46  # behind the header of a message record
        size = int.from_bytes(template[data - 4 : data], "little")
        if size > 100_000:
            images.append((data, image_header(template[data : data + 200])[2]))
    counts = writer.infos.pop()[1]
    position, pairs = 4117 + len(writer.body), 0
    with path.open("wb") as file:
        while position < gigabytes * 10**9:
            done = 0
            for data, form in images:
                file.seek(position + done)
                file.write(template[done:data] + struct.pack("<III", pairs, *divmod(pairs * 33_333_333, 10**9)))
                file.write(template[data + 12 : data + form.start])
                done = data + form.start + form.size
            file.seek(position + done)
            file.write(template[done:])
            writer.infos.append((position, counts))
            position += len(template)
            pairs += 1
        file.write(writer.index())
        file.seek(0)
        file.write(writer.front(position) + writer.body)
    return pairs


@pytest.mark.parametrize("write", [huge_bag, huge_db3, huge_ros_db3, huge_mcap, huge_own_mcap, huge_mkv])
def test_ten_gigabytes_are_opened_in_a_moment_and_little_memory(
    tmp_path: Path, write: Callable[[Path, int], int]
) -> None:
    path = tmp_path / "huge"
    pairs = write(path, 10)
    assert path.stat().st_size > 10 * 10**9
    assert path.stat().st_blocks * 512 < 300 * 10**6, "not so sparse that every machine has room for it"
    memory = Peak()
    began = time.process_time()
    report = inspect(path)
    inspected_s, inspected_bytes = time.process_time() - began, memory.taken()
    began = time.process_time()
    with RecordingSource(CaptureConfig(camera=str(path))) as source:
        opened_s, opened_bytes = time.process_time() - began, memory.taken()
        first = next(iter(source.frames()))
    assert report.error is None
    assert (report.pairs, report.gaps, report.duplicates) == (pairs, (), ())
    assert source.info.frames == (None if write is huge_mkv else pairs)  # a Matroska file counts nothing
    assert first.depth.ndim == 2
    assert max(inspected_bytes, opened_bytes) < 50 * 2**20
    assert opened_s < 1
    assert inspected_s < 2


def test_a_recording_that_lies_whole_in_the_systems_memory_does_not_enter_that_of_the_process(tmp_path: Path) -> None:
    path = tmp_path / "own.mcap"
    huge_own_mcap(path, 0.15)
    path.write_bytes(path.read_bytes())  # no holes, and every page of it is at hand
    memory = Peak()
    assert inspect(path).error is None
    with RecordingSource(CaptureConfig(camera=str(path))):
        assert memory.taken() < 50 * 2**20
