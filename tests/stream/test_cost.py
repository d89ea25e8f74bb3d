"""The cost of a frame: even, and without memory that grows."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from sfam.capture.frame import RGBDFrame
from sfam.stream.analysis import Analysis
from sfam.stream.config import StreamConfig
from tests.stream.moving_face import BOX, PERIOD_NS, frame

CONFIG = StreamConfig(face_backend="manual", face_box=BOX, detect_every_s=0.5, buffer_s=0.5)
SWAY = [frame(index, 9.0 * np.sin(index / 6.4), 5.0 * np.cos(index / 6.4)) for index in range(40)]


def swaying(count: int) -> Iterator[RGBDFrame]:
    """A face that sways over several crops, again and again."""
    for index in range(count):
        yield replace(SWAY[index % 40], sequence=index, t_capture_ns=index * PERIOD_NS)


def test_no_frame_costs_much_more_than_another() -> None:
    """Time of this thread, so that other load does not count; new crops, key frames and checks are all in it."""
    analysis, spent, crops = Analysis(CONFIG), [], set()
    for shown in swaying(250):
        started = time.thread_time_ns()
        analysis.push(shown)
        spent.append(time.thread_time_ns() - started)
        crops |= {track.crop for track in analysis.tracks}
    analysis.close()
    assert len(crops) > 4
    steady = np.array(spent[15:])
    assert np.percentile(steady, 99) <= 3.0 * np.median(steady)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_frames() -> None:
    """Tracing every allocation of nine hundred frames takes more than five seconds."""
    analysis = Analysis(CONFIG)
    held = []
    tracemalloc.start()
    for index, shown in enumerate(swaying(900)):
        analysis.push(shown)
        if index in (500, 899):  # the noise floor remembers 300 windows
            held.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    analysis.close()
    assert held[1] - held[0] < 0.02 * held[0], held
