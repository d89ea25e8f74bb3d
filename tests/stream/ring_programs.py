"""Programs that the ring's tests run as processes of their own: `write` and `read`, results as JSON on stdout."""

from __future__ import annotations

import argparse
import json
import sys
import time

import numpy as np

from sfam.capture.frame import Calibration, ClockDomain, Intrinsics, RGBDFrame
from sfam.stream.ring_reader import RingReader
from sfam.stream.ring_segment import Segment
from sfam.stream.ring_writer import RingWriter


def plain_frame(sequence: int, color_shape: tuple[int, int], depth_shape: tuple[int, int]) -> RGBDFrame:
    """A frame whose pixels all say its number, so that a torn one shows."""
    color = Intrinsics(color_shape[1], color_shape[0], 600.0, 600.0, 1.0, 1.0)
    depth = Intrinsics(depth_shape[1], depth_shape[0], 400.0, 400.0, 1.0, 1.0)
    return RGBDFrame(
        sequence=sequence,
        color=np.full((*color_shape, 3), sequence % 251, np.uint8),
        depth=np.full(depth_shape, sequence % 65521, np.uint16),
        calibration=Calibration(color, depth),
        depth_scale_m=0.001,
        t_capture_ns=sequence,
        t_device_ns=sequence,
        clock_domain=ClockDomain.HARDWARE,
        t_host_ns=time.monotonic_ns(),
        t_utc_ns=0,
    )


def is_whole(frame: RGBDFrame) -> bool:
    return bool(
        (frame.color == frame.sequence % 251).all()
        and (frame.depth == frame.sequence % 65521).all()
        and frame.t_capture_ns == frame.sequence
    )


def write(options: argparse.Namespace) -> dict[str, object]:
    color_shape, depth_shape = tuple(options.shape[:2]), tuple(options.shape[2:])
    with RingWriter(options.ring) as writer:
        print("ready", flush=True)
        begin_s = time.monotonic()
        for sequence in range(options.count):
            if options.period_ms:
                time.sleep(max(0.0, begin_s + sequence * options.period_ms / 1e3 - time.monotonic()))
            writer.write(plain_frame(sequence, color_shape, depth_shape), {"decode": sequence})
        writer.end()
        return {"written": writer.written, "readers_lost": writer.readers_lost}


def read(options: argparse.Namespace) -> dict[str, object]:
    sequences, broken, late_ms, jumps = [], 0, [], 0
    with RingReader(options.ring, options.row) as reader:
        print("ready", flush=True)
        for frame in reader.frames():
            late_ms.append((time.monotonic_ns() - frame.t_host_ns) / 1e6)
            broken += not is_whole(frame) or reader.stage_ns != {"decode": frame.sequence}
            jumps += reader.lost_before
            sequences.append(frame.sequence)
            time.sleep(options.delay_ms / 1e3)
        assert reader.end is not None
        return {
            "sequences": sequences,
            "broken": broken,
            "lost": reader.lost,
            "jumps": jumps,
            "torn": reader.torn,
            "first": reader.first,
            "end": reader.end.state,
            "reason": reader.end.reason,
            "late_ms": late_ms,
        }


def stay(options: argparse.Namespace) -> dict[str, object]:
    """Attach and leave without any farewell."""
    Segment.attach(options.ring)
    print("ready", flush=True)
    sys.exit(0)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("program", choices=["write", "read", "stay"])
    parser.add_argument("ring")
    parser.add_argument("--shape", type=int, nargs=4, default=[24, 32, 20, 28])
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--period-ms", type=float, default=0.0)
    parser.add_argument("--row", type=int, default=0)
    parser.add_argument("--delay-ms", type=float, default=0.0)
    options = parser.parse_args()
    print(json.dumps({"write": write, "read": read, "stay": stay}[options.program](options)))


if __name__ == "__main__":
    main()
