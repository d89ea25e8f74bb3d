"""Analyzer plug-ins beside a whole session: what they find is stored and published, and their death harms nobody."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from sfam.sinks.subscriber import subscribe
from tests.app.command import BIN, environment, run
from tests.app.grey_plugin import install
from tests.sinks.schemas import require_valid
from tests.sinks.waiting import until

DEATH = "the analyzer mortal process ended with code 7"
"""Told each time it dies: it is started again, and stays away after some times."""
WANTED = 3
"""Messages of the living one that have to be heard."""


@pytest.fixture
def plugins(tmp_path: Path) -> dict[str, str]:
    """Environment of a machine with a package of two analyzers."""
    folder = tmp_path / "site"
    install(folder)
    path = os.pathsep.join(filter(None, (str(folder), environment().get("PYTHONPATH"))))
    return {**environment(), "PYTHONPATH": path}


def free_address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{free.getsockname()[1]}"


def heard(address: str, until_s: float) -> list[dict[str, Any]]:
    """The first headers of analyzers."""
    found: list[dict[str, Any]] = []
    for message in subscribe(address, ("analyzer",), running=lambda: time.monotonic() < until_s):
        found.append(message.header)
        if len(found) == WANTED:
            break
    return found


@pytest.mark.slow  # a whole session with its processes
@pytest.mark.skipif(sys.platform == "win32", reason="ends the session with a POSIX signal")
def test_analyzers_run_beside_a_session_and_die_alone(plugins: dict[str, str], tmp_path: Path) -> None:
    address, out = free_address(), tmp_path / "session"
    options = "app.analyzers={mean-grey: {gain: 2.0}, mortal: {gain: 1.0}}"
    command = [str(BIN / "sfam-live"), "--camera", "demo", "--out", str(out), "--publish", address, "--set", options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=plugins) as live:
        assert live.stderr is not None
        told: list[str] = []
        listener = threading.Thread(target=told.extend, args=(live.stderr,), daemon=True)
        listener.start()
        try:
            until_s = time.monotonic() + 180
            headers = heard(address, until_s)
            while DEATH not in "".join(told) and time.monotonic() < until_s:
                time.sleep(0.05)
            until(lambda: (out / "scores.csv").read_text().count("\n") > 40, "rows", 240)
            live.send_signal(signal.SIGINT)
            live.wait(240)
        finally:
            live.kill()
        listener.join()
    said = "".join(told)
    assert live.returncode == 0, said
    assert f"warning: {DEATH}" in said
    assert len(headers) == WANTED, said
    lines = [json.loads(line) for line in (out / "analyzer_mean-grey.jsonl").read_text().splitlines()]
    found = {line["frame"]: line for line in lines}
    with (out / "scores.csv").open(newline="") as table:
        rows = {int(row["frame"]): row for row in csv.DictReader(table)}
    assert sum(row["success"] == "1" for row in rows.values()) > len(rows) / 2
    for header in headers:
        require_valid(header, "analyzer")
        line = found[header["frame"]]
        assert (header["name"], header["values"]) == ("mean-grey", line["values"])
        assert header["t_capture_ns"] == line["t_capture_ns"] == int(rows[header["frame"]]["t_capture_ns"])
    summary = json.loads((out / "session.json").read_text())
    assert summary["state"] == "ended"
    assert summary["counters"]["analyzer_results"]["mean-grey"] >= WANTED
    assert not (out / "analyzer_mortal.jsonl").read_text()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["--set", "app.analyzers={smiles: {}}"],
            "app.analyzers names smiles, which nothing offers; known: blendshapes",
        ),
        (["--set", "app.analyzers={blendshapes: {}}", "--single-process"], "leave --single-process out"),
    ],
)
def test_analyzers_that_cannot_run_are_refused_before_the_start(
    arguments: list[str], expected: str, tmp_path: Path
) -> None:
    done = run("sfam-live", "--camera", "demo", "--publish", "none", "--out", tmp_path / "out", *arguments)
    assert done.returncode == 2
    assert expected in done.stderr
    assert not (tmp_path / "out").exists()
