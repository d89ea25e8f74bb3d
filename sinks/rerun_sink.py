"""The bus as a Rerun recording or in its viewer: a plain subscriber, in its own process.

Depth does not travel by bus. Where the privacy tier lets pictures be stored as they are, or for the operator's own
screen, picture and depth come from the session's ring instead, whose onlookers nobody waits for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfam.capture.align import align_depth
from sfam.capture.frame import Intrinsics, RGBDFrame

from .curve import SubscriberKeys
from .rerun_view import VIEWER, RerunView, Target
from .rerun_viewer import open_viewer
from .results_mcap import PICTURE_TIERS
from .ring_onlooker import RingOnlooker
from .subscriber import subscribe
from .wire import Kind, Message
from .wire_fields import frame_payload, parse_flow

RESULTS: tuple[Kind, ...] = ("session", "score", "event")
FLOW_TIERS = ("flow", *PICTURE_TIERS)
RAW_TIERS = ("full",)
"""Tiers at which pixels may be stored as the camera gave them."""
DEPTH_AGE_FRAMES = 6
"""A flow may stand on the depth of a frame so little older."""
Space = tuple[int, Intrinsics, NDArray[np.float32]]
"""Frame number, color camera, and depth in metres on its grid."""


def send_to_rerun(
    address: str,
    target: Target,
    *,
    rate_hz: float = 10.0,
    running: Callable[[], bool] = lambda: True,
    joined: Callable[[], None] = lambda: None,
    writes: Callable[[str, Path], None] = lambda camera, path: None,
    keys: SubscriberKeys | None = None,
    rings: Callable[[], Mapping[str, str]] = dict,
) -> dict[str, int]:
    """Log a session until it ends; messages by kind.

    A file holds what the session's privacy tier lets be stored. The viewer on this machine shows what the bus sends.

    Args:
        address: of the bus.
        target: a file or the viewer; a second camera of the session gets a file with its name.
        rate_hz: pictures and flow a second at most.
        running: asked twice a second at least.
        joined: called once the session was heard and the recording stands.
        writes: called before a camera's file is made.
        keys: for a bus that lets only listed keys in.
        rings: names of the rings that frames of cameras of this machine can be had from, by camera.

    Raises:
        SinkError: rerun is not installed, the file exists, or the address is malformed.
        WireError: something else publishes there.
    """
    kinds: tuple[Kind, ...] = (*RESULTS, "frame", "flow")
    views: dict[str, _CameraView] = {}
    counts: dict[str, int] = {}
    viewer = ""  # all cameras are shown in one
    try:
        for message in subscribe(address, kinds, keys=keys, running=running):
            camera = str(message.header["camera"])
            if message.kind == "session" and camera not in views:
                if target.place == VIEWER and not viewer:
                    viewer = open_viewer(target.memory_limit, running=running)
                place = _beside(target, camera, len(views))
                if not viewer:
                    writes(camera, Path(place.place))
                views[camera] = _CameraView(message.header, place, rate_hz, viewer)
                joined()
            elif camera in views and not message.repeat and views[camera].take(message):
                counts[message.kind] = counts.get(message.kind, 0) + 1
            if camera in views and camera in rings():
                views[camera].look(rings()[camera])
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

    def __init__(self, session: Mapping[str, Any], target: Target, rate_hz: float, viewer: str) -> None:
        clock, tier = session["clock"], session["privacy"]
        self._utc_ns = clock["anchor_utc_ns"] - clock["anchor_monotonic_ns"]
        self._live = bool(session["devices"].get("live", False))
        self._shift_ns = self._utc_ns if self._live else 0
        on_screen = target.place == VIEWER
        self._allowed = {"frame": on_screen or tier in PICTURE_TIERS, "flow": on_screen or tier in FLOW_TIERS}
        self._sees_ring = on_screen or tier in RAW_TIERS
        self._rate_hz = rate_hz
        self._view = RerunView(session, target, live=self._live, rate_hz=rate_hz, viewer=viewer)
        self._last_ns = 0
        self._ring: _RingView | None = None

    def look(self, ring: str) -> None:
        """Take picture and depth from the ring from now on, where that is allowed."""
        if self._sees_ring and self._ring is None:
            self._ring = _RingView(ring, self._view, self._rate_hz, self._shift_ns)
            self._ring.start()
            self._allowed["frame"] = False

    def take(self, message: Message) -> bool:
        """Log one message; False where it is left out."""
        header, captured_ns = message.header, message.header["t_capture_ns"]
        t_ns = self._last_ns if captured_ns is None else captured_ns + self._shift_ns
        self._last_ns = max(self._last_ns, t_ns)
        if message.kind == "score":
            self._view.score(t_ns, header)
        elif message.kind == "event":
            self._view.event(t_ns, header, self._shift_ns)
        elif not self._allowed.get(message.kind) or message.payload is None or not self._view.due(message.kind, t_ns):
            return False
        elif message.kind == "frame":
            self._view.picture(header["frame"], t_ns, message.payload, header["width"], header["height"])
        else:
            camera, depth_m = self._space_at(header["frame"])
            self._view.flow(t_ns, parse_flow(header, message.payload), camera, depth_m)
        return True

    def close(self) -> None:
        """End the recording."""
        if self._ring is not None:
            self._ring.leave()
        self._view.close()

    def _space_at(self, frame: int) -> tuple[Intrinsics | None, NDArray[np.float32] | None]:
        space = None if self._ring is None else self._ring.space
        if space is None or not 0 <= frame - space[0] <= DEPTH_AGE_FRAMES:
            return None, None
        return space[1], space[2]


class _RingView:
    """Logs picture and depth of a ring, on a thread of its own."""

    def __init__(self, ring: str, view: RerunView, rate_hz: float, shift_ns: int) -> None:
        self._view = view
        self._shift_ns = shift_ns
        self._last_ns = 0
        self._onlooker = RingOnlooker(ring, rate_hz, self._log, self._fail)
        self.space: Space | None = None
        """Of the newest frame logged."""

    def start(self) -> None:
        """Begin to follow."""
        self._onlooker.start()

    def leave(self) -> None:
        """End; waits a moment for the frame in hand."""
        self._onlooker.leave()

    def _fail(self, why: str) -> None:
        self.space = None
        self._view.warning(self._last_ns, f"no more pictures of this camera: {why}")

    def _log(self, frame: RGBDFrame) -> None:
        camera, t_ns, depth = frame.calibration.color, frame.t_capture_ns + self._shift_ns, frame.depth
        self._last_ns = t_ns
        self._view.pinhole(camera)
        self._view.picture(frame.sequence, t_ns, frame_payload(frame.color), camera.width, camera.height)
        if frame.depth_missing:
            return
        if not frame.calibration.depth_aligned:
            depth = align_depth(depth, frame.calibration, frame.depth_scale_m)
        self._view.depth(frame.sequence, t_ns, depth, frame.depth_scale_m)
        self.space = (frame.sequence, camera, depth.astype(np.float32) * np.float32(frame.depth_scale_m))
