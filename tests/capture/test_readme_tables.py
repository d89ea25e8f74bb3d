"""README's tables of inputs and cameras against what there are readers for, each of them at work."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfam.capture.camera_list import LISTERS
from sfam.capture.config import CaptureConfig
from sfam.capture.recording import FOLDERS, READERS, open_recording
from sfam.capture.source import SOURCES, open_source
from tests.capture.fuzz_cases import FORMS
from tests.shared_data import shared

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
WORDS = {
    "bag": ("RealSense `.bag`", ("bag", "lz4_bag")),
    "db3": ("RealSense `.db3`", ("db3", "zstd_db3", "png_db3")),
    "ros2_topics": ("ROS 2", ("ros_db3", "mcap", "zstd_mcap")),
    "own_mcap": ("our own `.mcap`", ("own_mcap", "jpeg_mcap")),
    "recorded_parts": ("a session's folder", ("parts",)),
    "kinect_mkv": ("`.mkv`", ("kinect_mkv",)),
    "tum": ("TUM RGB-D", ("tum",)),
    "fakenect": ("fakenect", ("fakenect",)),
    "image_pairs": ("image pairs", ("image_pairs",)),
    "casme": ("CAS(ME)^3 clips", ("casme",)),
    "video": ("ordinary video", ("film", "webm")),
}
"""Module of a reader -> how the table calls what it reads, and recordings of that form."""


def rows(heading: str) -> list[str]:
    """Lines of the table that begins so."""
    lines = README.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    end = next(number for number in range(start, len(lines)) if not lines[number].startswith("|"))
    return lines[start + 2 : end]


def test_every_reader_stands_in_the_table_of_inputs() -> None:
    targets = [*READERS.values(), *(target for _, target in FOLDERS), "video:"]
    assert {target.partition(":")[0] for target in targets} <= WORDS.keys()
    table = "\n".join(rows("input"))
    for module, (words, _) in WORDS.items():
        assert words in table, f"the reader capture/{module}.py is not in README's table"


@pytest.mark.parametrize("module", WORDS)
def test_what_the_table_names_is_read(module: str, tmp_path: Path) -> None:
    for form in WORDS[module][1]:
        if form == "kinect_mkv":
            shared("recordings/kinect_azure.mkv")
        (tmp_path / form).mkdir()
        recording = FORMS[form](tmp_path / form)
        config = CaptureConfig(camera=str(recording), color_only=module == "video", depth_unit_m=0.001)
        opened = open_recording(recording, config)
        assert module in {base.__module__.rpartition(".")[2] for base in type(opened).__mro__}
        opened.close()
        with open_source(config) as source:
            frame = next(source.frames())
        assert frame.depth_missing == (module == "video")


def test_every_camera_stands_in_the_table_of_cameras_or_of_inputs() -> None:
    cameras, inputs = "\n".join(rows("camera")), "\n".join(rows("input"))
    assert LISTERS.keys() <= SOURCES.keys()
    for kind in LISTERS:
        assert f"`{kind}`" in cameras or kind in inputs, f"{kind} is in neither table"


def test_cameras_that_no_one_has_seen_are_said_to_be_so() -> None:
    for row in rows("camera"):
        assert "never seen" in row or "not supported" in row or "not tested" in row
