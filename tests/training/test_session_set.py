from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from sfam.capture.recorder import Recorder, RecorderSettings
from sfam.sinks.session_folder import SessionFolder
from sfam.stream.config import StreamConfig
from sfam.training.features import ClipTask, content_hash, measure_clip
from sfam.training.session_set import read_sessions
from tests.capture.recorded_frames import INFO, seeded_frame
from tests.sinks.session_parts import FRAME_NS, frame_result, session_info

HEAD = "subject,video,onset,offset,emotion,kind,verdict,comment\n"


@pytest.fixture
def session(tmp_path: Path) -> Path:
    """Twelve frames, a correction, and a recording in two parts."""
    path = tmp_path / "all" / "session"
    with SessionFolder(path, session_info()) as folder:
        for number in range(12):
            folder.row(dataclasses.replace(frame_result(number), t_capture_ns=number * FRAME_NS))
    (path / "corrections.csv").write_text(HEAD + 's01,"face, a",8,10,sad,micro,added,\n')
    for name, numbers in (("recording.mcap", range(4)), ("recording_2.mcap", range(6, 12))):
        recorder = Recorder(RecorderSettings(path / name, lossless=True))
        recorder.begin(INFO)
        for number in numbers:
            recorder.push(seeded_frame(number))
        recorder.finish()
    return path


def test_a_session_whose_recorder_was_started_again_is_measured_from_all_its_files(
    session: Path, tmp_path: Path
) -> None:
    (clip,) = read_sessions(tmp_path / "all").clips
    task = ClipTask(clip, StreamConfig(), tmp_path / "windows")
    record = measure_clip(task)
    assert record.frames == 12
    (session / "report.html").write_text("made since")
    assert content_hash(task) == record.content_hash
    (session / "recording_2.mcap").unlink()
    assert content_hash(task) != record.content_hash
