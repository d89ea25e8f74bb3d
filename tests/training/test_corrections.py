from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from sfam.engine.events import Moment
from sfam.sinks.export_boris import export_boris
from sfam.sinks.export_elan import export_elan
from sfam.sinks.session_folder import SessionFolder
from sfam.sinks.session_reader import SessionRecord, read_session
from sfam.training.corrections import read_corrections
from sfam.training.dataset import AnnotatedInterval, DataSetError
from sfam.training.session_set import read_sessions
from tests.sinks.session_parts import FRAME_NS, event, frame_result, session_info

FIRST_NS = 7_000_000_000


@pytest.fixture
def record(tmp_path: Path) -> SessionRecord:
    """A session of 100 frames with a micro and a macro event."""
    with SessionFolder(tmp_path / "all" / "session", session_info()) as folder:
        for number in range(100):
            t_ns = FIRST_NS + number * FRAME_NS
            folder.row(dataclasses.replace(frame_result(number), t_capture_ns=t_ns))
        for state in (event(0, "confirmed", 10), event(1, "confirmed", 45, "macro")):
            onset, apex, offset = (
                Moment(moment.frame, FIRST_NS + moment.frame * FRAME_NS)
                for moment in (state.onset, state.apex, state.offset)
            )
            folder.event(dataclasses.replace(state, onset=onset, apex=apex, offset=offset))
    return read_session(tmp_path / "all" / "session")


def spotted(record: SessionRecord) -> list[AnnotatedInterval]:
    return [
        AnnotatedInterval(event.kind, event.onset.frame, event.apex.frame, event.offset.frame, event.emotion)
        for event in record.events
    ]


def csv_of(path: Path, *rows: str) -> Path:
    path.write_text("subject,video,onset,offset,emotion,kind,verdict,comment\n" + "\n".join(rows) + "\n")
    return path


def test_verdicts_of_a_table_decide(record: SessionRecord, tmp_path: Path) -> None:
    first = record.events[0]
    path = csv_of(
        tmp_path / "c.csv",
        f's01,"face, a",{first.onset.frame},{first.offset.frame},surprise,micro,corrected,was positive',
        's01,"face, a",70,80,,micro,rejected,a blink',
        's01,"face, a",85,95,Sad,macro,added,',
        's01,"face, a",85,95,bored,micro,,',
        's01,"face, a",85,95,sad,micro,maybe,',
        's01,"face, a",9,2,sad,micro,added,',
        "s02,other,1,9,sad,micro,added,",
    )
    intervals, findings = read_corrections(path, record)
    assert intervals == [
        AnnotatedInterval("micro", first.onset.frame, first.apex.frame, first.offset.frame, "surprise"),
        AnnotatedInterval("macro", 85, 90, 95, "sad"),
        AnnotatedInterval("micro", 85, 90, 95, ""),
    ]
    assert [one.where for one in findings] == [f"c.csv row {number}" for number in (5, 6, 7, 8)]
    assert [one.kept for one in findings] == [True, False, False, False]


def test_our_elan_export_comes_back_as_it_went_out(record: SessionRecord, tmp_path: Path) -> None:
    video = tmp_path / "out" / "video.mp4"
    for path in (*export_elan(record, tmp_path / "out"), *export_elan(record, tmp_path / "linked", video, 12.5)):
        assert read_corrections(path, record) == (spotted(record), [])


def test_our_boris_exports_come_back_as_they_went_out(record: SessionRecord, tmp_path: Path) -> None:
    linked = export_boris(record, tmp_path / "linked", tmp_path / "video.mp4", 12.5)
    for path in (*export_boris(record, tmp_path / "out"), *linked):
        assert read_corrections(path, record) == (spotted(record), [])


def test_boris_rows_of_two_subjects_are_paired_apart(tmp_path: Path) -> None:
    """Two faces that show the same at once."""
    path = tmp_path / "all" / "session"
    with SessionFolder(path, session_info()) as folder:
        for number in range(100):
            folder.row(dataclasses.replace(frame_result(number), t_capture_ns=number * FRAME_NS))
        for number, onset in enumerate((30, 36)):
            folder.event(dataclasses.replace(event(number, "confirmed", onset), track_id=number))
    record = read_session(path)
    for exported in export_boris(record, tmp_path / "out"):
        assert read_corrections(exported, record) == (spotted(record), [])


def test_what_a_coder_left_unclear_is_reported(record: SessionRecord, tmp_path: Path) -> None:
    path = tmp_path / "x.tsv"
    path.write_text("1.0\ts01\tmicro sad\n1.2\ts01\tlooks away\n1.4\ts01\tlooks away\n")
    intervals, findings = read_corrections(path, record)
    assert intervals == []
    assert ["neither micro nor macro" in one.what or "never ends" in one.what for one in findings] == [True, True]


def test_what_lies_beyond_the_session_is_reported_and_no_label(record: SessionRecord, tmp_path: Path) -> None:
    """The session has frames 0 to 99, 3.3 s."""
    table = csv_of(
        tmp_path / "c.csv",
        's01,"face, a",90,104,sad,micro,added,',
        's01,"face, a",300,310,sad,micro,added,',
    )
    intervals, findings = read_corrections(table, record)
    assert intervals == [AnnotatedInterval("micro", 90, 97, 99, "sad")]
    assert [(one.where, one.kept) for one in findings] == [
        ("c.csv frames 90-104", True),
        ("c.csv frames 300-310", False),
    ]
    times = tmp_path / "x.tsv"
    coded = ((-10.0, -9.6), (3.0, 3.4667), (10.0, 10.3333))
    times.write_text("".join(f"{second}\ts01\tmicro sad\n" for span in coded for second in span))
    intervals, findings = read_corrections(times, record)
    assert intervals == [AnnotatedInterval("micro", 90, 97, 99, "sad")]
    assert [one.kept for one in findings] == [False, True, False]
    assert "no frames from onset to offset: (-300, -288)" in findings[0].what
    assert "beyond the clip's last frame 99" in findings[2].what


@pytest.mark.parametrize(
    ("name", "text"),
    [("c.docx", "x"), ("c.csv", "a,b\n1,2\n"), ("c.eaf", "<x"), ("c.boris", "{}"), ("c.tsv", "now\ta\tb\n")],
)
def test_unreadable_corrections_are_named(record: SessionRecord, tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataSetError, match=name):
        read_corrections(tmp_path / name, record)


def test_sessions_without_corrections_or_recording_are_left_out_and_named(
    record: SessionRecord, tmp_path: Path
) -> None:
    with pytest.raises(DataSetError, match="no corrections"):
        read_sessions(tmp_path)
    csv_of(record.path / "corrections.csv", 's01,"face, a",20,30,sad,micro,added,')
    with pytest.raises(DataSetError, match="no recording"):
        read_sessions(tmp_path)
    (record.path / "recording.mcap").touch()
    data = read_sessions(tmp_path)
    assert [(one.subject, one.video, one.recording.name) for one in data.clips] == [
        ("s01", "face, a", "recording.mcap")
    ]
    assert data.clips[0].intervals == (AnnotatedInterval("micro", 20, 25, 30, "sad"),)
    (record.path / "corrections.csv").rename(record.path / "test_review.csv")
    assert read_sessions(tmp_path).clips == data.clips
    assert json.loads((record.path / "session.json").read_text())["subject"] == "s01"


def test_two_sessions_of_one_video_are_two_clips(record: SessionRecord, tmp_path: Path) -> None:
    csv_of(record.path / "corrections.csv", 's01,"face, a",20,30,sad,micro,added,')
    (record.path / "recording.mcap").touch()
    shutil.copytree(record.path, tmp_path / "more" / "session")
    data = read_sessions(tmp_path)
    assert [(one.subject, one.video) for one in data.clips] == [("s01", "face, a"), ("s01", "more/session")]
    assert len({one.name for one in data.clips}) == 2
    assert any("one more 'face, a'" in finding.what and finding.kept for finding in data.findings)
