"""Frames of one host reach another over real sockets: whole, in order, encrypted, with every loss counted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zmq

from sfam.capture.clock import SessionClock
from sfam.capture.config import CaptureConfig
from sfam.capture.frame import RGBDFrame
from sfam.capture.pacing import delivered
from sfam.capture.remote import RemoteSource
from sfam.capture.source import AbsentError, SourceError, SourceInfo, open_source
from sfam.sinks.curve import PublisherKeys, new_keys
from sfam.sinks.frame_server import FrameServer
from sfam.sinks.sink_error import SinkError
from tests.sinks.waiting import until

ANYWHERE = "tcp://127.0.0.1:*"


def demo(count: int) -> tuple[SourceInfo, list[RGBDFrame]]:
    with open_source(CaptureConfig(camera="demo")) as source:
        frames = source.frames()
        return source.info, [next(frames) for _ in range(count)]


INFO, FRAMES = demo(4)


def numbered(number: int, **more: object) -> RGBDFrame:
    now_ns = time.monotonic_ns()
    stamps = {"t_capture_ns": now_ns, "t_host_ns": now_ns, "color_number": number}
    return replace(FRAMES[number % len(FRAMES)], sequence=number, **{**stamps, **more})  # type: ignore[arg-type]


@contextmanager
def receiving(source: RemoteSource) -> Iterator[list[RGBDFrame]]:
    """Frames as they arrive, in a thread, until the source ends."""
    got: list[RGBDFrame] = []
    errors: list[BaseException] = []

    def receive() -> None:
        try:
            got.extend(source.frames())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=receive)
    thread.start()
    try:
        yield got
    finally:
        thread.join(timeout=60)
        assert not thread.is_alive()
        source.close()
        if errors:
            raise errors[0]


def push_until(server: FrameServer, met: Callable[[], object], first: int = 0) -> int:
    """Push frames at a brisk rate until something holds; the next number."""
    number = first

    def push() -> object:
        nonlocal number
        server.push(numbered(number), {})
        number += 1
        return met()

    until(push, "the frame", within_s=60)
    return number


def test_frames_arrive_whole_with_this_hosts_arrival_and_the_other_hosts_capture_time() -> None:
    with FrameServer(ANYWHERE, INFO, color="zstd") as server:
        source = RemoteSource(CaptureConfig(camera=server.address))
        info = source.info
        assert (info.kind, info.live, info.camera, info.fps) == ("device", True, "demo", INFO.fps)
        assert info.details["camera_kind"] == "synthetic"
        # both ends share one clock here, so the true offset is 0
        ahead_ns, within_ns = info.details["camera_clock_ahead_ns"], info.details["camera_clock_uncertainty_ns"]
        assert isinstance(ahead_ns, int)
        assert isinstance(within_ns, int)
        assert abs(ahead_ns) <= within_ns < 1e9
        with receiving(source) as got:
            push_until(server, lambda: server.wanted)
            sent = [numbered(1000 + number) for number in range(5)]
            for frame in sent:
                server.push(frame, {"unpaired_depth": 3})
            until(lambda: got and got[-1].t_device_ns == sent[-1].t_device_ns, "the last frame", within_s=60)
            server.close()
    arrived = got[-5:]
    for before, after in zip(sent, arrived, strict=True):
        assert np.array_equal(before.color, after.color)
        assert np.array_equal(before.depth, after.depth)
        assert before.t_device_ns == after.t_device_ns
        assert after.t_host_ns >= before.t_host_ns
        assert abs(after.t_capture_ns - before.t_capture_ns + ahead_ns) < 1e6
    assert [frame.sequence for frame in got] == list(range(len(got)))
    assert source.drops["camera_unpaired_depth"] == 3


def test_losses_are_told_apart_by_where_they_happened() -> None:
    with FrameServer(ANYWHERE, INFO) as server:
        source = RemoteSource(CaptureConfig(camera=server.address))
        with receiving(source) as got:
            number = push_until(server, lambda: got)
            server._packer.skip()  # as when the network was down for this one frame
            server.push(numbered(number + 3, dropped_before=1), {})
            until(lambda: got[-1].color_number == number + 3, "the frame after the losses", within_s=60)
            server.close()
    assert got[-1].dropped_before >= 1 + 1 + 2
    assert source.drops["lost_on_link"] >= 1
    assert source.drops["lost_on_camera_host"] == 2


def test_a_slow_receiver_loses_frames_and_holds_up_nobody() -> None:
    server = FrameServer(ANYWHERE, INFO, color="zstd")
    source = RemoteSource(CaptureConfig(camera=server.address, stall_timeout=30))
    frames = source.frames()
    got: list[RGBDFrame] = []
    first = threading.Thread(target=lambda: got.append(next(frames)))
    first.start()
    number = push_until(server, lambda: got)
    first.join()
    for later in range(number, number + 60):  # some 50 MB, while nothing is read
        server.push(numbered(later), {})
    closer = threading.Thread(target=server.close)
    closer.start()
    got += list(frames)
    closer.join()
    source.close()
    assert [frame.sequence for frame in got] == list(range(len(got)))
    lost = sum(frame.dropped_before for frame in got[1:])
    assert got[-1].color_number - got[0].color_number == len(got) - 1 + lost
    assert source.drops.get("lost_on_link", 0) == lost
    assert len(got) < number + 60 - got[0].color_number


def test_frames_of_a_live_camera_keep_the_capture_time_they_came_with() -> None:
    with FrameServer(ANYWHERE, INFO) as server:
        source = RemoteSource(CaptureConfig(camera=server.address))
        clock = SessionClock.start()
        moved = delivered(iter([FRAMES[0]]), source.info, 1.0, clock, stop=lambda: False)
        (frame,) = moved
        source.close()
    assert (frame.t_capture_ns, frame.t_host_ns) == (FRAMES[0].t_capture_ns, FRAMES[0].t_host_ns)
    assert frame.t_utc_ns == clock.utc_ns(frame.t_capture_ns)


def test_only_a_host_with_a_listed_key_gets_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new_keys(tmp_path / "keys", "lab")
    new_keys(tmp_path / "others", "thief")
    mine = {"remote_key": str(tmp_path / "keys/lab.key_secret"), "remote_server_key": str(tmp_path / "keys/server.key")}
    with FrameServer(ANYWHERE, INFO, keys=PublisherKeys.load(tmp_path / "keys")) as server:
        source = RemoteSource(CaptureConfig(camera=server.address, **mine))
        with receiving(source) as got:
            push_until(server, lambda: got)
            server.close()
    monkeypatch.setattr("sfam.capture.remote.ANSWER_S", 1.0)
    stolen = {**mine, "remote_key": str(tmp_path / "others/thief.key_secret")}
    for keys in ({}, stolen):
        with FrameServer(ANYWHERE, INFO, keys=PublisherKeys.load(tmp_path / "keys")) as server:
            with pytest.raises(AbsentError, match="do the keys match"):
                RemoteSource(CaptureConfig(camera=server.address, **keys))
            assert not server.wanted


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"remote_key": "a.key_secret"}, "go together"),
        ({"remote_key": "gone.key_secret", "remote_server_key": "server.key"}, "cannot read a key"),
    ],
)
def test_half_a_pair_of_keys_is_refused(keys: dict[str, str], says: str) -> None:
    with pytest.raises(SourceError, match=says):
        RemoteSource(CaptureConfig(camera="tcp://127.0.0.1:5572", **keys))


@pytest.mark.parametrize("camera", ["tcp://", "tcp://host", "tcp://host:port", "tcp:host:5572"])
def test_a_malformed_address_says_how_it_is_written(camera: str) -> None:
    with pytest.raises(SourceError, match="tcp://HOST:PORT"):
        open_source(CaptureConfig(camera=camera))


def test_the_address_of_something_else_is_not_waited_on_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfam.capture.remote.ANSWER_S", 1.0)
    with zmq.Context() as context, context.socket(zmq.XPUB) as other:
        port = other.bind_to_random_port("tcp://127.0.0.1")
        with pytest.raises(AbsentError, match="a session's results are no frames"):
            RemoteSource(CaptureConfig(camera=f"tcp://127.0.0.1:{port}"))


def test_a_camera_that_stops_is_noticed_and_a_failure_is_passed_on() -> None:
    server = FrameServer(ANYWHERE, INFO)
    source = RemoteSource(CaptureConfig(camera=server.address, stall_timeout=0.3))
    with pytest.raises(AbsentError, match=r"no frame for 0\.3 s"), receiving(source) as got:
        push_until(server, lambda: got)
    server.close()
    server = FrameServer(ANYWHERE, INFO)
    source = RemoteSource(CaptureConfig(camera=server.address))

    def fail_after(got: list[RGBDFrame]) -> None:
        push_until(server, lambda: got)
        server.close("failed", "unplugged")

    with pytest.raises(SourceError, match="the camera host failed: unplugged"), receiving(source) as got:
        fail_after(got)


def test_a_camera_host_that_began_anew_is_opened_anew() -> None:
    with FrameServer(ANYWHERE, INFO) as server:
        source = RemoteSource(CaptureConfig(camera=server.address, stall_timeout=30))

        def begin_anew_after(got: list[RGBDFrame]) -> None:
            push_until(server, lambda: got)
            server._packer._run = "another"
            server.push(numbered(0), {})

        with pytest.raises(AbsentError, match="began anew"), receiving(source) as got:
            begin_anew_after(got)


def test_frames_leave_the_machine_only_with_keys_or_leave() -> None:
    with pytest.raises(SinkError, match="other machines"):
        FrameServer("tcp://0.0.0.0:*", INFO)
    FrameServer("tcp://0.0.0.0:*", INFO, insecure=True).close()


def test_a_taken_address_is_named() -> None:
    with FrameServer(ANYWHERE, INFO) as server, pytest.raises(SinkError, match="in use"):
        FrameServer(server.address, INFO)
