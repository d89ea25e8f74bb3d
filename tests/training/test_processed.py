from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sfam.training.clip_windows import published_labels, scored_frames
from sfam.training.dataset import AnnotatedInterval, DataSetError
from sfam.training.processed import RECOGNITION_FILE, SPOTTING_FILE, find_processed, read_pickle, read_processed
from tests.shared_data import shared

pytest.importorskip("openpyxl")
pytest.importorskip("python_calamine")


class Attack:
    """Unpickling this the usual way runs a shell command."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"echo owned > '{self.target}'",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_malicious_pickle_is_refused_and_never_runs(tmp_path: Path, protocol: int) -> None:
    target, path = tmp_path / "owned", tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps([np.zeros(3), Attack(target)], protocol=protocol))
    with pytest.raises(DataSetError, match=r"refused: the file wants .*system"):
        read_pickle(path)
    assert not target.exists()
    with path.open("rb") as file:
        pickle.load(file)
    assert target.exists(), "the attack must be a real one"


@pytest.mark.parametrize("name", ["getattr", "eval", "exec", "__import__", "open", "type"])
def test_dangerous_builtins_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "evil.pkl"
    path.write_bytes(b"cbuiltins\n" + name.encode() + b"\n.")
    with pytest.raises(DataSetError, match=name):
        read_pickle(path)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_of_every_protocol_come_back(tmp_path: Path, protocol: int) -> None:
    ragged = np.empty(2, dtype=object)
    ragged[:] = [np.arange(3.0), np.arange(4)]
    table = np.arange(6, dtype=np.float32).reshape(2, 3)
    value: list[Any] = [np.float32(2.5), table, ragged, ["a", (1, 2.5)], {"k": b"\xff"}]
    path = tmp_path / "fine.pkl"
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    back = read_pickle(path)
    assert back[0] == 2.5
    assert np.array_equal(back[1], value[1])
    assert np.array_equal(back[2][1], ragged[1])
    assert back[3:] == value[3:]


def test_an_array_of_the_other_numpy_is_read(tmp_path: Path) -> None:
    here = "numpy._core" if hasattr(np, "_core") else "numpy.core"
    other = "numpy.core" if here == "numpy._core" else "numpy._core"
    path = tmp_path / "other.pkl"
    path.write_bytes(pickle.dumps(np.arange(4), protocol=0).replace(here.encode(), other.encode()))
    assert read_pickle(path).tolist() == [0, 1, 2, 3]


def test_missing_files_say_that_the_download_is_hidden(tmp_path: Path) -> None:
    assert find_processed(tmp_path) is None
    with pytest.raises(DataSetError, match="have hidden the download"):
        read_pickle(tmp_path / SPOTTING_FILE)
    (tmp_path / "cut.pkl").write_bytes(pickle.dumps(np.arange(1000))[:200])
    with pytest.raises(DataSetError, match="no readable pickle"):
        read_pickle(tmp_path / "cut.pkl")


def write_processed(folder: Path) -> np.ndarray:
    folder.mkdir()
    rng = np.random.default_rng(0)
    videos = [rng.normal(size=(length, 42, 42, 3)).astype(np.float32) for length in (200, 30, 20)]
    apex = rng.normal(size=(3, 42, 42, 3)).astype(np.float32)
    (folder / SPOTTING_FILE).write_bytes(pickle.dumps([videos, ["spNO.1", "spNO.216"], [["a", "b"], ["e"]]]))
    recognition = [list(apex), ["spNO.1", "spNO.216", "spNO.9"], ["a", "e", "g"], ["Others", "others", "sad"]]
    (folder / RECOGNITION_FILE).write_bytes(pickle.dumps(recognition))
    return videos[0]


def test_the_published_files_become_clips(tmp_path: Path) -> None:
    first = write_processed(tmp_path / "processed_data")
    folder = find_processed(tmp_path)
    assert folder == tmp_path / "processed_data"
    clips = read_processed(folder, shared("sfamnet/annotation"))
    assert [(one.subject, one.video, len(one.maps), len(one.apex_maps)) for one in clips] == [
        ("spNO.1", "a", 200, 1), ("spNO.1", "b", 30, 0), ("spNO.216", "e", 20, 1), ("spNO.9", "g", 0, 1)
    ]  # fmt: skip
    assert np.array_equal(clips[0].maps[5, 2], first[5, :, :, 2])
    assert clips[0].apex_emotions == ("others",)
    spot, emotion = published_labels(clips[0], 4)
    assert spot.nonzero()[0].tolist() == [178, 179]
    assert emotion[[177, 178, 179, 180]].tolist() == [4, 3, 3, 4]


def test_labels_begin_half_way_and_end_at_the_apex(tmp_path: Path) -> None:
    write_processed(tmp_path / "p")
    clip = read_processed(tmp_path / "p", shared("sfamnet/annotation"))[1]
    own = type(clip)("s", "v", clip.maps, np.arange(30), 30, (AnnotatedInterval("micro", 9, 20, 25, "sad"),),
                     clip.apex_maps, ())  # fmt: skip
    assert own.frames[scored_frames(own)].tolist() == list(range(0, 30, 2))
    spot, emotion = published_labels(own, 7)
    assert spot.nonzero()[0].tolist() == [7, 8, 9, 10]
    assert emotion[7] == 5
    assert emotion[6] == 7


def test_wrong_forms_are_named(tmp_path: Path) -> None:
    write_processed(tmp_path / "p")
    (tmp_path / "p" / SPOTTING_FILE).write_bytes(pickle.dumps([[], ["spNO.1"], [["a"]]]))
    with pytest.raises(DataSetError, match="0 map arrays for 1 named videos"):
        read_processed(tmp_path / "p", shared("sfamnet/annotation"))
