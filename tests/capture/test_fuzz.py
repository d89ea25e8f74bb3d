"""Damaged recordings of every form: read up to the damage or refused in one line, never anything else.

500 inputs of each form; `benchmarks/fuzz_readers.py` runs many more of the same, each in a process that may be killed.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.capture.fuzz_cases import FORMS, examine, write_mutation
from tests.shared_data import shared

PER_FORM = 500
FIRST_SEED = 1_000_000
"""Beyond those of the long run."""
FOUND = {
    "bag": [86, 155],
    "lz4_bag": [1039, 1463, 4337],
    "mcap": [7, 65, 147, 493],
    "zstd_mcap": [381],
    "ros_db3": [154, 191],
    "png_db3": [192],
    "zstd_db3": [3001932],
    "kinect_mkv": [3006985],
}
"""Seeds that once escaped."""


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
    results = []
    for seed in [*FOUND.get(form, []), *range(FIRST_SEED, FIRST_SEED + PER_FORM)]:
        began_s = time.process_time()
        results.append(examine(write_mutation(recording, tmp_path, seed)))
        assert time.process_time() - began_s < 5, f"seed {seed}"
    assert "frames" in results, "damage that always ends in a refusal tests only the opening"
