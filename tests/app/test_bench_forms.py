"""What scripts read of `sfam bench`, and the page that `make bench` makes of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.machine_report import file_name, head, section
from tests.app.command import run
from tests.shared_data import shared


@pytest.mark.slow  # starts the engines
def test_the_engines_are_measured_in_the_form_that_scripts_read() -> None:
    done = run("sfam", "bench", "engine", "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["machine"]
    assert all(row["p99_ms"] >= row["median_ms"] > 0 for row in found["stages"].values())
    assert all(value > 0 for value in found["ratios"].values())
    page = section("engine", found)
    assert all(f"| {name} |" in page for name in (*found["stages"], *found["ratios"]))


@pytest.mark.slow  # replays ten frames three times, in processes and out of them
def test_a_recording_without_a_face_gives_no_figures_but_a_reason() -> None:
    small = shared("recordings/small_2.56.5_uncompressed.bag")
    done = run("sfam", "bench", "replay", "--file", small, "--json")
    assert (done.returncode, done.stdout) == (3, "")
    assert "needs a face" in done.stderr


def test_the_page_is_named_after_the_machine_and_says_what_ran() -> None:
    assert file_name("Intel(R) Xeon(R) Processor @ 2.1GHz", 2) == "intel_r_xeon_r_processor_2_1ghz_2_cores.md"
    text = head("Some CPU", 2, 0.1)
    assert "numpy" in text
    assert "Some CPU, 2 cores" in text
