"""Damaged recordings of every form: read up to the damage or refused in one line, never anything else.

500 inputs of each form, in a process that may be killed: an input that takes more than 5 s of processor time, gives no
answer for 60 s or takes more than 1 GB fails. `benchmarks/fuzz_readers.py` runs many more of the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.fuzz_readers import Child, Limits
from tests.capture import bad_readers
from tests.capture.fuzz_cases import FORMS, examine
from tests.shared_data import shared

PER_FORM = 500
FIRST_SEED = 1_000_000
"""Beyond those of the long run."""
FOUND = {
    "bag": [86, 155, 5001748, 5001819, 5008677, 5009996],
    "lz4_bag": [1039, 1463, 4337],
    "mcap": [7, 65, 147, 493],
    "zstd_mcap": [381],
    "ros_db3": [154, 191],
    "png_db3": [192],
    "zstd_db3": [3001932],
    "kinect_mkv": [3006985],
    "tum": [1000416],
    "image_pairs": [2001886, 1000087],
    "casme": [1000087],
}
"""Seeds that once escaped; those of tum and casme with OpenCV 4 only."""


@pytest.fixture(scope="module", params=FORMS)
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    form = str(request.param)
    if form == "kinect_mkv":
        shared("recordings/kinect_azure.mkv")
    return form, FORMS[form](tmp_path_factory.mktemp(form))


def test_the_undamaged_recording_is_read(base: tuple[str, Path]) -> None:
    assert examine(base[1]) == "frames"


@pytest.mark.slow  # some 8,500 recordings are written, inspected and read
def test_damage_never_escapes(base: tuple[str, Path], tmp_path: Path) -> None:
    form, recording = base
    child = Child(recording, inputs(tmp_path))
    results = set()
    try:
        for seed in [*FOUND.get(form, []), *range(FIRST_SEED, FIRST_SEED + PER_FORM)]:
            result, text, _, _ = child.run(seed)
            assert result != "escaped", f"seed {seed}: {text}"
            results.add(result)
    finally:
        child.stop()
    assert "frames" in results, "damage that always ends in a refusal tests only the opening"


@pytest.mark.slow(reason="five processes that import what reads recordings, one after the other")
@pytest.mark.parametrize(
    ("read", "limits", "words"),
    [
        (bad_readers.sleeps, Limits(wall_s=2.0), "no end within 2 s"),
        (bad_readers.spins, Limits(processor_s=0.5), r"took \d MB and 1\.\d s"),
        (bad_readers.eats, Limits(memory_bytes=100 * 2**20), r"took 2\d\d MB"),
        (bad_readers.dies, Limits(), r"the process died \(exit code -9\)"),
        (bad_readers.raises, Limits(), "KeyError: 'width'"),
    ],
    ids=["sleeps", "spins", "eats", "dies", "raises"],
)
def test_a_reader_that_goes_wrong_is_found_out(
    tmp_path: Path, read: Callable[[Path], str], limits: Limits, words: str
) -> None:
    child = Child(FORMS["bag"](tmp_path), inputs(tmp_path), read, limits)
    try:
        for seed in (1, 2):  # the second one by a process started anew, where the first did not survive
            result, text, _, _ = child.run(seed)
            assert result == "escaped"
            assert re.match(words, text)
    finally:
        child.stop()


def inputs(folder: Path) -> Path:
    """Where a child writes its inputs."""
    into = folder / bad_readers.INPUTS
    into.mkdir()
    return into
