"""Frames of this host's camera for other hosts: compressed, encrypted, never waiting for anyone.

A slow network costs frames, not time: beyond `WAITING_FRAMES` per subscriber ZeroMQ drops what comes, which the
receiver sees as a jump of `seq`. Frames are packed only while somebody listens.
"""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections.abc import Mapping

import zmq

from sfam.capture.frame import RGBDFrame
from sfam.capture.frame_message import QUESTION, FramePacker, Packing, greeting, is_end
from sfam.capture.source import SourceInfo

from .bus_address import require_private, why_not_bound
from .curve import PublisherKeys, guard
from .sink_error import SinkError

WAITING_FRAMES = 8
"""Per subscriber: a quarter of a second at 30 fps, after which a frame would be of little use anyway."""
FAREWELL_S = 5.0
LONGEST_REQUEST = 4096
_TICK_MS, _REPEAT_MS = 500, 50
_ROOT = b"sfam/"


class FrameServer:
    """Sends one camera's frames to whoever subscribes. `push` and `close` belong to one thread.

    Args:
        address: `tcp://0.0.0.0:5572`; port `*` takes a free one, see `address` afterwards.
        info: of the open camera.
        keys: encrypt, and let only listed hosts in; makes any address safe to use.
        insecure: allow an address that other machines can reach without keys.
        color: 'jpeg', or 'zstd' = lossless; depth is always lossless.
        jpeg_quality: of JPEG color.

    Raises:
        SinkError: when the address is malformed, taken, or open to other machines without keys or `insecure`.
    """

    def __init__(
        self,
        address: str,
        info: SourceInfo,
        *,
        keys: PublisherKeys | None = None,
        insecure: bool = False,
        color: Packing = "jpeg",
        jpeg_quality: int = 95,
    ) -> None:
        require_private(address, insecure or keys is not None)
        self._info = info
        self._run = secrets.token_hex(8)
        self._packer = FramePacker(info, self._run, color, jpeg_quality)
        self._context = zmq.Context()
        self._xpub = self._context.socket(zmq.XPUB)
        for option, value in (
            (zmq.SNDHWM, WAITING_FRAMES),
            (zmq.MAXMSGSIZE, LONGEST_REQUEST),
            (zmq.IPV6, int("[" in address)),
            (zmq.HEARTBEAT_IVL, 2000),
            (zmq.HEARTBEAT_TIMEOUT, 6000),
        ):
            self._xpub.setsockopt(option, value)
        self._guardian = None if keys is None else guard(self._context, self._xpub, keys)
        try:
            self._xpub.bind(address)
        except zmq.ZMQError as error:
            self._xpub.close(linger=0)
            if self._guardian is not None:
                self._guardian.stop()
            self._context.term()
            raise SinkError(why_not_bound(address, error)) from error
        self.address = self._xpub.getsockopt_string(zmq.LAST_ENDPOINT)
        self.wanted = False
        """True while somebody subscribes to frames."""
        self._listeners: set[bytes] = set()
        self.sent_frames = self.sent_bytes = 0
        self._inbox = self._context.socket(zmq.PAIR)
        self._inbox.bind("inproc://frames")
        self._outbox = self._context.socket(zmq.PAIR)
        self._outbox.setsockopt(zmq.SNDHWM, WAITING_FRAMES)
        self._outbox.connect("inproc://frames")
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="frame-server", daemon=True)
        self._thread.start()

    def push(self, frame: RGBDFrame, drops: Mapping[str, int]) -> None:
        """Pack a frame and hand it on, where somebody listens.

        Args:
            frame: with this host's numbers and clocks.
            drops: lost so far, by cause.
        """
        if not self.wanted:
            self._packer.skip()
            return
        parts = self._packer.frame(frame, drops)
        self._outbox.send_multipart(parts)
        self.sent_frames += 1
        self.sent_bytes += sum(map(len, parts))

    def close(self, state: str = "ended", reason: str = "") -> None:
        """Say how it ended, give what was sent `FAREWELL_S` to leave, and close; may be repeated."""
        if self._closed:
            return
        self._closed = True
        self._outbox.send_multipart(self._packer.end(state, reason))
        self._thread.join()
        self._outbox.close(linger=0)
        if self._guardian is not None:
            self._guardian.stop()
        self._context.term()

    def __enter__(self) -> FrameServer:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close("failed" if error is not None else "ended", "" if error is None else str(error))

    def _serve(self) -> None:
        """Owns the socket: sends, notes subscriptions, answers questions, until the end of the run."""
        poller = zmq.Poller()
        poller.register(self._xpub, zmq.POLLIN)
        poller.register(self._inbox, zmq.POLLIN)
        farewell: list[bytes] = []
        leave_s = math.inf
        while time.monotonic() < leave_s:
            ready = dict(poller.poll(_TICK_MS if not farewell else _REPEAT_MS))
            if self._xpub in ready:
                self._hear(self._xpub.recv(), time.monotonic_ns())
            if self._inbox in ready:
                parts = self._inbox.recv_multipart()
                if self._closed and is_end(parts):
                    farewell, leave_s = parts, time.monotonic() + FAREWELL_S
                else:
                    self._xpub.send_multipart(parts)
            if farewell:
                # a full queue drops this as well, so it is repeated until everybody has heard it and left
                self._xpub.send_multipart(farewell)
                leave_s = leave_s if self.wanted else 0.0
        self._xpub.close(linger=round(FAREWELL_S * 1e3))
        self._inbox.close(linger=0)

    def _hear(self, request: bytes, received_ns: int) -> None:
        if request.startswith(QUESTION):
            answer = greeting(request, self._run, self._info, received_ns, time.monotonic_ns())
            self._xpub.send_multipart(answer)
        elif request[:1] in (b"\x00", b"\x01") and request[1:].startswith(_ROOT):
            (self._listeners.add if request[0] else self._listeners.discard)(request[1:])
            self.wanted = bool(self._listeners)
