"""An analysis session for tests: counts frames and hashes their pixels, and fails where told."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sfam.app.interruption import Interruption
from sfam.app.pause import Hold
from sfam.app.role_link import Tell
from sfam.app.session_plan import Reload
from sfam.capture.frame import RGBDFrame
from sfam.capture.marker import Marker
from sfam.capture.source import SourceInfo
from sfam.sinks.incident import Incident
from sfam.stream.analyzer import AnalyzerResult
from sfam.stream.ring_reader import StreamEnd


@dataclass(frozen=True, slots=True)
class CountingConfig:
    fail_at: int | None = None
    delay_s: float = 0.0


class CountingSession:
    def __init__(self, config: CountingConfig, tell: Tell) -> None:
        self._config = config
        self._tell = tell
        self._hash = hashlib.sha256()
        self._stamps: list[int] = []
        self._stages: set[str] = set()
        self._numbers: list[tuple[int, int]] = []
        self._idle = 0

    def begin(self, info: SourceInfo) -> None:
        self._tell("began", info.camera)

    def push(self, frame: RGBDFrame, stage_ns: Mapping[str, int], drops: Mapping[str, int]) -> None:
        if frame.sequence == self._config.fail_at:
            raise ValueError(f"frame {frame.sequence} is unlucky")
        time.sleep(self._config.delay_s)
        self._hash.update(frame.color.tobytes())
        self._hash.update(frame.depth.tobytes())
        self._stamps.append(frame.t_capture_ns)
        self._numbers.append((frame.sequence, frame.segment))
        self._stages |= stage_ns.keys()

    def mark(self, marker: Marker) -> None:
        pass

    def note(self, incident: Incident) -> None:
        self._tell("noted", incident)

    def memory(self, memory_mb: float) -> None:
        self._tell("memory", memory_mb)

    def pause(self, hold: Hold) -> None:
        self._tell("pause", hold)

    def reload(self, reload: Reload) -> None:
        self._tell("reloaded", reload)

    def interrupted(self, interruption: Interruption) -> None:
        self._tell("interrupted", interruption)

    def spare(self) -> None:
        pass

    def analyzed(self, result: AnalyzerResult) -> None:
        self._tell("analyzed", result)

    def idle(self) -> None:
        self._idle += 1

    def status(self) -> Mapping[str, Any]:
        return {"frame": len(self._stamps)}

    def finish(self, end: StreamEnd, drops: Mapping[str, int]) -> Mapping[str, Any]:
        return {
            "frames": len(self._stamps),
            "stamps": self._stamps,
            "numbers": self._numbers,
            "sha256": self._hash.hexdigest(),
            "stages": sorted(self._stages),
            "end": end,
            "drops": dict(drops),
        }

    def close(self) -> None:
        self._tell("closed", len(self._stamps))


def open_counting_session(config: CountingConfig, tell: Tell) -> CountingSession:
    return CountingSession(config, tell)
