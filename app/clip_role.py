"""The process that puts pictures into event clips: one more reader of the ring, so that it can slow nobody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from sfam.capture.clock import SessionClock
from sfam.capture.pacing import is_live
from sfam.capture.source import SourceInfo
from sfam.sinks.clip_pictures import ClipPictures, PictureSettings
from sfam.sinks.event_clip import PICTURE_TIER
from sfam.stream.ring_reader import OVERWRITTEN, RingReader

from .config import Config
from .ring_offer import SourceOffer, until_end
from .role_link import RoleLink
from .session_plan import SessionPlan

CLIPS = "clips"
PICTURES = "pictures"
"""What the analysis tells: the clip of an event is on disk and may get its pictures."""


@dataclass(frozen=True, slots=True)
class ClipPlan:
    """What the process needs."""

    pictures: PictureSettings
    clock: SessionClock
    speed: float = 1.0

    def clock_for(self, info: SourceInfo) -> SessionClock | None:
        """The session's clock where frames carry its time; a replay has the recording's."""
        return self.clock if is_live(info, self.speed) else None


def keeps_pictures(config: Config) -> bool:
    """Whether the clips of a session hold color and depth."""
    return config.sinks.clips and config.sinks.privacy == PICTURE_TIER


def picture_settings(plan: SessionPlan) -> PictureSettings:
    """What a session's settings say of the pictures in its clips."""
    capture, sinks = plan.config.capture, plan.config.sinks
    memory = sinks.clip_memory_mb * 2**20
    return PictureSettings(plan.folder, memory, capture.record_color, capture.record_jpeg_quality, plan.lossless)


def clip_role(plan: ClipPlan, link: RoleLink) -> Mapping[str, Any]:
    """Process 'clips': holds the last seconds of the ring and puts pictures into the clips that it is told of.

    Obeys 'pictures'. Tells 'ready' with the ring's name and a 'warning' for each clip that stays without; returns how
    many got theirs, and the frames that it was too slow for.
    """
    offer: SourceOffer | None = link.receive("source")
    if offer is None:
        return {}
    pictures = ClipPictures(plan.pictures, partial(link.tell, "warning"))
    with RingReader(offer.ring, offer.reader) as reader:
        link.tell("ready", offer.ring)
        pictures.begin(offer.info, plan.clock_for(offer.info))
        link.on(PICTURES, pictures.keep)
        try:
            for frame in until_end(reader, link):
                pictures.push(frame)
            while not link.stopping():  # for what the analysis still has to say
                link.wait_stop(0.05)
                pictures.push(None)
        finally:
            totals = pictures.close()
        return {**totals, "drops": {OVERWRITTEN: reader.lost} if reader.lost else {}}


def clip_summary(totals: Mapping[str, Any]) -> str:
    """What `clip_role` returned, for the operator."""
    without = f", {totals['lost']} without" if totals["lost"] else ""
    short = f", {totals['truncated']} not from their beginning on" if totals["truncated"] else ""
    missed = sum(totals["drops"].values())
    slow = f", {missed} frames came too fast for it" if missed else ""
    return f"clips with pictures: {totals['written']}{without}{short}{slow}"
