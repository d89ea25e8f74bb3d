"""What the web overlay costs at 15 pictures a second: processor time of its process while a page is open.

A whole session runs with one page that takes every picture. Run it on a quiet machine:

    python -m benchmarks.overlay_cost --seconds 20 --camera demo
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
import psutil

BIN = Path(sys.executable).parent
STARTS_WITHIN_S = 120.0
LIMIT = 0.25
"""Of one core."""


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def server_of(session: psutil.Process, port: int) -> psutil.Process:
    """The child of a session that serves the page."""
    for child in session.children(recursive=True):
        if any(one.laddr.port == port and one.status == psutil.CONN_LISTEN for one in child.net_connections("tcp")):
            return child
    raise RuntimeError(f"no child of process {session.pid} listens on port {port}")


async def watch(port: int, session: psutil.Process, seconds: float) -> tuple[float, float]:
    """Share of a core and pictures a second while one page is open."""
    deadline = time.monotonic() + STARTS_WITHIN_S
    async with aiohttp.ClientSession() as client:
        while True:
            try:
                page = await client.ws_connect(f"http://127.0.0.1:{port}/feed")
                break
            except aiohttp.ClientError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.2)
        while (await page.receive()).type != aiohttp.WSMsgType.BINARY:
            pass
        server = server_of(session, port)
        began, before, pictures = time.monotonic(), server.cpu_times(), 0
        while time.monotonic() - began < seconds:
            pictures += (await page.receive()).type == aiohttp.WSMsgType.BINARY
        elapsed, after = time.monotonic() - began, server.cpu_times()
        await page.close()
    return (after.user + after.system - before.user - before.system) / elapsed, pictures / elapsed


def main() -> None:
    """Measure and print; exit 1 above the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--camera", default="demo")
    asked = parser.parse_args()
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [str(BIN / "sfam-live"), "--camera", asked.camera, "--overlay", "web", "-q"]
        command += ["--publish", f"tcp://127.0.0.1:{free_port()}", "--out", f"{folder}/session"]
        command += ["--set", f"sinks.web_address=127.0.0.1:{port}"]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as session:
            try:
                share, rate = asyncio.run(watch(port, psutil.Process(session.pid), asked.seconds))
            finally:
                session.terminate()
    sys.stdout.write(f"web overlay: {100 * share:.1f} % of one core at {rate:.1f} pictures/s, one page open\n")
    sys.exit(share > LIMIT)


if __name__ == "__main__":
    main()
