"""Lamps that flicker at twice the mains' frequency: a camera of 30 frames a second sees bands that wander."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sfam.app.config import load_config
from sfam.app.pipeline import Pipeline
from sfam.capture.face_sequence import FaceSequence
from sfam.capture.frame import RGBDFrame
from sfam.capture.sequence_plan import draw_plan
from sfam.engine.events import Event

HZ = 100.0
FPS = 29.97
"""Of most cameras; at exactly 30 the bands of 100 Hz come round every third frame."""
READOUT_S = 0.016
"""From the first row to the last of a rolling shutter."""
DEPTH = 0.05
"""Swing of the light that an exposure of some milliseconds leaves."""


def flickering(frame: RGBDFrame) -> RGBDFrame:
    """The frame under the lamp: each row was exposed a little later."""
    height = frame.color.shape[0]
    rows_s = frame.sequence / FPS + READOUT_S * np.arange(height) / height
    light = (1.0 + DEPTH * np.sin(2 * np.pi * HZ * rows_s)).astype(np.float32)
    return replace(frame, color=np.clip(frame.color * light[:, None, None], 0, 255).astype(np.uint8))


@pytest.mark.slow  # four seconds of rendered frames through the whole chain
def test_flickering_light_is_no_event() -> None:
    sequence = FaceSequence(draw_plan(41, 5.0, micro=0, macro=0, blinks=0, sway=0.3))
    pipeline = Pipeline(load_config(assignments=["engine.backend=onnxruntime", "sinks.publish=none"]))
    events: list[Event] = []
    strongest, analysed = 0.0, 0
    for index in range(110):
        result = pipeline.process(flickering(sequence.frame(index)))
        events += result.events
        for window in result.windows:
            analysed += 1
            strongest = max(strongest, float(np.sqrt(np.square(window.maps[:2]).mean())))
    events += pipeline.flush()
    pipeline.close()
    assert analysed > 90
    assert strongest < 0.1
    assert not events
