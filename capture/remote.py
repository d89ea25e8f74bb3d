"""A camera on another host: frames that `sfam serve` sends there, received here. Compressed, encrypted, on any clock.

Which clock is which: `t_device_ns`, sensor and global stamps travel unchanged. `t_host_ns` is the arrival on this host.
`t_capture_ns` is the camera host's, moved to this host's monotonic clock: a network that holds frames back does not
bend time. The two clocks are compared once, when the source is opened, to within half a round trip (which stands in
session.json); they may drift apart afterwards, as quartz does, by some 20 us a second.
"""

from __future__ import annotations

import math
import re
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import zmq
import zmq.auth

from .config import CaptureConfig
from .frame import RGBDFrame
from .frame_message import LARGEST_IMAGE_BYTES, QUESTION, FrameMessage, FrameMessageError, Greeting, understood, unpack
from .source import AbsentError, FrameSource, SourceError, SourceInfo

READ_MS = 200
WAITING_MESSAGES = 8
"""Frames kept here while the reader is busy; more wait on the camera host, or are lost there and show in `seq`."""
ANSWER_S, FIRST_FRAME_S = 4.0, 4.0
QUESTIONS, ENOUGH_S = 8, 2.0
"""Answers in time that are enough, and seconds after the first one after which it is enough."""
ROOT = b"sfam/"
LINK, HOST = "lost_on_link", "lost_on_camera_host"


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """The camera host's monotonic clock against this host's."""

    ahead_ns: int
    """Its clock minus ours."""
    uncertainty_ns: int
    """Half the shortest round trip."""


class RemoteSource(FrameSource):
    """Frames of a camera host: `tcp://HOST:PORT`."""

    def __init__(self, config: CaptureConfig) -> None:
        """Connect, learn what camera it is, compare clocks. Frames flow once they are asked for.

        Raises:
            SourceError: malformed address, unreadable keys, another version.
            AbsentError: nobody answers.
        """
        self._address = config.camera
        if not re.fullmatch(r"tcp://(\[[0-9A-Fa-f:]+\]|[^:\[\]/]+):\d{1,5}", self._address):
            raise SourceError(f"{self._address}: a camera host is named tcp://HOST:PORT, such as tcp://10.0.0.7:5572")
        self._stall_s = config.stall_timeout
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.XSUB)
        self._drops: Counter[str] = Counter()
        self._host_drops: Mapping[str, int] = {}
        self._number = -1
        self._closed = False
        wait_s = config.wait_for_device_timeout
        try:
            self._connect(config)
            self._source, self._run, self._offset = self._meet(math.inf if wait_s < 0 else max(ANSWER_S, wait_s))
        except SourceError:
            self.close()
            raise

    @property
    def info(self) -> SourceInfo:
        """The camera as its host describes it, and how it is reached."""
        return replace(
            self._source,
            kind="device",
            live=True,
            stamped=True,
            details={
                **self._source.details,
                "camera_host": self._address,
                "camera_kind": self._source.kind,
                "camera_clock_ahead_ns": self._offset.ahead_ns,
                "camera_clock_uncertainty_ns": self._offset.uncertainty_ns,
            },
        )

    @property
    def drops(self) -> Mapping[str, int]:
        """Lost on the way, lost on the camera host, and what its camera lost."""
        return {**{f"camera_{cause}": count for cause, count in self._host_drops.items()}, **self._drops}

    def frames(self) -> Iterator[RGBDFrame]:
        """Frames as they arrive, numbered anew from 0; what is missing stands in `dropped_before`.

        Raises:
            AbsentError: nothing came for `stall_timeout`, or the camera host began anew.
            SourceError: it failed.
        """
        self._socket.send(b"\x01" + ROOT)
        message, arrived_ns = self._next(max(FIRST_FRAME_S, self._stall_s))
        first = message.frame
        if first is not None:
            self._seq, self._host_sequence = message.seq - 1, first.sequence - 1
            # a recording's capture times are not on the host's clock, its arrival there is
            self._shift_ns = first.t_host_ns - first.t_capture_ns - self._offset.ahead_ns
        while not self._closed:
            if message.run != self._run:
                raise AbsentError(f"{self._address}: the camera host began anew")
            if message.frame is None:
                self._socket.send(b"\x00" + ROOT)  # the camera host need not wait for us
                if message.end == "failed":
                    raise SourceError(f"{self._address}: the camera host failed: {message.reason}")
                return
            yield self._taken(message, message.frame, arrived_ns)
            message, arrived_ns = self._next(self._stall_s)

    def close(self) -> None:
        """Leave; safe to call twice."""
        if not self._closed:
            self._closed = True
            self._socket.close(linger=0)
            self._context.term()

    def _taken(self, message: FrameMessage, frame: RGBDFrame, arrived_ns: int) -> RGBDFrame:
        """The frame in this host's numbers and time, its losses counted by cause."""
        on_link = max(0, message.seq - self._seq - 1)
        on_host = max(0, frame.sequence - self._host_sequence - 1 - on_link)
        self._drops.update({cause: lost for cause, lost in ((LINK, on_link), (HOST, on_host)) if lost})
        self._host_drops = message.drops
        self._seq, self._host_sequence = message.seq, frame.sequence
        self._number += 1
        return replace(
            frame,
            sequence=self._number,
            t_capture_ns=frame.t_capture_ns + self._shift_ns,
            t_host_ns=arrived_ns,
            dropped_before=frame.dropped_before + on_link + on_host,
        )

    def _connect(self, config: CaptureConfig) -> None:
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.RCVHWM, WAITING_MESSAGES),
            (zmq.MAXMSGSIZE, LARGEST_IMAGE_BYTES),
            (zmq.RECONNECT_IVL, 100),
            (zmq.RECONNECT_IVL_MAX, 2000),
            (zmq.HEARTBEAT_IVL, 2000),
            (zmq.HEARTBEAT_TIMEOUT, 6000),
            (zmq.IPV6, int("[" in self._address)),
        ):
            self._socket.setsockopt(option, value)
        if (config.remote_key is None) != (config.remote_server_key is None):
            raise SourceError(
                f"{self._address}: capture.remote_key and capture.remote_server_key go together: this host's "
                "NAME.key_secret and the camera host's server.key, both from sfam keys new"
            )
        if config.remote_key is not None and config.remote_server_key is not None:
            own, server = _key_pair(config.remote_key), _key_pair(config.remote_server_key)
            if own[1] is None:
                raise SourceError(f"{config.remote_key} holds a public key only; give the file NAME.key_secret")
            self._socket.curve_publickey, self._socket.curve_secretkey = own[0], own[1]
            self._socket.curve_serverkey = server[0]
        try:
            self._socket.connect(self._address)
        except zmq.ZMQError as error:
            raise SourceError(f"{self._address}: {error.strerror}; expected tcp://HOST:PORT") from error

    def _meet(self, limit_s: float) -> tuple[SourceInfo, str, ClockOffset]:
        """Ask the camera host who it is and what time it has; the quickest answer counts (as in RFC 5905, section 8).

        Returns:
            Its camera, the name of its run, its clock.
        """
        name = QUESTION + secrets.token_hex(8).encode()
        self._socket.send(b"\x01" + name)
        end_s, prompt = time.monotonic() + limit_s, 0
        answers: list[tuple[ClockOffset, Greeting]] = []
        while prompt < QUESTIONS and time.monotonic() < end_s:
            last_ns = time.monotonic_ns()
            self._socket.send(name + b"/%d" % last_ns)
            while self._socket.poll(READ_MS):
                answer, heard_ns = self._understood(self._socket.recv_multipart()), time.monotonic_ns()
                asked_ns = int(answer.question.rpartition(b"/")[2])
                end_s = end_s if answers else time.monotonic() + ENOUGH_S
                there_ns = answer.sent_ns - answer.received_ns
                ahead_ns = (answer.received_ns - asked_ns + answer.sent_ns - heard_ns) // 2
                answers.append((ClockOffset(ahead_ns, (heard_ns - asked_ns - there_ns) // 2), answer))
                if asked_ns == last_ns:  # earlier ones waited for the connection, or crossed a slow network
                    prompt += 1
                    break
        if not answers:
            raise AbsentError(
                f"{self._address}: no answer for {limit_s:g} s; does sfam serve run there (a session's results are no "
                "frames), does the network let its port through, and do the keys match?"
            )
        offset, answer = min(answers, key=lambda pair: pair[0].uncertainty_ns)
        return answer.source, answer.run, offset

    def _understood(self, parts: list[bytes]) -> Greeting:
        try:
            return understood(parts)
        except FrameMessageError as error:
            raise SourceError(f"{self._address}: {error}; run the same version on both hosts") from error

    def _next(self, limit_s: float) -> tuple[FrameMessage, int]:
        """The next message and its arrival."""
        began_s = time.monotonic()
        while time.monotonic() - began_s < limit_s:
            if not self._socket.poll(READ_MS):
                continue
            parts, arrived_ns = self._socket.recv_multipart(), time.monotonic_ns()
            if parts[0].startswith(QUESTION):
                continue  # answered late
            try:
                return unpack(parts), arrived_ns
            except FrameMessageError as error:
                raise SourceError(f"{self._address}: {error}; run the same version on both hosts") from error
        raise AbsentError(f"{self._address}: no frame for {limit_s:g} s; look at the camera there, and at the network")


def _key_pair(path: str) -> tuple[bytes, bytes | None]:
    try:
        return zmq.auth.load_certificate(path)
    except (OSError, ValueError) as error:
        raise SourceError(f"cannot read a key from {path}: {error}; sfam keys new makes one") from error
