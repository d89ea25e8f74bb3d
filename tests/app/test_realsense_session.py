"""Sessions in real processes on a camera of the vendor's SDK that exists in software only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sfam.app.analysis_role import AnalysisSettings, analysis_role
from sfam.app.capture_role import CaptureSettings, capture_role
from sfam.app.interruption import Interruption
from sfam.app.recovery import CameraRecovery
from sfam.app.ring_offer import offer_ring, start_capture
from sfam.app.role import Retry, Role, RoleResult
from sfam.app.supervisor import Supervisor
from sfam.capture.clock import SessionClock
from sfam.capture.config import CaptureConfig
from sfam.stream.ring import Ring
from tests.app.counting_session import CountingConfig, open_counting_session

pytest.importorskip("pyrealsense2")

from tests.capture import soft_realsense
from tests.capture.software_camera import SERIAL  # after the check: it needs the SDK


@pytest.mark.slow  # opens the camera in a process of its own twice and waits for its loss in between
@pytest.mark.parametrize(("order", "told"), [("stall", "the depth stream stalled"), ("unplug", f"{SERIAL}: unplugged")])
def test_a_lost_camera_is_found_again_by_serial_and_the_session_goes_on(
    order: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(soft_realsense.FOLDER, str(tmp_path))
    monkeypatch.syspath_prepend(str(soft_realsense.install(tmp_path)))
    config = CaptureConfig(camera="soft", warmup_frames=3, stall_timeout=0.5)
    settings = CaptureSettings(config, SessionClock.start())
    said: list[str] = []
    recovery = CameraRecovery(settings, said.append)
    rings: list[Ring] = []
    heard: list[tuple[str, Any]] = []

    def hear(role: str, kind: str, message: Any) -> None:
        heard.append((kind, message))
        if kind == "opened":
            recovery.opened(message)
            if not rings:
                rings.append(offer_ring(supervisor, message, "latest", 8, ["analysis"]))
                return
        if kind in ("opened", "ready"):
            start_capture(supervisor, rings[0].name)
            recovery.streaming(rings[0].written)

    def tick() -> None:
        if not rings:
            return
        outage = recovery.flowing(rings[0].written)
        if outage is not None:
            supervisor.send("analysis", "interruption", outage)
        if rings[0].written >= 20 and not ordered:
            ordered.append(True)
            (tmp_path / order).touch()
        if recovery.restarts and rings[0].written > at_loss[0] + 20:
            supervisor.stop()

    at_loss, ordered = [0], list[bool]()

    def failed(role: Role, result: RoleResult) -> Retry | None:
        at_loss[0] = rings[0].written if rings else 0
        return recovery.failed(result)[0] if role.name == "capture" else None

    analysis = AnalysisSettings(open_counting_session, CountingConfig())
    supervisor = Supervisor(
        [Role("capture", capture_role, settings), Role("analysis", analysis_role, analysis)],
        on_message=hear,
        on_tick=tick,
        on_failure=failed,
    )
    captured, analysed = supervisor.run()
    for ring in rings:
        ring.close()
    assert captured.ok, captured.trace or captured.message
    assert told in said[0]
    assert "the session goes on" in said[1]
    (outage,) = [message for kind, message in heard if kind == "interrupted"]
    assert isinstance(outage, Interruption)
    numbers = analysed.value["numbers"]
    assert [sequence for sequence, _ in numbers] == list(range(len(numbers)))
    assert [segment for _, segment in numbers] == [0] * at_loss[0] + [1] * (len(numbers) - at_loss[0])
    opened = [message for kind, message in heard if kind == "opened"]
    assert [info.details["serial"] for info in opened] == [SERIAL] * 2
