"""The process of a camera host that sends frames to other hosts: one more reader of the ring."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sfam.capture.frame_message import Packing
from sfam.capture.source import SourceInfo
from sfam.sinks.curve import PublisherKeys
from sfam.sinks.frame_server import FrameServer
from sfam.stream.ring_reader import OVERWRITTEN, RingReader, StreamEnd

from .ring_offer import SourceOffer, end_of, until_end
from .role_link import STATUS_EVERY_S, RoleLink

FATE_S = 0.3
SERVING = "serving"
"""Kind of message: the address that other hosts may name now."""


@dataclass(frozen=True, slots=True)
class ServingPlan:
    """What the server process needs."""

    address: str
    keys: str | None
    insecure: bool
    color: Packing
    jpeg_quality: int
    patient: bool
    """Let no frame flow before somebody listens: recordings, whose beginning would be lost."""

    def open(self, info: SourceInfo) -> FrameServer:
        """The server for an open camera.

        Raises:
            SinkError: unusable address or keys.
        """
        return FrameServer(
            self.address,
            info,
            keys=PublisherKeys.load(self.keys) if self.keys else None,
            insecure=self.insecure,
            color=self.color,
            jpeg_quality=self.jpeg_quality,
        )


def serving_role(plan: ServingPlan, link: RoleLink) -> Mapping[str, Any]:
    """Process 'server': tells 'serving' with its address and 'ready' with the ring's name, reports 'status'.

    Raises:
        SinkError: the address cannot be used.
    """
    offer: SourceOffer | None = link.receive("source")
    if offer is None:
        return {}
    with plan.open(offer.info) as server, RingReader(offer.ring, offer.reader) as reader:
        link.tell(SERVING, server.address)
        while plan.patient and not server.wanted and not link.wait_stop(0.05):
            pass
        link.tell("ready", offer.ring)
        began_s, told_s = time.monotonic(), 0.0
        for frame in until_end(reader, link):
            if frame is not None:
                # what the ring lost left a hole in the numbers, which the other host counts itself
                server.push(frame, {cause: lost for cause, lost in reader.drops.items() if cause != OVERWRITTEN})
            if time.monotonic() - told_s >= STATUS_EVERY_S:
                told_s = time.monotonic()
                last = -1 if frame is None else frame.sequence
                link.report("status", _status(server, last, offer.info.frames, told_s - began_s))
        link.wait_stop(FATE_S)  # a supervisor that was killed ends capture as if the operator had
        end = end_of(reader, link)
        if link.orphaned:
            end = StreamEnd("failed", "the supervising process died")
        server.close(end.state, end.reason)
        return {"frames": server.sent_frames, "bytes": server.sent_bytes, "drops": dict(reader.drops)}


def _status(server: FrameServer, frame: int, total: int | None, elapsed_s: float) -> dict[str, Any]:
    """What the operator sees."""
    rate = server.sent_bytes / 1e6 / max(elapsed_s, 1.0)
    heard = "heard" if server.wanted else "nobody listens"
    return {"frame": frame, "total": total, "text": f"{server.sent_frames} frames sent  {rate:.1f} MB/s  {heard}"}
