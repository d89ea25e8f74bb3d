"""The bus as a Rerun recording or in its viewer: a plain subscriber, in its own process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from .curve import SubscriberKeys
from .rerun_view import VIEWER, RerunView, Target
from .results_mcap import PICTURE_TIERS
from .subscriber import subscribe
from .wire import Kind, Message
from .wire_fields import parse_flow

RESULTS: tuple[Kind, ...] = ("session", "score", "event")
FLOW_TIERS = ("flow", *PICTURE_TIERS)


def send_to_rerun(
    address: str,
    target: Target,
    *,
    rate_hz: float = 10.0,
    running: Callable[[], bool] = lambda: True,
    joined: Callable[[], None] = lambda: None,
    keys: SubscriberKeys | None = None,
) -> dict[str, int]:
    """Log a session until it ends; messages by kind.

    A file holds what the session's privacy tier lets be stored. The viewer on this machine shows what the bus sends.

    Args:
        address: of the bus.
        target: a file or the viewer; a second camera of the session gets a file with its name.
        rate_hz: pictures and flow a second at most.
        running: asked twice a second at least.
        joined: called once the session was heard and the recording stands.
        keys: for a bus that lets only listed keys in.

    Raises:
        SinkError: rerun is not installed, the file exists, or the address is malformed.
        WireError: something else publishes there.
    """
    kinds: tuple[Kind, ...] = (*RESULTS, "frame", "flow")
    views: dict[str, _CameraView] = {}
    counts: dict[str, int] = {}
    try:
        for message in subscribe(address, kinds, keys=keys, running=running):
            camera = str(message.header["camera"])
            if message.kind == "session" and camera not in views:
                views[camera] = _CameraView(message.header, _beside(target, camera, len(views)), rate_hz)
                joined()
            elif camera in views and not message.repeat and views[camera].take(message):
                counts[message.kind] = counts.get(message.kind, 0) + 1
    finally:
        for view in views.values():
            view.close()
    return counts


def _beside(target: Target, camera: str, earlier: int) -> Target:
    """A file of its own for each further camera."""
    if target.place == VIEWER or not earlier:
        return target
    path = Path(target.place)
    return replace(target, place=str(path.with_stem(f"{path.stem}_{camera}")))


class _CameraView:
    """One camera: what may be logged, and when it was."""

    def __init__(self, session: Mapping[str, Any], target: Target, rate_hz: float) -> None:
        clock, tier = session["clock"], session["privacy"]
        self._utc_ns = clock["anchor_utc_ns"] - clock["anchor_monotonic_ns"]
        self._live = bool(session["devices"].get("live", False))
        on_screen = target.place == VIEWER
        self._allowed = {"frame": on_screen or tier in PICTURE_TIERS, "flow": on_screen or tier in FLOW_TIERS}
        self._view = RerunView(session, target, live=self._live, rate_hz=rate_hz)
        self._last_ns = 0

    def take(self, message: Message) -> bool:
        """Log one message; False where it is left out."""
        header, shift_ns = message.header, self._utc_ns if self._live else 0
        captured_ns = header["t_capture_ns"]
        t_ns = self._last_ns if captured_ns is None else captured_ns + shift_ns
        self._last_ns = max(self._last_ns, t_ns)
        if message.kind == "score":
            self._view.score(t_ns, header)
        elif message.kind == "event":
            self._view.event(t_ns, header, shift_ns)
        elif not self._allowed.get(message.kind) or message.payload is None or not self._view.due(message.kind, t_ns):
            return False
        elif message.kind == "frame":
            self._view.picture(header["frame"], t_ns, message.payload, header["width"], header["height"])
        else:
            self._view.flow(t_ns, parse_flow(header, message.payload))
        return True

    def close(self) -> None:
        """End the recording."""
        self._view.close()
