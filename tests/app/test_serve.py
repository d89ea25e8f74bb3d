"""A camera host and an analysing host, as processes on real sockets: whole sessions, and what happens when one dies."""

from __future__ import annotations

import csv
import json
import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from sfam.app.doctor_machine import port_is_free
from sfam.sinks.curve import new_keys
from tests.app.command import run, start
from tests.shared_data import shared
from tests.sinks.waiting import until


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


def free(address: str) -> bool:
    """Whether a program could listen there."""
    return port_is_free("127.0.0.1", int(address.rpartition(":")[2]))


def finish(process: subprocess.Popen[str], code: int = 0) -> str:
    """Its messages; it has to end with this code."""
    out, error = process.communicate(timeout=240)
    assert process.returncode == code, error
    return out + error


@pytest.mark.slow  # two processes each on both hosts, and 3 s of a recording at the pace it was taken
def test_a_recording_analysed_over_an_encrypted_link_gives_what_it_gives_here(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    recording, address = shared("recordings/face_a.bag"), free_address()
    new_keys(tmp_path / "keys", "lab")
    keys = ["--set", f"capture.remote_key={tmp_path}/keys/lab.key_secret"]
    keys += ["--set", f"capture.remote_server_key={tmp_path}/keys/server.key"]
    host = start("sfam", "serve", "--camera", recording, "--address", address, "--keys", tmp_path / "keys",
                 "--color", "lossless", "--set", "capture.to_s=3")  # fmt: skip
    request.addfinalizer(host.kill)
    until(lambda: not free(address), "the camera host", within_s=240)
    there = run("sfam-live", "--camera", address, "--publish", "none", "--out", tmp_path / "there", *keys)
    assert there.returncode == 0, there.stderr
    sent = re.search(r"(\d+) frames sent, .* lost here: none", finish(host))
    assert sent
    here = run("sfam-live", "--camera", recording, "--to", "3", "--speed", "max", "--publish", "none",
               "--out", tmp_path / "here")  # fmt: skip
    assert here.returncode == 0, here.stderr
    summary = json.loads((tmp_path / "there" / "session.json").read_text())
    assert summary["devices"]["camera_host"] == address
    assert summary["devices"]["camera_clock_uncertainty_ns"] > 0
    rows = {name: list(csv.DictReader((tmp_path / name / "scores.csv").open())) for name in ("there", "here")}
    assert len(rows["here"]) == int(sent[1]) > 80
    # under load frames may be lost on either host, but never silently
    dropped = summary["counters"]["dropped"]
    before_arrival = sum(dropped.get(f"lost_on_{where}", 0) for where in ("link", "camera_host"))
    assert len(rows["there"]) + before_arrival == int(sent[1])
    if not dropped:
        for far, near in zip(rows["there"], rows["here"], strict=True):
            assert (far["t_device_ns"], far["success"]) == (near["t_device_ns"], near["success"])


@pytest.mark.slow  # sessions on two hosts, one of which is killed and started again
def test_a_camera_host_that_was_killed_is_taken_up_again(tmp_path: Path) -> None:
    address = free_address()
    host = start("sfam", "serve", "--address", address)
    live = start("sfam-live", "--camera", address, "--publish", "none", "--out", tmp_path / "session",
                 "--set", "capture.stall_timeout=1", "--set", "capture.reconnect_timeout=1")  # fmt: skip
    table = tmp_path / "session" / "scores.csv"

    def rows() -> int:
        return table.read_text().count("\n") if table.exists() else 0

    until(lambda: rows() > 10, "the first rows", within_s=240)
    host.kill()
    host.communicate(timeout=240)
    before = rows()
    until(lambda: free(address), "the end of the host's processes", within_s=240)
    host = start("sfam", "serve", "--address", address)
    until(lambda: rows() > before + 10, "rows after the outage", within_s=240)
    live.send_signal(signal.SIGINT)
    messages = finish(live)
    assert "camera back after" in messages
    host.send_signal(signal.SIGINT)
    finish(host)
    summary = json.loads((tmp_path / "session" / "session.json").read_text())
    (outage,) = summary["counters"]["interruptions"]
    assert address in outage["cause"]
    assert re.search("no frame for 1 s|began anew|the supervising process died", outage["cause"])


def test_frames_are_not_sent_beyond_this_machine_by_accident() -> None:
    done = run("sfam", "serve", "--address", "tcp://0.0.0.0:5572")
    assert done.returncode == 5
    assert "sfam keys new" in done.stderr


def test_no_camera_host_is_a_missing_source() -> None:
    done = run("sfam-live", "--camera", free_address(), "--publish", "none", "--dry-run")
    assert done.returncode == 0
    done = run("sfam-live", "--camera", "tcp://nowhere", "--publish", "none", "--single-process")
    assert done.returncode == 3
    assert "tcp://HOST:PORT" in done.stderr
    done = run("sfam-live", "--camera", free_address(), "--policy", "lossless")
    assert done.returncode == 2
    assert "does not wait" in done.stderr
