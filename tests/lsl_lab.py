"""A lab network of its own for tests of Lab Streaming Layer: this machine only, nobody else's streams in it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MARKER_PROGRAM = """
import sys, time, pylsl
name, source_id = sys.argv[1:]
outlet = pylsl.StreamOutlet(pylsl.StreamInfo(name, "Markers", 1, pylsl.IRREGULAR_RATE, pylsl.cf_string, source_id))
print("ready", flush=True)
for line in sys.stdin:
    if not outlet.have_consumers():
        print("nobody", flush=True)
        continue
    now_ns = time.monotonic_ns()
    outlet.push_sample([line.rstrip("\\n")], pylsl.local_clock())
    print(now_ns, flush=True)
"""


def require_lsl() -> None:
    """Enter the lab of this test run, for this process and its children; skip without pylsl unless it must be there."""
    try:
        import pylsl
    except (ImportError, RuntimeError) as error:
        if os.environ.get("SFAM_REQUIRE_EXAMPLES") == "1":
            pytest.fail(f"pylsl is required: {error}")
        pytest.skip(f"needs pylsl: {error}")
    if "LSLAPICFG" not in os.environ:
        settings = Path(tempfile.mkdtemp(prefix="sfam_lsl_")) / "lsl_api.cfg"
        lab = f"[lab]\nSessionID = {uuid.uuid4().hex}\n[multicast]\nResolveScope = machine\n[log]\nlevel = -2\n"
        settings.write_text(lab)
        os.environ["LSLAPICFG"] = str(settings)
    assert pylsl.protocol_version() > 0


class MarkerProgram:
    """A stimulus program in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def send(self, text: str) -> int | None:
        """Send a marker; the monotonic time at which it was pushed, None while nobody listens."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(text + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().strip()
        return None if answer == "nobody" else int(answer)

    def kill(self) -> None:
        """End it as a crash would."""
        self._process.kill()
        self._process.wait()


@contextmanager
def marker_program(name: str, source_id: str = "") -> Iterator[MarkerProgram]:
    """Start one; its stream stands when this returns."""
    process = subprocess.Popen(
        [sys.executable, "-c", MARKER_PROGRAM, name, source_id],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield MarkerProgram(process)
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
