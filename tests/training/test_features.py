from __future__ import annotations

import csv
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from sfam.capture.config import CaptureConfig
from sfam.capture.source import open_source
from sfam.stream.analysis import Analysis
from sfam.stream.config import StreamConfig
from sfam.training import features
from sfam.training.dataset import DataSet, DataSetError, group_by_subject
from sfam.training.feature_set import read_features, write_features
from sfam.training.features import ClipTask, content_hash, measure_clip
from tests.training.stand_in import InThisProcess, tree

pytest.importorskip("openpyxl")
STREAM = StreamConfig()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    return tree(tmp_path_factory.mktemp("casme3"))


def only(data: DataSet, count: int) -> DataSet:
    return DataSet(data.name, group_by_subject(list(data.clips[:count])), data.findings)


def test_windows_are_those_of_the_live_code(data: DataSet, tmp_path: Path) -> None:
    run = write_features(only(data, 1), tmp_path, STREAM, InThisProcess())
    assert not run.failed
    clip = read_features(tmp_path)[0]
    source_clip = data.clips[0]
    analysis = Analysis(STREAM)
    with open_source(CaptureConfig(camera=str(source_clip.recording), depth_unit_m=0.001)) as source:
        live = [(frame.color_number - 1, window.maps.copy()) for frame in source.frames()
                for window in analysis.push(frame)]  # fmt: skip
    analysis.close()
    assert clip.frames.tolist() == [number for number, _ in live]
    assert np.array_equal(clip.maps[:], np.stack([maps for _, maps in live]))
    assert len(clip.maps) == len(live)
    assert clip.length == source_clip.intervals[-1].offset + 1
    assert clip.intervals == source_clip.intervals
    assert clip.apex_maps.shape == (1, 3, 42, 42)
    assert clip.apex_emotions == ("others",)
    assert np.abs(clip.apex_maps).max() > 0.3


def test_a_clip_is_measured_alike_whatever_was_measured_before_it(data: DataSet, tmp_path: Path) -> None:
    first, second = data.clips[:2]
    measure_clip(ClipTask(first, STREAM, tmp_path / "after"))
    after = measure_clip(ClipTask(second, STREAM, tmp_path / "after"))
    measure_clip(ClipTask(first, StreamConfig(window_ms=300), tmp_path / "other"))  # other settings: opened anew
    alone = measure_clip(ClipTask(second, STREAM, tmp_path / "alone"))
    assert after == alone
    for name in ("maps.npy", "frames.npy", "apex_maps.npy"):
        files = [tmp_path / where / "clips" / second.name / name for where in ("after", "alone")]
        assert files[0].read_bytes() == files[1].read_bytes(), name


def test_opencv_takes_the_threads_that_are_set(data: DataSet, tmp_path: Path) -> None:
    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    try:
        measure_clip(ClipTask(data.clips[0], STREAM, tmp_path))
        assert cv2.getNumThreads() == STREAM.opencv_threads == 1
    finally:
        cv2.setNumThreads(before)


def test_nothing_is_computed_twice_and_changes_are_noticed(
    data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = only(data, 1)
    first = write_features(part, tmp_path, STREAM, InThisProcess()).records[0]
    again = write_features(part, tmp_path, STREAM, InThisProcess()).records[0]
    assert (first.resumed, again.resumed) == (False, True)
    task = ClipTask(part.clips[0], STREAM, tmp_path)
    other_window = replace(task, stream=StreamConfig(window_ms=300))
    other_truth = replace(task, clip=replace(task.clip, intervals=()))
    assert len({content_hash(task), content_hash(other_window), content_hash(other_truth)}) == 3
    image = next((part.clips[0].recording / "color").iterdir())
    kept = image.read_bytes()
    image.write_bytes(kept + b"\0")
    assert content_hash(task) != first.content_hash
    image.write_bytes(kept)
    assert content_hash(task) == first.content_hash
    monkeypatch.setattr(features, "program_hash", lambda *rooms: f"another {rooms}")
    assert content_hash(task) != first.content_hash


def test_an_interrupted_clip_is_not_taken_for_whole(
    data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "replace", full)
        with pytest.raises(OSError, match="No space left"):
            measure_clip(ClipTask(data.clips[0], STREAM, tmp_path))
    assert list((tmp_path / "clips").iterdir()) == []
    with pytest.raises(DataSetError, match="no finished features"):
        read_features(tmp_path)


def test_what_a_killed_worker_left_half_written_is_removed(data: DataSet, tmp_path: Path) -> None:
    draft = tmp_path / "clips" / f".{data.clips[0].name}.123"
    draft.mkdir(parents=True)
    (draft / "maps.npy").write_bytes(b"half")
    write_features(only(data, 1), tmp_path, STREAM, InThisProcess())
    assert [path.name for path in (tmp_path / "clips").iterdir()] == [data.clips[0].name]


def test_bad_clips_are_reported_and_the_others_go_on(data: DataSet, tmp_path: Path) -> None:
    clips = list(data.clips)
    gone = replace(clips[1], recording=tmp_path / "gone")
    run = write_features(DataSet("x", group_by_subject([clips[0], gone])), tmp_path / "out", STREAM, InThisProcess())
    assert [record.video for record in run.records] == ["a"]
    assert "no such clip" in run.failed[gone.name]
    assert len(read_features(tmp_path / "out")) == 1


def test_unreadable_images_and_listed_ones_are_counted(tmp_path: Path) -> None:
    data = tree(tmp_path / "tree", subjects=1)
    clip = data.clips[0]
    images = sorted((clip.recording / "color").glob("*.jpg"), key=lambda path: int(path.stem))
    images[12].write_bytes(b"not an image")
    listed = replace(clip, unreadable=frozenset([int(images[18].stem) - 1]))
    record = measure_clip(ClipTask(listed, STREAM, tmp_path / "out"))
    assert record.dropped["unreadable_color"] == 1
    frames = np.load(tmp_path / "out" / "clips" / clip.name / "frames.npy")
    assert int(images[12].stem) - 1 not in frames
    assert int(images[18].stem) - 1 not in frames
    assert int(images[19].stem) - 1 in frames


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files as Linux shows them")
def test_a_read_corpus_keeps_no_file_open(data: DataSet, tmp_path: Path) -> None:
    write_features(data, tmp_path, STREAM, InThisProcess())
    before = len(os.listdir("/proc/self/fd"))
    clips = read_features(tmp_path)
    parts = [clip.maps[[1, 3]] for clip in clips]
    assert len(os.listdir("/proc/self/fd")) == before
    assert all(part.shape == (2, 3, 42, 42) for part in parts)
    (tmp_path / "clips" / data.clips[0].name / "maps.npy").unlink()
    with pytest.raises(DataSetError, match="run `sfam features` again"):
        clips[0].maps[0]


def test_the_index_lists_every_clip_and_a_lost_folder_is_named(data: DataSet, tmp_path: Path) -> None:
    write_features(data, tmp_path, STREAM, InThisProcess())
    with (tmp_path / "index.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [(row["subject"], row["video"]) for row in rows] == [("spNO.1", "a"), ("spNO.2", "a")]
    assert len((tmp_path / "findings.csv").read_text().splitlines()) == len(data.findings) + 1
    os.remove(tmp_path / "clips" / rows[0]["folder"] / "clip.json")
    with pytest.raises(DataSetError, match="not whole"):
        read_features(tmp_path)


LIMITED = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
from sfam.stream.config import StreamConfig
from sfam.training.casme3 import read_casme3
from sfam.training.feature_set import write_features
from tests.training.stand_in import InThisProcess
run = write_features(read_casme3(Path(sys.argv[2])), Path(sys.argv[3]), StreamConfig(), InThisProcess())
print(len(run.records), *run.failed.values(), sep="\\n")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files as POSIX systems can")
def test_a_disk_that_takes_no_more_is_said_and_leaves_nothing_half_written(data: DataSet, tmp_path: Path) -> None:
    root, tree_of = Path(__file__).parents[2], data.clips[0].recording.parents[1]
    out = tmp_path / "windows"
    command = [sys.executable, "-c", LIMITED, str(root), str(tree_of), str(out)]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.splitlines()
    assert told[0] == "0"
    assert len(told) == 3
    assert all("Error" in line and ("large" in line or "written" in line) for line in told[1:]), told
    assert list((out / "clips").iterdir()) == [], "no clip is there, and no draft of one"
    run = write_features(data, out, STREAM, InThisProcess())
    assert (len(run.records), run.failed) == (2, {})
