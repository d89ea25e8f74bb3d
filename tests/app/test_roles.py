from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sfam.app.analysis_role import AnalysisSettings, analysis_role
from sfam.app.capture_role import CaptureSettings, capture_role
from sfam.app.ring_offer import offer_ring, start_capture
from sfam.app.role import Role, RoleResult
from sfam.app.role_link import Tell
from sfam.app.single_process import run_single_process
from sfam.app.supervisor import Supervisor
from sfam.capture.clock import SessionClock
from sfam.capture.config import CaptureConfig
from sfam.capture.pacing import ReplayControl
from sfam.capture.source import SourceInfo
from sfam.capture.synthetic import SyntheticSource
from sfam.sinks.incident import Incident
from sfam.stream.ring import Policy, Ring
from sfam.stream.ring_reader import StreamEnd
from tests.app.counting_session import CountingConfig, CountingSession, open_counting_session
from tests.shared_data import shared


@dataclass
class Run:
    """One session in processes, and what its parent heard."""

    results: tuple[RoleResult, ...] = ()
    told: list[tuple[str, Any]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)


def settings(camera: Path, speed: float = math.inf, **options: Any) -> CaptureSettings:
    return CaptureSettings(CaptureConfig(camera=str(camera)), SessionClock.start(), speed, **options)


def run_processes(
    capture: CaptureSettings,
    config: CountingConfig | None = None,
    policy: Policy = "lossless",
    on_tick: Callable[[Supervisor], None] | None = None,
    run: Run | None = None,
) -> Run:
    run, rings = run or Run(), list[Ring]()

    def hear(role: str, kind: str, message: Any) -> None:
        if kind == "opened":
            rings.append(offer_ring(supervisor, message, policy, 8))
        elif kind == "ready":
            start_capture(supervisor, message)
        elif kind == "status":
            run.statuses.append(message["frame"])
        else:
            run.told.append((kind, message))

    analysis = AnalysisSettings(open_counting_session, config or CountingConfig())
    supervisor = Supervisor(
        [Role("capture", capture_role, capture), Role("analysis", analysis_role, analysis)],
        on_message=hear,
        on_tick=lambda: on_tick(supervisor) if on_tick else None,
    )
    run.results = supervisor.run()
    for ring in rings:
        ring.close()
    return run


def test_a_recording_gives_the_same_frames_in_one_process_and_in_two(capfd: pytest.CaptureFixture[str]) -> None:
    recording = shared("recordings/face_a.bag")
    run = run_processes(settings(recording), CountingConfig(delay_s=0.002))
    captured, analysed = run.results
    assert captured.ok, captured.trace
    assert analysed.ok, analysed.trace
    assert analysed.value["frames"] == captured.value["frames"] == 180
    assert analysed.value["end"] == StreamEnd("ended")
    assert analysed.value["stages"] == ["decode"]
    assert run.told == [("began", "face_a"), ("closed", 180)]
    assert run.statuses[-1] == 180
    assert capfd.readouterr().err == ""

    told: list[tuple[str, Any]] = []
    single = run_single_process(
        settings(recording),
        AnalysisSettings(open_counting_session, CountingConfig()),
        stop=lambda: False,
        control=ReplayControl(),
        tell=lambda *message: told.append(message),
        show_status=lambda status: None,
    )
    assert dict(single) == dict(analysed.value)
    assert told == run.told


def test_a_missing_recording_ends_both_processes_with_the_sources_words() -> None:
    run = run_processes(settings(Path("nowhere.bag")))
    captured, analysed = run.results
    assert "SourceError" in captured.error_names
    assert "nowhere.bag" in captured.message
    assert analysed.ok
    assert dict(analysed.value) == {}


def test_an_error_in_the_analysis_stops_capture() -> None:
    began_s = time.monotonic()
    captured, analysed = run_processes(
        settings(shared("recordings/face_a.bag"), speed=0.1), CountingConfig(fail_at=5)
    ).results
    assert time.monotonic() - began_s < 60
    assert analysed.message == "frame 5 is unlucky"
    assert captured.ok


def test_a_stop_ends_a_replay_at_once_and_the_analysis_takes_what_was_written() -> None:
    run = Run()

    def soon(supervisor: Supervisor) -> None:
        if run.statuses:
            supervisor.stop()

    run_processes(settings(shared("recordings/face_a.bag"), speed=0.5), on_tick=soon, run=run)
    captured, analysed = run.results
    assert 0 < captured.value["frames"] < 180
    assert analysed.value["frames"] == captured.value["frames"]


def test_duration_and_decimation_count_in_capture_time() -> None:
    capture = settings(shared("recordings/face_a.bag"), duration_s=2.0, keep_every=3)
    captured, analysed = run_processes(capture).results
    frames = captured.value["frames"]
    assert frames == analysed.value["frames"]
    assert captured.value["drops"] == analysed.value["drops"] == {"decimated": 61 - frames - (61 - frames) % 2}
    stamps = analysed.value["stamps"]
    assert stamps[-1] - stamps[0] < 2e9 < stamps[-1] - stamps[0] + 3.1 * 1e9 / 30


def test_a_paused_replay_goes_by_steps_and_reports_where_it_stands() -> None:
    run, ticks, third_s = Run(), 0, 0.0

    def press(supervisor: Supervisor) -> None:
        nonlocal ticks, third_s
        ticks += 1
        if ticks in (5, 7, 9):
            supervisor.send("capture", "step")
        if not third_s and run.statuses and run.statuses[-1] == 3:
            third_s = time.monotonic()
        if third_s and time.monotonic() - third_s > 0.3:
            supervisor.stop()

    run_processes(settings(shared("recordings/face_a.bag"), paused=True), on_tick=press, run=run)
    assert run.results[0].value["frames"] == 3
    assert run.results[1].value["frames"] == 3


class HeldUpSession(CountingSession):
    """Busy for a moment whenever no frame comes: what it is sent meanwhile, and the stop after it, wait together."""

    def idle(self) -> None:
        self._tell("idle", None)
        time.sleep(2.0)


def open_held_up_session(config: CountingConfig, tell: Tell) -> HeldUpSession:
    return HeldUpSession(config, tell)


def test_what_an_analysis_is_told_just_before_its_end_is_not_lost() -> None:
    told: list[tuple[str, Any]] = []
    camera = SyntheticSource(CaptureConfig()).info.calibration
    sent: list[Incident] = []

    def hear(role: str, kind: str, message: Any) -> None:
        told.append((kind, message))
        if kind == "idle" and not sent:
            sent.append(Incident("memory", 1, "the overlay process held 900 MB"))
            supervisor.send("analysis", "incident", sent[0])
            supervisor.stop()

    def offer_once() -> None:
        if not rings:
            rings.append(offer_ring(supervisor, SourceInfo("demo", "synthetic", True, 30.0, camera), "latest", 4))

    rings: list[Ring] = []
    analysis = AnalysisSettings(open_held_up_session, CountingConfig())
    supervisor = Supervisor([Role("analysis", analysis_role, analysis)], on_message=hear, on_tick=offer_once)
    (result,) = supervisor.run()
    rings[0].close()
    assert result.ok, result.trace
    assert ("noted", sent[0]) in told
