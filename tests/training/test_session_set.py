from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from sfam.capture.recorder import Recorder, RecorderSettings
from sfam.sinks.session_folder import SessionFolder
from sfam.stream.config import StreamConfig
from sfam.training.dataset import DataSetError
from sfam.training.features import ClipTask, content_hash, measure_clip
from sfam.training.session_set import read_sessions
from tests.capture.recorded_frames import INFO, seeded_frame
from tests.sinks.session_parts import FRAME_NS, event, frame_result, session_info

HEAD = "subject,video,onset,offset,emotion,kind,verdict,comment\n"


def record(path: Path, numbers: range) -> None:
    recorder = Recorder(RecorderSettings(path, lossless=True))
    recorder.begin(INFO)
    for number in numbers:
        recorder.push(seeded_frame(number))
    recorder.finish()


def corrected(path: Path, faces: dict[int, range]) -> Path:
    """Sixty frames with events of these faces, each followed in its own frames, and a correction."""
    with SessionFolder(path, session_info()) as folder:
        for number in range(60):
            row = dataclasses.replace(frame_result(number), t_capture_ns=number * FRAME_NS, success=True)
            for face in [face for face, frames in faces.items() if number in frames]:
                folder.row(dataclasses.replace(row, face_id=face))
        for face, frames in faces.items():
            folder.event(dataclasses.replace(event(face, "confirmed", frames[0]), track_id=face))
    (path / "corrections.csv").write_text(HEAD + 's01,"face, a",8,10,sad,micro,added,\n')
    return path


def test_a_session_whose_recorder_was_started_again_is_measured_from_all_its_files(tmp_path: Path) -> None:
    session = corrected(tmp_path / "all" / "session", {0: range(60)})
    record(session / "recording.mcap", range(4))
    record(session / "recording_2.mcap", range(6, 12))
    (clip,) = read_sessions(tmp_path / "all").clips
    task = ClipTask(clip, StreamConfig(), tmp_path / "windows")
    measured = measure_clip(task)
    assert measured.frames == 12
    (session / "report.html").write_text("made since")
    assert content_hash(task) == measured.content_hash
    (session / "recording_2.mcap").unlink()
    assert content_hash(task) != measured.content_hash


def test_corrections_of_two_faces_at_once_are_no_truth_of_one(tmp_path: Path) -> None:
    session = corrected(tmp_path / "session", {0: range(60), 3: range(20, 60)})
    (session / "recording.mcap").touch()
    with pytest.raises(DataSetError, match="events of faces 0, 3 at once"):
        read_sessions(tmp_path)


def test_a_face_that_was_lost_and_found_under_another_number_is_taken_for_one_and_said(tmp_path: Path) -> None:
    session = corrected(tmp_path / "session", {0: range(30), 3: range(30, 60)})
    (session / "recording.mcap").touch()
    data = read_sessions(tmp_path)
    assert len(data.clips) == 1
    assert [(one.what, one.kept) for one in data.findings] == [
        ("events of several faces, never two at once: taken for one", True)
    ]


def test_a_session_of_a_part_of_a_file_is_not_measured_from_its_beginning(tmp_path: Path) -> None:
    record(tmp_path / "whole.mcap", range(12))
    session = corrected(tmp_path / "all" / "session", {0: range(60)})
    summary = session / "session.json"
    told = json.loads(summary.read_text(encoding="utf-8"))
    summary.write_text(json.dumps({**told, "source": str(tmp_path / "whole.mcap")}), encoding="utf-8")
    (session / "config.yaml").write_text("capture: {from_s: 0.0}", encoding="utf-8")
    assert read_sessions(tmp_path / "all").clips[0].recording == tmp_path / "whole.mcap"
    (session / "config.yaml").write_text("capture: {from_s: 0.1}", encoding="utf-8")
    with pytest.raises(DataSetError, match="from the start"):
        read_sessions(tmp_path / "all")
