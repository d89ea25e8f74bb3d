"""A session folder written from the bus, on this machine or another: `sfam log`.

The tables are the publisher's own, line by line, as long as nothing is lost on the way and the log begins with the
session. Where scores are missing, each missing frame gets a row with success=0 and the cause `lost_on_bus`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .curve import SubscriberKeys
from .frame_result import FrameResult
from .session_folder import SessionFolder
from .session_info import SessionInfo
from .sink_error import SilenceError
from .subscriber import subscribe
from .wire import Kind, Message
from .wire_fields import parse_event, parse_score

LOGGED_KINDS: tuple[Kind, ...] = ("session", "score", "event")
LOST_ON_BUS = "lost_on_bus"


@dataclass(frozen=True, slots=True)
class BusLog:
    """What was written, and how much of the session it is."""

    session: str
    rows: int
    lost_rows: int
    """Rows that stand for frames lost on the way."""
    lost_messages: int
    late: bool
    """The session had said something before the log began."""
    restarts: int
    """Times that another analysis took over; what the one before said last may be missing, uncounted."""
    ended: bool
    """The session's own end was received, and it was a good one."""

    @property
    def complete(self) -> bool:
        """True when all that the session said of scores and events is in the log, as far as its publisher tells."""
        return not self.lacks()

    def lacks(self) -> list[str]:
        """What may be missing, in words."""
        said = {
            f"{self.lost_messages} messages were lost": self.lost_messages > 0,
            "the log began after the session": self.late,
            f"the analysis was started again ({self.restarts}), its last words may be missing": self.restarts > 0,
            "the session failed, or its end was not heard": not self.ended,
        }
        return [words for words, holds in said.items() if holds]


def log_bus(
    address: str,
    out: str | Path,
    *,
    camera: str | None = None,
    force: bool = False,
    timeout_s: float | None = None,
    keys: SubscriberKeys | None = None,
    running: Callable[[], bool] = lambda: True,
) -> BusLog:
    """Write one camera of a session from the bus into a session folder, until it ends.

    Args:
        address: of the publisher.
        out: the session folder.
        camera: name in the topics; None = the one heard first, the others of its session are left out.
        force: write into a folder that already holds something.
        timeout_s: give up after so long a silence; None = wait for ever.
        keys: for a publisher that lets only listed keys in.
        running: asked at least twice a second; False ends the log.

    Raises:
        SilenceError: nothing ever came for `timeout_s`; a silence later ends the log as failed.
        SinkError: the folder cannot be written, or the address is malformed.
    """
    messages = subscribe(address, LOGGED_KINDS, camera, timeout_s, keys=keys, running=running)
    first = next((message for message in messages if message.kind == "session"), None)
    if first is None:
        raise SilenceError(f"left {address} before any session was heard there")
    info = SessionInfo.from_header(first.header)
    note = f"# received from {address}; the configuration stays with the publisher, its hash is {info.config_hash!r}\n"
    writer = _Writer(SessionFolder(out, info, note, force=force))
    try:
        writer.take(first)
        for message in messages:
            if message.header["session"] != info.session:
                break
            if message.header["camera"] == info.camera:
                writer.take(message)
            if writer.ended:
                break
    except SilenceError:
        writer.counters["silence"] = f"nothing for {timeout_s:g} s"
    finally:
        writer.close()
    return writer.log(info.session)


class _Writer:
    def __init__(self, folder: SessionFolder) -> None:
        self._folder = folder
        self._next_frame: int | None = None
        self._next_score = 0
        self._known_frames = 0
        """Frames that an analysis before the present one has told of."""
        self._first_score: int | None = None
        self.ended = False
        """The session's own end was received."""
        self.counters: dict[str, object] = {}
        self.rows = 0
        self.lost_rows = 0
        self.lost_messages = 0
        self.late = False
        self.restarts = 0

    def log(self, session: str) -> BusLog:
        """What was written."""
        lost = (self.lost_rows, self.lost_messages)
        return BusLog(session, self.rows, *lost, self.late, self.restarts, self.ended)

    def take(self, message: Message) -> None:
        self.lost_messages = message.lost
        if message.kind == "session":
            self._session(message.header)
        elif message.kind == "event":
            self._folder.event(parse_event(message.header))
        elif message.kind == "score" and not message.repeat:
            self._score(parse_score(message.header), message.header["seq"])
        self._folder.count(self._totals())

    def close(self) -> None:
        self._folder.close(self._totals(), "ended" if self.ended else "failed")

    def _session(self, header: Mapping[str, Any]) -> None:
        self.counters = dict(_mapping(header["counters"]))
        self.ended = header["state"] == "ended"
        first, following = (_mapping(header.get(name)).get("score") for name in ("first_seq", "next_seq"))
        if first is None or following is None:  # an older publisher, which does not say
            return
        if self._first_score is None:
            self.late = any(_mapping(header["next_seq"]).get(kind) for kind in LOGGED_KINDS)
            self._next_score, self._next_frame = following, None if self.late else 0
        elif first != self._first_score:
            self.restarts += 1
            self._next_score, self._known_frames = 0, self._next_frame or 0
        self._first_score = first
        offered = self.counters.get("offered")
        if header["state"] in ("ended", "failed") and following > self._next_score and isinstance(offered, int):
            self._lost_before(offered)

    def _score(self, result: FrameResult, seq: int) -> None:
        if result.frame < self._known_frames:  # the analysis that took over says only that it lacks it
            return
        if seq > self._next_score:
            self._lost_before(result.frame)
        self._next_frame, self._next_score = result.frame + 1, seq + 1
        self._row(result)

    def _lost_before(self, frame: int) -> None:
        for number in range(frame if self._next_frame is None else self._next_frame, frame):
            self._row(FrameResult.dropped(number, LOST_ON_BUS))
            self.lost_rows += 1

    def _row(self, result: FrameResult) -> None:
        self._folder.row(result)
        self.rows += 1

    def _totals(self) -> dict[str, object]:
        lost = {"messages": self.lost_messages, "rows": self.lost_rows, "late": self.late, "restarts": self.restarts}
        return {**self.counters, "lost_on_bus": lost}


def _mapping(found: object) -> Mapping[str, Any]:
    return found if isinstance(found, Mapping) else {}
