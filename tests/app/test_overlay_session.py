"""A whole session with its page: what the operator sees, and what nobody else gets."""

from __future__ import annotations

import asyncio
import json
import struct
import threading
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sfam.sinks.subscriber import subscribe
from tests.app.command import run, start
from tests.app.free_port import free_address, free_port
from tests.sinks.waiting import until


class Page(threading.Thread):
    """Stands in for an open page: the last picture, its number, and what was said of the session."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._url = f"http://127.0.0.1:{port}/feed"
        self.frames: set[int] = set()
        self.scored: set[int] = set()
        self.header: dict[str, Any] = {}
        self.states: list[str] = []

    def run(self) -> None:
        asyncio.run(self._follow())

    async def _follow(self) -> None:
        async with aiohttp.ClientSession() as client:
            while True:
                try:
                    async with client.ws_connect(self._url) as socket:
                        async for message in socket:
                            self._take(message)
                except aiohttp.ClientError:
                    await asyncio.sleep(0.2)

    def _take(self, message: aiohttp.WSMessage) -> None:
        if message.type == aiohttp.WSMsgType.BINARY:
            text, _ = struct.unpack_from("<II", message.data)
            self.header = json.loads(message.data[8 : 8 + text])
            self.frames.add(self.header["frame"])
        elif message.type == aiohttp.WSMsgType.TEXT:
            news = json.loads(message.data)
            self.scored |= {row[0] for row in news.get("scores", ())}
            if "session" in news:
                self.states.append(news["session"]["state"])


@pytest.mark.slow  # a session of several processes
def test_the_operator_sees_pixels_that_nobody_else_gets(tmp_path: Path) -> None:
    address, port, folder = free_address(), free_port(), tmp_path / "s"
    arguments = ["--camera", "demo", "--publish", address, "--overlay", "web", "-q", "--out", str(folder)]
    session = start("sfam-live", *arguments, "--set", f"sinks.web_address=127.0.0.1:{port}")
    heard: set[str] = set()

    def listen() -> None:
        for message in subscribe(address, ("score", "frame", "flow"), running=lambda: session.poll() is None):
            heard.add(message.kind)

    listener, page = threading.Thread(target=listen, daemon=True), Page(port)
    listener.start()
    page.start()
    try:
        until(lambda: len(page.frames) > 20 and page.header["flow_frame"] is not None, "pictures with motion", 120)
        assert page.frames <= page.scored, "a picture without its score"
        assert page.header["depth_bytes"] > 0
        until(lambda: {"score", "flow"} <= heard, "messages of the bus")
        assert "frame" not in heard
        assert run("sfam", "pause", folder).returncode == 0
        until(lambda: page.states[-1:] == ["paused"], "the word paused on the page")
    finally:
        session.terminate()
        _, said = session.communicate(timeout=60)
    assert session.returncode == 0, said
    stored = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert stored <= {".csv", ".json", ".jsonl", ".yaml", ".html"}
