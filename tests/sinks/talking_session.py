"""A session that talks on a real bus until it is killed; its pictures carry their frame number in their pixels."""

from __future__ import annotations

import dataclasses
import sys
import time
from contextlib import ExitStack
from itertools import count

import numpy as np
from numpy.typing import NDArray

from sfam.capture.frame import Intrinsics, RGBDFrame
from sfam.sinks.publisher import Publisher
from sfam.sinks.status import StageLatency, Status
from sfam.sinks.wire import Stamps
from sfam.sinks.wire_fields import (
    event_fields,
    face_fields,
    flow_fields,
    flow_payload,
    frame_fields,
    frame_payload,
    score_fields,
    status_fields,
)
from sfam.stream.ring import Ring
from sfam.stream.ring_writer import RingWriter
from sfam.stream.scene_flow import Crop, NoiseFloor
from tests.sinks.session_parts import (
    CLASSES,
    FRAME_NS,
    event,
    face_track,
    frame_result,
    frame_score,
    rgbd_frame,
    scene_flow,
    session_info,
)

FPS = 30.0
BITS = 16
BLOCK_PX = 20
HEIGHT, WIDTH = 240, 320
BOX = (100.0, 40.0, 120.0, 140.0)


def spot_of(frame: int) -> float:
    """The score of a frame: two decimals that say which of a hundred it is."""
    return (frame % 100) / 100


def numbered_picture(frame: int) -> NDArray[np.uint8]:
    """(240, 320, 3) uint8: grey, with the frame number as 16 black or white blocks along the bottom."""
    picture = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
    picture[40:180, 100:220] = (200, 160, 140)
    for bit in range(BITS):
        picture[HEIGHT - BLOCK_PX :, bit * BLOCK_PX : (bit + 1) * BLOCK_PX] = 255 * (frame >> bit & 1)
    return picture


def deep_frame(number: int) -> RGBDFrame:
    """A captured frame whose pixels carry its number, with a slanted plane as depth."""
    depth = np.tile(np.linspace(400, 800, WIDTH).astype(np.uint16), (HEIGHT, 1))
    camera = Intrinsics(WIDTH, HEIGHT, 300.0, 300.0, WIDTH / 2, HEIGHT / 2)
    return RGBDFrame.from_arrays(numbered_picture(number), depth, camera, number * FRAME_NS, sequence=number)


def talk(address: str, camera: str, blind: bool) -> None:
    """Publish as the analysis does, an event every second, until killed; frames go into a ring, or, blind, by bus."""
    with ExitStack() as held:
        ring = held.enter_context(Ring((HEIGHT, WIDTH), (HEIGHT, WIDTH), policy="latest"))
        writer = None if blind else held.enter_context(RingWriter(ring.name))
        _talk(address, camera, blind, ring.name, writer)


def _talk(address: str, camera: str, blind: bool, ring: str, writer: RingWriter | None) -> None:
    info = session_info(f"session-{camera}", camera)
    crop = Crop(100, 40, 140)
    with Publisher(address, info, payload_rate_hz=15.0) as publisher:
        # A real blind session holds results back itself, and so does its publisher: this one leaks them all.
        publisher.publish("session", dataclasses.replace(info, blind=blind).fields("running", {}))
        sys.stdout.write(f"{publisher.address} {ring}\n")
        sys.stdout.flush()
        for frame in count():
            stamps = Stamps(frame * FRAME_NS, frame * FRAME_NS, t_host_ns=time.monotonic_ns() - 9_000_000)
            if writer is not None:
                writer.write(deep_frame(frame))
            score = dataclasses.replace(frame_score(frame), spot=spot_of(frame))
            result = dataclasses.replace(
                frame_result(6),
                frame=frame,
                t_capture_ns=frame * FRAME_NS,
                box=(100.0, 40.0, 120.0, 140.0),
                score=score,
            )
            publisher.publish("score", score_fields(result, CLASSES), stamps)
            track = dataclasses.replace(face_track(), box=BOX, crop=crop)
            publisher.publish("face", face_fields(track, frame), stamps)
            picture = dataclasses.replace(rgbd_frame(0), sequence=frame, color=numbered_picture(frame))
            if writer is None and publisher.due("frame"):
                publisher.publish("frame", frame_fields(picture), stamps, frame_payload(picture.color, 95))
            flow = dataclasses.replace(scene_flow(frame), crop=crop)
            if publisher.due("flow"):
                publisher.publish("flow", flow_fields(flow), stamps, flow_payload(flow))
            if frame % 30 == 29:
                publisher.publish("event", event_fields(event(frame // 30, onset=frame - 15), CLASSES), stamps)
                publisher.publish("status", status_fields(status(frame)))
            time.sleep(1 / FPS)


def status(frame: int) -> Status:
    """The heartbeat at a frame."""
    stages = {name: StageLatency(5_100.0, 6_400.0, 7_900.0) for name in ("flow", "total")}
    return Status(
        frame, 29.9, frame + 2, frame, {"overrun": 2}, {}, stages, 200.0, NoiseFloor(0.02, 0.03, 0.4), "streaming", 1
    )


if __name__ == "__main__":
    talk(sys.argv[1], sys.argv[2], blind="--blind" in sys.argv)
