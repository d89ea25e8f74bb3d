"""A frame survives its way between two hosts to the bit, and nothing damaged becomes a frame."""

from __future__ import annotations

import json
from dataclasses import fields

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from sfam.capture.config import CaptureConfig
from sfam.capture.frame import RGBDFrame
from sfam.capture.frame_message import (
    QUESTION,
    FrameMessageError,
    FramePacker,
    Packing,
    greeting,
    understood,
    unpack,
)
from sfam.capture.source import SourceInfo, open_source


def demo() -> tuple[SourceInfo, RGBDFrame]:
    with open_source(CaptureConfig(camera="demo")) as source:
        return source.info, next(source.frames())


INFO, FRAME = demo()


@pytest.mark.parametrize("color", ["jpeg", "zstd"])
def test_all_of_a_frame_travels(color: Packing) -> None:
    packer = FramePacker(INFO, "r1", color)
    packer.skip()
    message = unpack(packer.frame(FRAME, {"unpaired_depth": 2}))
    frame = message.frame
    assert frame is not None
    for field in fields(RGBDFrame):
        if field.name not in ("color", "depth"):
            assert getattr(frame, field.name) == getattr(FRAME, field.name), field.name
    assert np.array_equal(frame.depth, FRAME.depth)
    assert frame.depth.dtype == np.uint16
    if color == "zstd":
        assert np.array_equal(frame.color, FRAME.color)
    else:
        difference = np.abs(frame.color.astype(int) - FRAME.color)
        assert 0 < difference.mean() < 3
    assert message.source == INFO
    assert (message.run, message.seq, message.drops) == ("r1", 1, {"unpaired_depth": 2})


def test_the_end_travels_with_its_reason() -> None:
    message = unpack(FramePacker(INFO, "r1").end("failed", "unplugged"))
    assert (message.frame, message.end, message.reason) == (None, "failed", "unplugged")


def test_a_greeting_names_the_camera_and_the_time() -> None:
    answer = understood(greeting(QUESTION + b"me/1", "r1", INFO, 5, 7))
    assert (answer.question, answer.run, answer.source) == (QUESTION + b"me/1", "r1", INFO)
    assert (answer.received_ns, answer.sent_ns) == (5, 7)


GOOD = FramePacker(INFO, "r1", "zstd").frame(FRAME, {})


def changed(**more: object) -> list[bytes]:
    return [GOOD[0], json.dumps({**json.loads(GOOD[1]), **more}).encode(), *GOOD[2:]]


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ([b"sfam/demo/score", b'{"schema": "sfam.score/1"}'], "no message with a frame"),
        (changed(schema="sfam.rgbd/2"), r"schema sfam.rgbd/2 .*expected sfam.rgbd/1"),
        ([*GOOD[:3], GOOD[3][:-20]], "damaged"),
        ([*GOOD[:3], zstandard.compress(bytes(10**7))], "another number"),
        ([*GOOD[:2], b"", GOOD[3]], "damaged"),
        (changed(depth={"packing": "zstd", "shape": [10**6, 10**6]}), "pixels packed as"),
        (changed(depth={"packing": "zstd", "shape": [4, 4]}), "damaged"),
        (changed(color={"packing": "jpeg", "shape": [480, 640, 3]}), "does not decode"),
        (changed(frame={}), "damaged"),
        (changed(calibration={**json.loads(GOOD[1])["calibration"], "color": 3}), "damaged"),
    ],
)
def test_what_is_no_frame_is_refused(parts: list[bytes], says: str) -> None:
    with pytest.raises(FrameMessageError, match=says):
        unpack(parts)


@settings(max_examples=60, deadline=None)
@given(part=st.integers(1, 3), place=st.integers(0, 10**6), value=st.integers(0, 255))
def test_a_flipped_byte_gives_a_frame_or_a_clear_error(part: int, place: int, value: int) -> None:
    parts = [bytearray(one) for one in GOOD]
    parts[part][place % len(parts[part])] = value
    try:
        message = unpack([bytes(one) for one in parts])
    except FrameMessageError:
        return
    assert message.frame is None or message.frame.color.shape == FRAME.color.shape


@pytest.mark.parametrize("parts", [[b"x"], [b"x", b"{}"], [b"x", b'{"schema": "sfam.rgbd/9"}'], [b"x", b"\xff"]])
def test_what_is_no_greeting_is_refused(parts: list[bytes]) -> None:
    with pytest.raises(FrameMessageError):
        understood(parts)
