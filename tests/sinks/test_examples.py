"""The examples, run as a user would, against a real publisher."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sfam.sinks.publisher import Publisher
from sfam.sinks.wire_fields import event_fields
from tests.sinks.session_parts import ANY_PORT, CLASSES, event, session_info
from tests.sinks.test_publisher import publish_scores, wait_until_wanted

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PRINTED = ["provisional micro positive 10", "confirmed micro positive 10"]


def printed_by(command: list[str]) -> list[str]:
    """What a subscriber prints of a short session; it must end by itself with it."""
    with Publisher(ANY_PORT, session_info()) as publisher:
        with subprocess.Popen([*command, publisher.address], stdout=subprocess.PIPE, text=True) as example:
            try:
                wait_until_wanted(publisher, "event")
                publish_scores(publisher, 0, 20)
                for state in ("provisional", "confirmed"):
                    publisher.publish("event", event_fields(event(0, state), CLASSES))
                publisher.close()
                output, _ = example.communicate(timeout=20)
            finally:
                example.kill()
        assert example.returncode == 0
    return output.splitlines()


def require(found: bool, what: str) -> None:
    """Skip without a tool, fail where the examples must run."""
    if not found and os.environ.get("SFAM_REQUIRE_EXAMPLES") == "1":
        pytest.fail(f"{what} is required")
    if not found:
        pytest.skip(f"needs {what}")


def test_the_python_example_prints_events_and_ends() -> None:
    assert printed_by([sys.executable, "-I", str(EXAMPLES / "subscriber.py")]) == PRINTED


def test_the_node_example_prints_events_and_ends(tmp_path: Path) -> None:
    modules = Path(os.environ.get("SFAM_NODE_MODULES", EXAMPLES / "node_modules"))
    require(shutil.which("node") is not None and (modules / "zeromq").exists(), "Node and npm install in examples")
    (tmp_path / "node_modules").symlink_to(modules, target_is_directory=True)
    shutil.copy(EXAMPLES / "subscriber.mjs", tmp_path)
    assert printed_by(["node", str(tmp_path / "subscriber.mjs")]) == PRINTED


def test_the_c_example_prints_events_and_ends(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    require(compiler is not None and Path("/usr/include/zmq.h").exists(), "a C compiler and Debian's libzmq3-dev")
    program = tmp_path / "subscriber"
    source = str(EXAMPLES / "subscriber.c")
    flags = ["-Wall", "-Wextra", "-Werror", "-o", str(program), "-lzmq"]
    subprocess.run([str(compiler), source, *flags], check=True)
    headers = [json.loads(line) for line in printed_by([str(program)])]
    assert [header["state"] for header in headers] == ["provisional", "confirmed"]
