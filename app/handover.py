"""What the supervising process knows of an analysis that died, for the one that goes on in its place.

What was on its way to a dead process is lost, so all that must last is kept here as well.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from sfam.capture.marker import KEPT_MARKERS, Marker
from sfam.capture.marker_file import MARKERS_FILE, read_markers
from sfam.sinks.growing_file import GrowingFile
from sfam.sinks.incident import Incident
from sfam.sinks.wire import KINDS, compact_json

from .interruption import Interruption
from .pause import Hold
from .session_accounts import MOST_INCIDENTS
from .session_plan import EventsSoFar, Reload, Resume

SEQ_MARGIN = 1000
"""A restarted analysis numbers its messages on from the last numbers known plus this: none can come twice."""
EVENT_MARGIN = 100
"""The same of events, which are fewer: a killed analysis may have sent some that it had not yet told of."""


class Handover:
    """Of a session. Cameras are named by the suffix of their processes: '' where there is but one."""

    def __init__(self) -> None:
        self.next_seq: defaultdict[str, Mapping[str, int]] = defaultdict(dict)
        """Of the next message of each camera on the bus, by kind."""
        self.events: defaultdict[str, EventsSoFar] = defaultdict(EventsSoFar)
        """Of each camera."""
        self.holds: defaultdict[str, list[Hold]] = defaultdict(list)
        """Beginnings and ends of the pauses of each camera."""
        self.incidents: deque[Incident] = deque(maxlen=MOST_INCIDENTS)
        """Those that the analysis was told of."""
        self.markers: deque[Marker] = deque(maxlen=KEPT_MARKERS)
        """In the order they came."""
        self._reload: Reload | None = None

    def is_held(self, camera: str) -> bool:
        """Whether a pause lasts, as far as the camera's capture process has said."""
        return bool(self.holds[camera]) and self.holds[camera][-1].held

    def reloaded(self, reload: Reload) -> None:
        """Settings have changed; once the threshold has, it is not that of the session's settings any more."""
        before = self._reload is not None and self._reload.threshold_changed
        self._reload = replace(reload, threshold_changed=reload.threshold_changed or before)
        self.incidents.append(reload.incident())

    def resume(self, camera: str, cause: str, interruptions: tuple[Interruption, ...] = ()) -> Resume:
        """What the next analysis has to know.

        Args:
            camera: the one it is for.
            cause: how the one before died.
            interruptions: of the camera, so far.
        """
        seen = self.next_seq[camera]
        self.next_seq[camera] = {kind: seen.get(kind, 0) + SEQ_MARGIN for kind in KINDS}
        heard = self.events[camera]
        self.events[camera] = replace(heard, next_id=heard.next_id + EVENT_MARGIN)
        return Resume(
            cause,
            time.monotonic_ns(),
            self.next_seq[camera],
            interruptions,
            self._reload,
            self.events[camera],
            tuple(self.holds[camera]),
            tuple(self.incidents),
            tuple(self.markers),
        )

    def write_missing_markers(self, folder: Path) -> None:
        """Add to a session's markers those that no analysis lived to write; nothing where it never began.

        Raises:
            OSError: they cannot be written.
            SourceError: what is there cannot be read.
        """
        if not self.markers or not folder.is_dir():
            return
        path = folder / MARKERS_FILE
        written = set(read_markers(path)) if path.exists() else set()
        missing = [marker for marker in self.markers if marker not in written]
        if missing:
            with closing(GrowingFile(path, resume=True)) as file:
                file.append("".join(compact_json(marker.fields()) + "\n" for marker in missing))
