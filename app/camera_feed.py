"""One camera of a session as the supervising process sees it: its capture process, its ring, and who reads that."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from sfam.capture.pacing import is_live
from sfam.capture.source import SourceInfo
from sfam.sinks.folder_hold import FolderHold
from sfam.stream.ring import Policy, Ring

from .capture_role import CaptureSettings, capture_role
from .clip_role import CLIPS, ClipPlan, clip_role
from .handover import Handover
from .interruption import Interruption
from .pause import HOLD, PauseRequest
from .recording_role import RecordingPlan, recorder_role
from .recovery import CameraRecovery
from .ring_offer import SourceOffer, offer_ring, start_capture
from .role import Retry, Role, RoleResult
from .session_plan import SessionPlan
from .sink_roles import LOOK
from .supervisor import Supervisor

ANALYSIS = "analysis"
JOINING_S, FILE_JOINING_S = 10.0, 60.0
"""Frames wait for sinks that keep what they get, but no longer than this; those of a recording are not in a hurry."""
HANGS_AFTER_S = 30.0
"""An analysis that looks for no frame for so long hangs: a frame takes milliseconds, on a starved machine seconds."""


@dataclass(frozen=True, slots=True)
class CameraSetup:
    """What was settled for one camera."""

    plan: SessionPlan
    capture: CaptureSettings
    recording: RecordingPlan | None = None
    clips: ClipPlan | None = None
    label: str = ""
    """Name among several cameras, in topics, folders and processes; '' where there is but one."""


class CameraFeed:
    """Lets frames flow once all readers are ready, and again after camera, analysis or recorder died.

    Args:
        setup: of the camera.
        supervisor: gives the supervisor, which does not exist yet.
        tell: a line for the operator.
        cpus_capture, cpus_sinks: processors of the capture process, and of the recorder.
        awaited: processes that have to join the bus before the first frame, so that they miss nothing.
    """

    def __init__(
        self,
        setup: CameraSetup,
        supervisor: Callable[[], Supervisor],
        tell: Callable[[str], None],
        cpus_capture: tuple[int, ...] = (),
        cpus_sinks: tuple[int, ...] = (),
        awaited: Collection[str] = (),
    ) -> None:
        self.setup = setup
        self.suffix = f" {setup.label}" if setup.label else ""
        self.capture_name, self.recorder_name = f"capture{self.suffix}", f"recorder{self.suffix}"
        self.clips_name = f"{CLIPS}{self.suffix}"
        self._supervisor = supervisor
        self._tell = tell
        self._cpus = (cpus_capture, cpus_sinks)
        self._readers = [ANALYSIS, *(role.name for role in self.keepers())]
        self._ready: set[str] = set()
        self._awaited = set(awaited)
        self._ready_s: float | None = None
        self._recovery = CameraRecovery(setup.capture, tell)
        self._recording_parts = 1
        self.info: SourceInfo | None = None
        """None until the camera was opened."""
        self.ring: Ring | None = None
        self.started = False
        """True once frames were allowed to flow."""
        self.interruptions: list[Interruption] = []
        self.request = PauseRequest(setup.plan.folder)
        self._folder_hold = FolderHold(setup.plan.folder)
        self._held = False
        if setup.plan.force:
            self.request.clear()  # of the session that is overwritten

    @property
    def is_live(self) -> bool:
        """Whether the camera goes on while nobody takes its frames; False before it was opened."""
        return self.info is not None and is_live(self.info, self.setup.capture.speed)

    def obey_request(self) -> None:
        """Hold frames back, or let them go on, where somebody has asked for it; and the folder, once it is there."""
        self._folder_hold.take()
        if self.started and self.request.is_set != self._held:
            self._held = not self._held
            self._supervisor().send(self.capture_name, HOLD, self._held)

    def capture(self) -> Role:
        """The capture process."""
        return Role(self.capture_name, capture_role, self.setup.capture, cpus=self._cpus[0])

    def keepers(self) -> list[Role]:
        """Who stores pictures: the recorder, and the one of event clips, where there are such."""
        recording, clips, cpus = self.setup.recording, self.setup.clips, self._cpus[1]
        roles = [] if recording is None else [Role(self.recorder_name, recorder_role, recording, False, cpus)]
        return roles + ([] if clips is None else [Role(self.clips_name, clip_role, clips, False, cpus, yields=True)])

    def opened(self, info: SourceInfo, slots: int) -> None:
        """The capture process has opened the camera: make the ring, or go on with it."""
        if self.setup.label:
            info = replace(info, camera=self.setup.label)
        if self.ring is not None:
            self._opened_again(info)
            return
        self._recovery.opened(info)
        self.info = info
        policy: Policy = "lossless" if self.setup.plan.lossless else "latest"
        self.ring = offer_ring(self._supervisor(), info, policy, slots, self._readers, self.suffix)

    def offer(self, role: str, *, newest: bool = False) -> tuple[str, SourceOffer]:
        """The command that a reader which is started again needs."""
        assert self.ring is not None
        assert self.info is not None
        reader = self._readers.index(role) if role in self._readers else 0
        command = f"source{self.suffix}" if role == ANALYSIS else "source"
        return command, SourceOffer(self.ring.name, self.info, reader, newest)

    def offers(self, role: str) -> tuple[tuple[str, SourceOffer], ...]:
        """The same, where the camera was opened already: else the reader is told with the others."""
        return () if self.ring is None else (self.offer(role),)

    def look(self) -> tuple[str, tuple[str, str]]:
        """The command that an overlay needs to see this camera."""
        assert self.ring is not None
        assert self.info is not None
        return LOOK, (self.info.camera, self.ring.name)

    def ready(self, role: str) -> None:
        """A reader can take frames."""
        self._ready.add(role)
        self._start()

    def joined(self, role: str) -> None:
        """A sink follows the bus, or never will."""
        self._awaited.discard(role)
        self._start()

    def analysis_failed(self) -> tuple[str, SourceOffer]:
        """What the next analysis has to be told; until it is ready nobody asks whether it hangs."""
        self._ready.discard(ANALYSIS)
        return self.offer(ANALYSIS, newest=True)

    def resumed(self, handover: Handover, cause: str) -> SessionPlan:
        """The plan of an analysis that goes on in the place of one that died of this cause."""
        return replace(self.setup.plan, resume=handover.resume(self.suffix, cause, tuple(self.interruptions)))

    def camera_failed(self, result: RoleResult) -> Retry | None:
        """When to start the capture process again."""
        retry, outage = self._recovery.failed(result)
        if outage is not None:
            self._report(outage)
        return retry

    def recorder_failed(self, pause_s: float) -> Retry:
        """Record on in a file of its own: the one of the dead recorder stays as it is."""
        assert self.setup.recording is not None
        self._recording_parts += 1
        settings = self.setup.recording.recorder
        path = settings.path.with_stem(f"{settings.path.stem}_{self._recording_parts}")
        plan = replace(self.setup.recording, recorder=replace(settings, path=path))
        return Retry(plan, pause_s, self.offers(self.recorder_name))

    def watch(self) -> None:
        """Kill what hangs; tell the analysis when frames come again; end what stays away."""
        if self.ring is None:
            return
        longest_s = FILE_JOINING_S if self.setup.plan.lossless else JOINING_S
        if self._awaited and self._ready_s is not None and time.monotonic() - self._ready_s > longest_s:
            names = ", ".join(sorted(self._awaited))
            self._tell(f"{names}: not on the bus after {longest_s:g} s; what comes now is missing there")
            self._awaited.clear()
            self._start()
        can_hang = ANALYSIS in self._ready and not self.setup.plan.lossless
        if can_hang and self.ring.reader_silence_s(0) > HANGS_AFTER_S:
            self._supervisor().kill(ANALYSIS, f"looked for no frame for {HANGS_AFTER_S:g} s")
        if not self._recovery.watches:
            return
        because = self._recovery.hangs(self.ring.writer_silence_s)
        if because is not None:
            self._supervisor().kill(self.capture_name, because)
        outage = self._recovery.flowing(self.ring.written)
        if outage is not None:
            self._report(outage)
        if self._supervisor().stopping and self._recovery.is_lost:
            self.ring.fail(self._recovery.cause)

    def close(self) -> None:
        """Remove the ring, and what asked for a pause; let go of the folder."""
        self._folder_hold.release()
        if self.started:
            self.request.clear()
        if self.ring is not None:
            self.ring.close()

    def _opened_again(self, info: SourceInfo) -> None:
        """The lost camera is back: it goes on in the ring, where it has the same sizes as before."""
        assert self.ring is not None
        color, depth = info.calibration.color, info.calibration.depth
        if ((color.height, color.width), (depth.height, depth.width)) != self.ring.shapes:
            self._supervisor().kill(self.capture_name, f"came back with other image sizes ({color}, {depth})")
            return
        self._recovery.opened(info)
        for warning in info.warnings:
            self._tell(warning)
        self.started = False
        self._start()

    def _start(self) -> None:
        if self.ring is None or self.started or self._ready != set(self._readers):
            return
        self._ready_s = self._ready_s or time.monotonic()
        if self._awaited:
            return
        self.started = True
        start_capture(self._supervisor(), self.ring.name, self.capture_name)
        self._recovery.streaming(self.ring.written)

    def _report(self, outage: Interruption) -> None:
        if self.interruptions and self.interruptions[-1].began_ns == outage.began_ns:
            self.interruptions.pop()
        self.interruptions.append(outage)
        self._supervisor().send(ANALYSIS, f"interruption{self.suffix}", outage)
