"""A fast camera through the capture process and the ring, to a reader that computes: 640x480 color and depth.

python -m benchmarks.capture_rate [--seconds 60] [--fps 90] [--work-ms 3] [--json] [--save FILE.md]
The camera is drawn beforehand and paced by the wall clock; capture and reader run as processes of a session do.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sfam.app.capture_role import CaptureSettings, capture_role
from sfam.app.ring_offer import end_of, offer_ring, start_capture, until_end
from sfam.app.role import Role
from sfam.app.role_link import RoleLink
from sfam.app.supervisor import Supervisor
from sfam.capture.clock import SessionClock
from sfam.capture.config import CaptureConfig
from sfam.capture.frame import Calibration, ClockDomain, Intrinsics, RGBDFrame
from sfam.capture.source import FrameSource, SourceInfo
from sfam.capture.synthetic import SyntheticSource
from sfam.stream.ring import Ring
from sfam.stream.ring_reader import RingReader

WIDTH, HEIGHT = 640, 480
DRAWN = 12
"""Different frames, shown again and again."""
SLOTS = 16
"""As a session's default."""


class FastCamera(FrameSource):
    """The demo's face at 640x480, as often a second as `capture.fps` says."""

    def __init__(self, config: CaptureConfig) -> None:
        self._fps = config.fps or 90
        with SyntheticSource(CaptureConfig()) as demo:
            drawn = list(islice(demo.frames(), DRAWN))
        lens = Intrinsics(WIDTH, HEIGHT, 600.0, 600.0, WIDTH / 2, HEIGHT / 2)
        self._calibration = Calibration(lens, lens, depth_aligned=True)
        self._frames = [
            replace(
                one,
                color=np.asarray(cv2.resize(one.color, (WIDTH, HEIGHT)), np.uint8),
                depth=np.asarray(cv2.resize(one.depth, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST), np.uint16),
                calibration=self._calibration,
            )
            for one in drawn
        ]
        self.late = 0

    @property
    def info(self) -> SourceInfo:
        return SourceInfo("fast", "device", True, float(self._fps), self._calibration)

    @property
    def drops(self) -> Mapping[str, int]:
        """Frames that a camera would have overwritten, as the capture process came too late for them."""
        return {"late": self.late} if self.late else {}

    def frames(self) -> Iterator[RGBDFrame]:
        """Each at its time; one that is due a whole queue of a camera ago (16 frames) is lost."""
        begin_s = time.monotonic()
        for number in count():
            behind_s = time.monotonic() - begin_s - number / self._fps
            time.sleep(max(0.0, -behind_s))
            if behind_s > 16 / self._fps:
                self.late += 1
                continue
            stamp_ns = round(number * 1e9 / self._fps)
            drawn = self._frames[number % DRAWN]
            yield replace(drawn, sequence=number, t_device_ns=stamp_ns, clock_domain=ClockDomain.HARDWARE)

    def close(self) -> None:
        """Nothing is held."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the reader counted."""

    frames: int
    lost: int
    drops: Mapping[str, int]
    late_p50_ms: float
    late_p99_ms: float
    busy: float
    """Share of the time that the reader's process computed."""


def read_role(work_s: float, link: RoleLink) -> Mapping[str, Any]:
    """Process 'analysis': computes for so long on each frame."""
    offer = link.receive("source")
    if offer is None:
        return {}
    late_ms: list[float] = []
    with RingReader(offer.ring, offer.reader) as reader:
        link.tell("ready", offer.ring)
        first_s = used_s = 0.0
        for frame in until_end(reader, link):
            if frame is None:
                continue
            began_s = time.perf_counter()
            late_ms.append((time.monotonic_ns() - frame.t_host_ns) / 1e6)
            if not first_s:
                first_s, used_s = time.monotonic(), time.process_time()
            while time.perf_counter() - began_s < work_s:
                frame.depth[::8, ::8].sum()
        busy = (time.process_time() - used_s) / max(time.monotonic() - first_s, 1e-9)
        end_of(reader, link)
        p50, p99 = np.percentile(late_ms, (50, 99))
        found = Found(len(late_ms), reader.lost, dict(reader.drops), round(float(p50), 2), round(float(p99), 2), busy)
    return {"found": found}


def install(folder: Path) -> Path:
    """What an installed package with this camera looks like on the path."""
    facts = folder / "fast_camera-1.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: fast-camera\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[sfam.sources]\nfast = benchmarks.capture_rate:FastCamera\n")
    return folder


def run(seconds: float, fps: int, work_s: float) -> dict[str, Any]:
    """One run in real processes."""
    rings: list[Ring] = []

    def hear(role: str, kind: str, message: Any) -> None:
        if kind == "opened":
            rings.append(offer_ring(supervisor, message, "latest", SLOTS))
        elif kind == "ready":
            start_capture(supervisor, message)

    config = CaptureConfig(camera="fast", fps=fps)
    capture = CaptureSettings(config, SessionClock.start(), duration_s=seconds)
    roles = [Role("capture", capture_role, capture), Role("analysis", read_role, work_s)]
    supervisor = Supervisor(roles, on_message=hear)
    results = supervisor.run()
    for ring in rings:
        ring.close()
    failed = [one for one in results if not one.ok]
    if failed:
        raise RuntimeError("; ".join(f"{one.role}: {one.message}" for one in failed))
    found: Found = results[1].value["found"]
    return {
        "seconds": seconds,
        "fps": fps,
        "work_ms": work_s * 1e3,
        "written": results[0].value["frames"],
        "read": found.frames,
        "overwritten": found.lost,
        "dropped": dict(found.drops),
        "latency_p50_ms": found.late_p50_ms,
        "latency_p99_ms": found.late_p99_ms,
        "reader_busy": round(found.busy, 2),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
    }


def page(found: dict[str, Any], asked: str) -> str:
    """The result as Markdown."""
    rows = "\n".join(f"| {name} | {value if value != {} else 0} |" for name, value in found.items())
    return (
        "# A fast camera through the capture process and the ring\n\n"
        f"640x480 color and depth, {platform.machine()}, {os.cpu_count()} cores, {datetime.date.today().isoformat()}.\n"
        f"Made by `python -m benchmarks.capture_rate {asked}`.\n"
        "`overwritten`: the reader came too late for a frame; `dropped`: by cause, before the ring; `load`: of all\n"
        "that ran on the machine meanwhile, of which latency tells more than of the ring.\n\n"
        f"| what | |\n|---|--:|\n{rows}\n"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--fps", type=int, default=90)
    parser.add_argument("--work-ms", type=float, default=3.0, help="what the reader computes on each frame")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--save", type=Path, help="write the page here too")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        sys.path.insert(0, str(install(Path(name) / "site")))
        found = run(asked.seconds, asked.fps, asked.work_ms / 1e3)
    text = page(found, f"--seconds {asked.seconds:g} --fps {asked.fps} --work-ms {asked.work_ms:g}")
    if asked.save:
        asked.save.write_text(text)
    print(json.dumps(found, indent=1) if asked.json else text)
    return 1 if found["overwritten"] or found["dropped"] else 0


if __name__ == "__main__":
    sys.exit(main())
