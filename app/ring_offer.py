"""How a session's ring reaches those who read it: made, offered, filled, and read to its end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sfam.capture.frame import RGBDFrame
from sfam.capture.source import SourceInfo
from sfam.stream.ring import Policy, Ring
from sfam.stream.ring_reader import RingReader, StreamEnd

from .role_link import RoleLink
from .supervisor import Supervisor


@dataclass(frozen=True, slots=True)
class SourceOffer:
    """What the analysis is told once the source is open."""

    ring: str
    info: SourceInfo
    reader: int = 0
    """The ring's reader number of the role it is for."""
    newest: bool = False
    """Begin with the newest frame: whoever read before has died."""


def offer_ring(
    supervisor: Supervisor,
    info: SourceInfo,
    policy: Policy,
    slots: int,
    readers: Sequence[str] = ("analysis",),
    suffix: str = "",
) -> Ring:
    """Make the ring for the source that the capture process reported as 'opened', and name it to the reading roles.

    Once all of them have told 'ready' with the ring's name, `start_capture` lets frames flow: none waits for a model to
    load. The caller owns the ring and closes it after the supervisor's `run`.

    Args:
        supervisor: of the roles.
        info: of the source.
        policy, slots: of the ring.
        readers: roles, the analysis first.
        suffix: of the camera's commands to the analysis, where that is shared with others.
    """
    color, depth = info.calibration.color, info.calibration.depth
    ring = Ring(
        (color.height, color.width),
        (depth.height, depth.width),
        policy=policy,
        slots=slots,
        readers=len(readers),
        restarts=info.kind == "device" or (info.kind == "synthetic" and policy == "latest"),
    )
    for reader, role in enumerate(readers):
        command = "source" if reader else f"source{suffix}"
        supervisor.send(role, command, SourceOffer(ring.name, info, reader))
    return ring


def start_capture(supervisor: Supervisor, ring_name: str, role: str = "capture") -> None:
    """Let the capture process fill the ring."""
    supervisor.send(role, "ring", ring_name)


def until_end(reader: RingReader, link: RoleLink) -> Iterator[RGBDFrame | None]:
    """Frames to the end, None where none comes for a while; after a stop those that are there: capture went before."""
    while not link.orphaned:
        frame = reader.read(0.05)
        if frame is None and (reader.end is not None or link.stopping()):
            return
        yield frame


def end_of(reader: RingReader, link: RoleLink) -> StreamEnd:
    """Why `until_end` came to its end."""
    if reader.end is not None:
        return reader.end
    return StreamEnd("failed", "the supervising process died" if link.orphaned else "capture never began")
