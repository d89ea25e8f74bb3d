from __future__ import annotations

import csv
import dataclasses
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from sfam.engine.events import Moment
from sfam.sinks.export_bids import export_bids
from sfam.sinks.export_boris import export_boris
from sfam.sinks.export_elan import export_elan
from sfam.sinks.export_megc import export_megc
from sfam.sinks.export_openface import export_openface
from sfam.sinks.session_folder import SessionFolder
from sfam.sinks.session_reader import SessionRecord, read_session
from sfam.sinks.sink_error import SinkError
from sfam.training.metrics import strs
from tests.sinks.session_parts import FRAME_NS, event, face_track, frame_result, session_info

FIRST_NS = 7_000_000_000


@pytest.fixture
def record(tmp_path: Path) -> SessionRecord:
    """100 frames whose first stamp is not 0, five events of which one was withdrawn and two overlap."""
    color = {"fx": 600.0, "fy": 600.0, "ppx": 320.0, "ppy": 240.0}
    info = dataclasses.replace(session_info(), devices={"color": color})
    with SessionFolder(tmp_path / "session", info, landmarks=True) as folder:
        for number in range(100):
            result = frame_result(number)
            points = face_track().landmarks_px if result.success else None
            t_ns = FIRST_NS + number * FRAME_NS
            folder.row(dataclasses.replace(result, t_capture_ns=t_ns, landmarks_px=points))
        states = [
            event(0, "confirmed", 40),
            event(1, "confirmed", 10),
            event(2, "withdrawn", 60),
            event(3, "confirmed", 45, "macro"),
            event(4, "provisional", 80),
        ]
        for state in states:
            onset, apex, offset = (
                Moment(moment.frame, FIRST_NS + moment.frame * FRAME_NS)
                for moment in (state.onset, state.apex, state.offset)
            )
            folder.event(dataclasses.replace(state, onset=onset, apex=apex, offset=offset))
    return read_session(tmp_path / "session")


def lines_of(path: Path, separator: str = ",") -> list[list[str]]:
    with path.open(newline="") as lines:
        return list(csv.reader(lines, delimiter=separator))


def test_megc_has_five_columns_of_confirmed_micro_events(record: SessionRecord, tmp_path: Path) -> None:
    table, note = export_megc(record, tmp_path / "megc")
    assert lines_of(table) == [
        ["subject", "video", "onset", "offset", "emotion"],
        ["s01", "face, a", "10", "21", "positive"],
        ["s01", "face, a", "40", "51", "positive"],
    ]
    told = json.loads(note.read_text())
    assert (told["index_base"], told["both_ends_inclusive"]) == (0, True)
    assert told["frames_per_second"] == pytest.approx(30, abs=0.01)


def test_megc_is_read_by_the_published_score(record: SessionRecord, tmp_path: Path) -> None:
    table, _ = export_megc(record, tmp_path)
    _, *rows = lines_of(table)
    typed = [(subject, video, int(onset), int(offset), emotion) for subject, video, onset, offset, emotion in rows]
    assert strs(typed, typed)["STRS"] == pytest.approx(1.0)


def test_megc_can_count_from_1_and_hold_macros(record: SessionRecord, tmp_path: Path) -> None:
    table, note = export_megc(record, tmp_path, index_base=1, kinds=("micro", "macro"))
    assert [line[2:4] for line in lines_of(table)[1:]] == [["11", "22"], ["41", "52"], ["46", "57"]]
    assert json.loads(note.read_text())["index_base"] == 1
    with pytest.raises(SinkError, match="0 or 1, got 2"):
        export_megc(record, tmp_path, index_base=2)


def test_bids_is_sorted_in_seconds_from_the_first_frame_with_a_sidecar(record: SessionRecord, tmp_path: Path) -> None:
    written = export_bids(record, tmp_path)
    table = next(path for path in written if path.suffix == ".tsv")
    assert table.relative_to(tmp_path).as_posix() == "sub-s01/beh/sub-s01_task-facea_events.tsv"
    header, *rows = lines_of(table, "\t")
    assert header[:3] == ["onset", "duration", "trial_type"]
    onsets = [float(row[0]) for row in rows]
    assert onsets == sorted(onsets)
    assert onsets[0] == pytest.approx(10 / 30, abs=1e-6)
    assert float(rows[0][1]) == pytest.approx(11 / 30, abs=1e-6)
    assert [row[header.index("state")] for row in rows] == ["confirmed", "confirmed", "confirmed", "provisional"]
    sidecar = json.loads(table.with_suffix(".json").read_text())
    assert set(header) <= set(sidecar)
    assert set(sidecar["trial_type"]["Levels"]) == set(record.classes)


def test_bids_passes_the_validator_of_that_community(record: SessionRecord, tmp_path: Path) -> None:
    modules = Path(os.environ.get("SFAM_NODE_MODULES", Path(__file__).resolve().parents[2] / "examples/node_modules"))
    validator = modules / "bids-validator" / "bin" / "bids-validator"
    if shutil.which("node") is None or not validator.exists():
        assert os.environ.get("SFAM_REQUIRE_EXAMPLES") != "1", "bids-validator is required"
        pytest.skip("needs Node and npm install in examples")
    export_bids(record, tmp_path / "bids")
    done = subprocess.run(
        ["node", str(validator), str(tmp_path / "bids"), "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    found = json.loads(done.stdout)
    assert found["issues"]["errors"] == []
    assert found["summary"]["subjects"] == ["s01"]


def test_boris_rows_can_be_pasted_and_states_open_and_close(record: SessionRecord, tmp_path: Path) -> None:
    project_file, pasted = export_boris(record, tmp_path)
    rows = [line.split("\t") for line in pasted.read_text().split("\n")]
    assert {len(row) for row in rows} == {5}
    assert rows[0][:3] == ["0.333", "s01", "micro positive"]
    assert [float(row[0]) for row in rows] == sorted(float(row[0]) for row in rows)
    for code in {row[2] for row in rows}:
        assert sum(row[2] == code for row in rows) % 2 == 0
    project = json.loads(project_file.read_text())
    codes = {behavior["code"] for behavior in project["behaviors_conf"].values()}
    assert {row[2] for row in rows} <= codes
    assert len(codes) == 2 * len(record.classes)
    observation = project["observations"]["face, a"]
    assert observation["type"] == "LIVE"
    assert len(observation["events"]) == len(rows)
    assert {subject["name"] for subject in project["subjects_conf"].values()} == {"s01"}


def test_boris_pairs_begin_and_end_of_two_faces_that_show_the_same(tmp_path: Path) -> None:
    """BORIS goes through the rows of a subject and code, and takes each second one for the end of the one before."""
    with SessionFolder(tmp_path / "two", session_info()) as folder:
        for number in range(100):
            folder.row(frame_result(number))
        for number, onset in enumerate((10, 14, 21, 22)):
            folder.event(dataclasses.replace(event(number, "confirmed", onset), track_id=number % 2))
    project_file, pasted = export_boris(read_session(tmp_path / "two"), tmp_path)
    rows = [line.split("\t") for line in pasted.read_text().split("\n")]
    begun: dict[str, float] = {}
    found = []
    for seconds, subject, *_ in rows:
        if subject in begun:
            found.append((begun.pop(subject), float(seconds), subject))
        else:
            begun[subject] = float(seconds)
    assert sorted(found) == [
        (0.333, 0.7, "s01"),
        (0.467, 0.833, "s01 (2)"),
        (0.7, 1.067, "s01"),
        (0.733, 1.1, "s01 (3)"),
    ]
    named = {subject["name"] for subject in json.loads(project_file.read_text())["subjects_conf"].values()}
    assert named == {"s01", "s01 (2)", "s01 (3)"}


def test_boris_with_a_video_names_it_and_its_frames(record: SessionRecord, tmp_path: Path) -> None:
    project_file, pasted = export_boris(record, tmp_path, Path("take one.mp4"), media_offset_s=2.0)
    rows = [line.split("\t") for line in pasted.read_text().split("\n")]
    assert {len(row) for row in rows} == {6}
    assert (rows[0][0], rows[0][5]) == ("0.333", "10"), "seconds of the session"
    observation = json.loads(project_file.read_text())["observations"]["face, a"]
    assert (observation["type"], observation["file"]) == ("MEDIA", {"1": ["take one.mp4"]})
    assert observation["time offset"] == -2.0, "what BORIS adds to a place in the video"
    assert observation["media_info"]["fps"]["take one.mp4"] == pytest.approx(30, abs=0.01)


def test_elan_is_read_by_pympi_with_one_tier_per_face(record: SessionRecord, tmp_path: Path) -> None:
    from pympi import Elan

    (path,) = export_elan(record, tmp_path, tmp_path / "take one.mp4", media_offset_s=1.5)
    read = Elan.Eaf(str(path))
    assert list(read.get_tier_names()) == ["face 0", "face 0 (2)"]
    assert sorted(read.get_annotation_data_for_tier("face 0")) == [
        (333, 700, "micro positive 0.91 confirmed blink"),
        (1333, 1700, "micro positive 0.91 confirmed blink"),
        (2667, 3033, "micro positive 0.91 provisional blink"),
    ]
    assert [found[2].split()[0] for found in read.get_annotation_data_for_tier("face 0 (2)")] == ["macro"]
    (media,) = read.get_linked_files()
    assert media["MEDIA_URL"].endswith("take%20one.mp4")
    assert media["TIME_ORIGIN"] == "1500"
    slots = list(read.timeslots.values())
    assert len(slots) == 8


def test_openface_counts_from_1_and_has_no_space_after_commas(record: SessionRecord, tmp_path: Path) -> None:
    (path,) = export_openface(record, tmp_path)
    text = path.read_text()
    assert ", " not in text
    header, *rows = lines_of(path)
    assert header[:5] == ["frame", "face_id", "timestamp", "confidence", "success"]
    assert header[5:11] == ["pose_Tx", "pose_Ty", "pose_Tz", "pose_Rx", "pose_Ry", "pose_Rz"]
    assert (header[11], header[79], len(header)) == ("x_0", "y_0", 147)
    assert [int(row[0]) for row in rows] == list(range(1, 101))
    assert rows[1][2] == "0.033333"
    assert rows[9][4] == "0"
    assert {float(value) for value in rows[9][5:]} == {0.0}
    assert float(rows[0][11]) == 20.0


def test_openface_leaves_out_what_the_session_did_not_keep(tmp_path: Path) -> None:
    with SessionFolder(tmp_path / "s", session_info()) as folder:
        folder.row(frame_result(0))
    (path,) = export_openface(read_session(tmp_path / "s"), tmp_path)
    assert lines_of(path)[0] == ["frame", "face_id", "timestamp", "confidence", "success"]
