"""An installed plug-in in its own process: sees the ring's frames at its rate, and its results carry their stamps."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from sfam.app.analyzer_role import AnalyzerSettings, analyzer_role
from sfam.app.ring_offer import SourceOffer
from sfam.app.role import Role
from sfam.app.supervisor import Supervisor
from sfam.capture.source import SourceInfo
from sfam.stream.analyzer import analyzer_names
from sfam.stream.ring import Ring
from sfam.stream.ring_writer import RingWriter
from tests.app.grey_plugin import install
from tests.stream.moving_face import frame

ABSENT = {"model": "absent.task"}


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An installed analyzer."""
    install(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return "mean-grey"


class Session:
    """Writes forty frames, one at each tick, once the analyzer is ready."""

    def __init__(self, roles: list[Role]) -> None:
        self.supervisor = Supervisor(roles, on_message=self.take, on_tick=self.tick)
        self.ring = Ring((240, 320), (240, 320), policy="latest", slots=8)
        self.writer = RingWriter(self.ring.name)
        self.offered = self.ready = False
        self.index = 0
        self.results: list[Any] = []

    def take(self, role: str, kind: str, message: Any) -> None:
        self.ready |= kind == "ready"
        if kind == "analyzer":
            self.results.append(message)

    def tick(self) -> None:
        if not self.offered:
            info = SourceInfo("disc", "recording", False, 30.0, frame(0).calibration)
            self.supervisor.send("analyzer", "source", SourceOffer(self.ring.name, info))
            self.offered = True
        elif self.ready and self.index < 40:
            self.writer.write(frame(self.index))
            self.index += 1
            if self.index == 40:
                self.writer.end()

    def run(self) -> Any:
        try:
            return self.supervisor.run()[0]
        finally:
            self.writer.close()
            self.ring.close()


def test_a_plug_in_runs_in_its_own_process_at_its_rate(plugin: str, tmp_path: Path) -> None:
    assert plugin in analyzer_names()
    settings = AnalyzerSettings(plugin, rate_hz=10.0, options={"gain": 2.0}, folder=tmp_path / "session")
    session = Session([Role("analyzer", analyzer_role, settings)])
    result = session.run()
    assert result.ok, result.message
    lines = [json.loads(line) for line in (tmp_path / "session" / f"analyzer_{plugin}.jsonl").read_text().splitlines()]
    frames = [line["frame"] for line in lines]
    assert result.value["analysed"] == len(frames)
    assert result.value["failed"] == 0
    assert 5 <= len(frames) <= 14
    assert all(later - earlier >= 3 for earlier, later in pairwise(frames))
    for line in lines:
        shown = frame(line["frame"])
        assert line["t_capture_ns"] == shown.t_capture_ns
        assert line["values"]["grey"] == pytest.approx(2.0 * shown.color.mean(), abs=1e-6)
    assert session.results
    assert session.results[-1].frame == frames[-1]


def test_an_analyzer_that_cannot_open_fails_alone_with_its_sentence(tmp_path: Path) -> None:
    session = Session(
        [Role("analyzer", analyzer_role, AnalyzerSettings("blendshapes", options=ABSENT), essential=False)]
    )
    result = session.run()
    assert not result.ok
    assert "absent.task, where there is no file" in result.message
