"""Runs the commands as a user does: in this process, or as the installed programs."""

from __future__ import annotations

import faulthandler
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from unittest import mock

from sfam.app.cli import main, main_live

BIN = Path(sys.executable).parent
TIMEOUT_S = 600.0


def run(command: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Output and exit code of `sfam` or `sfam-live`, run in this process: a new one costs a second of imports.

    What its children print is in the output too. A command that never ends takes this process with it.
    """
    line = [command, *map(str, arguments)]
    entry = main_live if command == "sfam-live" else main
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        faulthandler.dump_traceback_later(TIMEOUT_S, exit=True)
        with _standard_streams(out, err), mock.patch.object(sys, "argv", line), _environment():
            code = _exit_code_of(entry)
        faulthandler.cancel_dump_traceback_later()
        said = [stream.read() for stream in (out, err) if stream.seek(0) == 0]
    return subprocess.CompletedProcess(line, code, *said)


def run_installed(command: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The same by the installed program, in a process of its own."""
    line = [str(BIN / command), *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, timeout=TIMEOUT_S, env=environment(), check=False)


def start(command: str, *arguments: str | Path, own_group: bool = False) -> subprocess.Popen[str]:
    """A running command, its output captured; in a process group of its own as a shell starts it."""
    return subprocess.Popen(
        [str(BIN / command), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=own_group,
    )


def environment() -> dict[str, str]:
    """Of a machine without display and without settings of ours."""
    return {key: value for key, value in os.environ.items() if not key.startswith("SFAM_") and key != "DISPLAY"}


@contextmanager
def _environment() -> Iterator[None]:
    with mock.patch.dict(os.environ, environment(), clear=True):
        yield


@contextmanager
def _standard_streams(out: IO[str], err: IO[str]) -> Iterator[None]:
    """Files in place of this process's output, also for what C code and children print."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(number) for number in (1, 2)]
    try:
        for number, stream in ((1, out), (2, err)):
            os.dup2(stream.fileno(), number)
        with mock.patch.object(sys, "stdout", out), mock.patch.object(sys, "stderr", err):
            yield
            out.flush()
            err.flush()
    finally:
        for number, before in zip((1, 2), kept, strict=True):
            os.dup2(before, number)
            os.close(before)


def _exit_code_of(entry: object) -> int:
    assert callable(entry)
    try:
        entry()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except Exception:
        traceback.print_exc()
        return 1
    return 0
