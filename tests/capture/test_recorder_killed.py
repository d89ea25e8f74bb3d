from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sfam.capture.config import CaptureConfig
from sfam.capture.source import open_source
from tests.capture.killed_recorder import FPS, kill_once
from tests.capture.recorded_frames import assert_equal, seeded_frame


@pytest.mark.slow(reason="20 recordings of up to 1.6 s, each killed")
@pytest.mark.parametrize("seed", range(20))
def test_a_killed_recording_lacks_half_a_second_at_most_and_nothing_else(tmp_path: Path, seed: int) -> None:
    result = kill_once(tmp_path / "killed.mcap", seed)
    # one frame may be in the file before the child says so
    assert result.recovered <= result.pushed + 1
    # what a slow disk or a busy processor lets wait is lost with it
    assert result.missing_s - result.waiting / FPS <= 0.5, result


FULL_DISK = """
import resource, sys
from pathlib import Path
from sfam.capture.recorder import Recorder, RecorderSettings, RecordingError
from tests.capture.recorded_frames import INFO, seeded_frame

resource.setrlimit(resource.RLIMIT_FSIZE, (6_000_000, 6_000_000))
recorder = Recorder(RecorderSettings(Path(sys.argv[1]), lossless=True))
recorder.begin(INFO)
try:
    for number in range(10_000):
        recorder.push(seeded_frame(number))
except RecordingError as error:
    print(error)
try:
    recorder.finish()
except RecordingError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no limit of file sizes")
def test_a_file_that_may_not_grow_stays_valid_and_says_why(tmp_path: Path) -> None:
    path = tmp_path / "limited.mcap"
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    run = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, env=environment, timeout=60
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.count(f"{path}: writing stopped") == 2
    assert run.stdout.count("File too large") == 2
    assert path.stat().st_size <= 6_000_000
    with open_source(CaptureConfig(camera=str(path))) as source:
        frames = list(source.frames())
        assert not any("cut off" in warning for warning in source.info.warnings)
        assert any("File too large" in warning for warning in source.info.warnings)
    assert frames
    for number, frame in enumerate(frames):
        assert_equal(seeded_frame(number), frame)
