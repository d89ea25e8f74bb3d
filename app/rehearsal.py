"""`sfam rehearse`: the planned session for a minute, nothing stored and nobody told, and a verdict."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import cv2
import numpy as np

from sfam.capture.config import CaptureConfig
from sfam.capture.frame import RGBDFrame
from sfam.capture.mcap_chunk import PackedMessage, pack_chunk
from sfam.capture.source import SourceInfo
from sfam.sinks.session_tables import ScoreTable
from sfam.stream.face import FaceDetector
from sfam.stream.ring_reader import StreamEnd

from .pipeline import FrameAnalysis
from .role_link import Tell
from .session import Session
from .session_description import describe
from .session_outlets import rows_of
from .session_plan import SessionPlan

SAMPLED_FRAMES = 5
"""Frames packed as a recording would be, to see how large one gets."""
SAMPLE_EVERY = 30
KEPT_SHARES = 4096
MOST_DROPPED = 0.01
ASKED_FOR = "decimated"
"""Cause of the frames that `--policy decimate:N` leaves out: no loss."""
SLOWEST = 0.9
"""Of the nominal rate."""
FEWEST_WITH_FACE = 0.9
FEWEST_DEPTH = 0.6
MOST_NOISE_PX = 0.2
"""Flow noise above which the smallest movements that a model can see drown."""
DISK_MARGIN = 1.2
DEATHS = ("detector_lost", "sink_restart", "analysis_restart")
"""Incidents of processes that died."""


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What a rehearsal measured."""

    frames: int
    dropped: Mapping[str, int]
    fps: float
    """Nominal rate of the source."""
    delivered_fps: float
    """Frames it gave per second of capture time, lost ones included."""
    live: bool
    """Frames came in real time, so latency means something."""
    latency_ms: Mapping[str, float]
    """p50, p95, p99 from capture to score."""
    face_share: float
    """Share of the analysed frames with a face."""
    depth_share: float
    """Median share of the face's pixels with depth; NaN where no window was seen."""
    noise_px: float
    """Flow at rest; NaN until measured."""
    noise_mm: float
    disk_gb_per_hour: float
    recorded: bool
    """Whether that includes a recording."""
    events: int = 0
    recording_lost: Mapping[str, int] = field(default_factory=dict)
    """Frames that a recording would lack, by cause."""
    incidents: tuple[str, ...] = ()
    """What went wrong with its processes."""
    not_rehearsed: tuple[str, ...] = ()
    """What the settings ask for and a rehearsal leaves out."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether to go on, and if not, why and what to do."""

    go: bool
    reasons: tuple[str, ...] = ()
    measured: Mapping[str, Any] = field(default_factory=dict)


def judge(found: Rehearsed, free_bytes: float, hours: float) -> Verdict:
    """Go, or every reason against it.

    Args:
        found: what was measured.
        free_bytes: room where the session is to go.
        hours: planned length.
    """
    lost = {cause: count for cause, count in found.dropped.items() if count and cause != ASKED_FOR}
    dropped, reasons = sum(lost.values()), []
    if not found.frames:
        reasons.append("no frame came: look at the camera with sfam cameras and sfam doctor")
    elif dropped > MOST_DROPPED * (found.frames + dropped):
        causes = ", ".join(f"{count} {cause}" for cause, count in lost.items())
        reasons.append(
            f"{dropped} frames lost ({causes}): end other programs, or analyse fewer frames with --policy decimate:N"
        )
    unrecorded = sum(found.recording_lost.values())
    if unrecorded:
        causes = ", ".join(f"{count} {cause}" for cause, count in found.recording_lost.items())
        reasons.append(
            f"the recording would lack {unrecorded} frames ({causes}): --set capture.record_color=jpeg, with which "
            "sfam verify cannot repeat the session's own tables"
        )
    if found.live and found.frames and found.delivered_fps < SLOWEST * found.fps:
        reasons.append(
            f"the camera gives {found.delivered_fps:.1f} of {found.fps:g} fps: a USB 3 port of its own, more light "
            "(long exposures slow it down), fewer other programs"
        )
    if found.live and found.frames and not found.latency_ms.get("p99", np.inf) <= 1e3 / found.fps:
        reasons.append(
            f"latency p99 {found.latency_ms.get('p99', np.nan):.1f} ms is over one frame ({1e3 / found.fps:.1f} ms): "
            "end other programs or lower the camera's rate"
        )
    if found.frames and not found.face_share >= FEWEST_WITH_FACE:
        reasons.append(f"a face in only {found.face_share:.0%} of the frames: light, distance, or someone else in view")
    if found.frames and not found.depth_share >= FEWEST_DEPTH:
        reasons.append(
            f"depth on only {found.depth_share:.0%} of the face: stay within the camera's range, avoid direct sun"
        )
    reasons += found.incidents
    if found.noise_px > MOST_NOISE_PX:
        reasons.append(f"a face at rest moves by {found.noise_px:.2f} px, small expressions drown: more light, nearer")
    needed = found.disk_gb_per_hour * hours * 1e9 * DISK_MARGIN
    if needed > free_bytes:
        reasons.append(
            f"{hours:g} h need {needed / 1e9:.1f} GB with some margin, {free_bytes / 1e9:.1f} GB are free: free some, "
            "or choose another --out"
        )
    return Verdict(not reasons, tuple(reasons), asdict(found))


class Rehearsal(Session):
    """A session that keeps only what it measured of itself."""

    def __init__(self, plan: SessionPlan, tell: Tell, *, detector: FaceDetector | None = None) -> None:
        super().__init__(plan, tell, detector=detector)
        self._table = ScoreTable(self._model.classes)
        self._row_bytes = 0
        self._with_face = 0
        self._depth_shares: deque[float] = deque(maxlen=KEPT_SHARES)
        self._noise = (np.nan, np.nan)
        self._samples: list[int] = []
        self._info: SourceInfo | None = None

    def begin(self, info: SourceInfo) -> None:
        """Note the source, and open the bus for what shows the session; no folder."""
        self._total = info.frames
        self._info = info
        self._out.open_bus(describe(self._plan, info, self._pipeline))

    def finish(self, end: StreamEnd, drops: Mapping[str, int]) -> Mapping[str, Any]:
        """The totals, with what was measured under 'rehearsed'."""
        totals = super().finish(end, drops)
        assert self._info is not None
        latency = totals["latency_us"].get("total", {})
        measured = Rehearsed(
            frames=self._accounts.analysed,
            dropped=totals["dropped"],
            fps=self._info.fps,
            delivered_fps=max(totals["offered"] - 1, 0) / max(totals["capture_s"], 1e-9),
            live=self._plan.config.app.speed == 1.0,
            latency_ms={name: value / 1e3 for name, value in latency.items()},
            face_share=self._with_face / max(self._accounts.analysed, 1),
            depth_share=float(np.median(self._depth_shares)) if self._depth_shares else float("nan"),
            noise_px=self._noise[0],
            noise_mm=self._noise[1],
            disk_gb_per_hour=self._bytes_per_frame() * self._info.fps * 3600 / 1e9,
            recorded=bool(self._samples),
            events=totals["events"].get("confirmed", 0),
            incidents=tuple(one["text"] for one in totals["incidents"] if one["kind"] in DEATHS),
        )
        return {**totals, "rehearsed": measured}

    def _store(self, result: FrameAnalysis) -> None:
        super()._store(result)
        rows = rows_of(result)
        self._row_bytes += sum(len(self._table.row(row)) for row in rows)
        self._with_face += any(row.success for row in rows)
        for window in result.windows:
            self._depth_shares.append(window.depth_valid_share)
            self._noise = (max(window.noise.u_px, window.noise.v_px), window.noise.w_mm)
        capture = self._plan.config.capture
        due = result.frame.sequence % SAMPLE_EVERY == 0 and len(self._samples) < SAMPLED_FRAMES
        if capture.record != "none" and due:
            self._samples.append(recorded_bytes(result.frame, capture))

    def _bytes_per_frame(self) -> float:
        recording = float(np.mean(self._samples)) if self._samples else 0.0
        return self._row_bytes / max(self._accounts.analysed, 1) + recording


def recorded_bytes(frame: RGBDFrame, config: CaptureConfig) -> int:
    """What a frame takes in a recording with these settings."""
    color: bytes | memoryview = np.ascontiguousarray(frame.color).data
    if config.record_color == "jpeg":
        quality = [cv2.IMWRITE_JPEG_QUALITY, config.record_jpeg_quality]
        color = cv2.imencode(".jpg", cv2.cvtColor(frame.color, cv2.COLOR_RGB2BGR), quality)[1].tobytes()
    depth = np.ascontiguousarray(frame.depth).data
    message = PackedMessage(1, 0, 0, (color.cast("B") if isinstance(color, memoryview) else color, depth.cast("B")))
    return len(pack_chunk([message], config.record_compression).data)
