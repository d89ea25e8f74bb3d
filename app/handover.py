"""What the supervising process knows of an analysis that died, for the one that goes on in its place."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from .interruption import Interruption
from .session_plan import EventsSoFar, Resume

SEQ_MARGIN = 1000
"""A restarted analysis numbers its messages on from the last numbers known plus this: none can come twice."""
EVENT_MARGIN = 100
"""The same of events, which are fewer: a killed analysis may have sent some that it had not yet told of."""


class Handover:
    """Of one camera; told what its analysis tells."""

    def __init__(self) -> None:
        self.next_seq: Mapping[str, int] = {}
        """Of the next message on the bus, by kind."""
        self.events = EventsSoFar()

    def resume(
        self,
        cause: str,
        interruptions: tuple[Interruption, ...],
        threshold_changed: bool,
        threshold: float | None,
    ) -> Resume:
        """What the next analysis has to know.

        Args:
            cause: how the one before died.
            interruptions: of the camera, so far.
            threshold_changed, threshold: as reloaded.
        """
        self.next_seq = {kind: number + SEQ_MARGIN for kind, number in self.next_seq.items()}
        heard = self.events
        self.events = replace(heard, next_id=heard.next_id + EVENT_MARGIN)
        return Resume(
            cause, time.monotonic_ns(), self.next_seq, interruptions, threshold_changed, threshold, self.events
        )
