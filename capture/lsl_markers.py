"""Trial markers from Lab Streaming Layer: every stream of type `Markers`, or one by its name."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from .lsl import load_lsl, monotonic_ahead_ns
from .marker import Marker, parse_marker

MARKERS_TYPE = "Markers"
OWN_SOURCE = "sfam-live/"
"""How the `source_id` of our own streams begins: their events are no trials."""
FORGET_S = 5.0
LOOK_EVERY_S = 0.5
CORRECT_EVERY_S = 5.0
OPEN_S = 3.0
AT_ONCE = 256


class LslMarkers:
    """Reads marker streams that may appear late, vanish and come back.

    Stamps are mapped to this host's monotonic clock with the stream's measured time correction.

    Args:
        name: of the stream; empty = every stream of type `Markers` but our own.

    Raises:
        LslError: pylsl is not installed.
    """

    def __init__(self, name: str = "") -> None:
        self._lsl = load_lsl()
        self._name = name
        self._ahead_ns = monotonic_ahead_ns(self._lsl.local_clock)
        self._resolver = self._lsl.ContinuousResolver(prop="type", value=MARKERS_TYPE, forget_after=FORGET_S)
        self._streams: dict[str, _Stream] = {}
        self._lost_s: dict[str, float] = {}
        self._looked_s = 0.0

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the streams that are connected now."""
        return tuple(sorted(stream.name for stream in self._streams.values()))

    def read(self, timeout_s: float) -> list[Marker]:
        """Markers that have come, by time; empty after `timeout_s` without any."""
        began_s = time.monotonic()
        found: list[Marker] = []
        while not found:
            self._look()
            found = [marker for uid in list(self._streams) for marker in self._pull(uid)]
            if not found:
                if time.monotonic() - began_s >= timeout_s:
                    break
                time.sleep(min(0.005, timeout_s))
        return sorted(found, key=lambda marker: marker.t_capture_ns)

    def close(self) -> None:
        """Leave all streams."""
        for stream in self._streams.values():
            stream.inlet.close_stream()
        self._streams.clear()

    def __enter__(self) -> LslMarkers:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()

    def _look(self) -> None:
        """Open streams that have appeared."""
        now_s = time.monotonic()
        if now_s - self._looked_s < LOOK_EVERY_S:
            return
        # The resolver remembers a stream that is gone for a while; opening it again would only wait.
        self._lost_s = {uid: lost_s for uid, lost_s in self._lost_s.items() if now_s - lost_s < FORGET_S}
        for info in self._resolver.results():
            uid = str(info.uid())
            if uid in self._streams or uid in self._lost_s or not self._is_asked_for(info):
                continue
            try:
                self._streams[uid] = _Stream(self._lsl, info)
            except _gone(self._lsl):
                self._lost_s[uid] = time.monotonic()
        self._looked_s = time.monotonic()

    def _is_asked_for(self, info: Any) -> bool:
        named = not self._name or info.name() == self._name
        return named and info.channel_count() >= 1 and not info.source_id().startswith(OWN_SOURCE)

    def _pull(self, uid: str) -> list[Marker]:
        stream = self._streams[uid]
        try:
            return stream.pull(self._ahead_ns)
        except _gone(self._lsl):
            del self._streams[uid]
            self._lost_s[uid] = time.monotonic()
            return []


def _gone(lsl: Any) -> tuple[type[Exception], ...]:
    """What the library raises for a stream that is not there any more."""
    return lsl.util.LostError, lsl.util.TimeoutError


class _Stream:
    """One open stream; does not wait for a lost one, `LslMarkers` finds it anew."""

    def __init__(self, lsl: Any, info: Any) -> None:
        self.name = str(info.name())
        self._lsl = lsl
        self.inlet = lsl.StreamInlet(info, max_buflen=60, recover=False)
        self.inlet.open_stream(OPEN_S)
        self._correction_s = float(self.inlet.time_correction(OPEN_S))
        self._corrected_s = time.monotonic()

    def pull(self, ahead_ns: int) -> list[Marker]:
        """Markers that have come."""
        samples, stamps = self.inlet.pull_chunk(timeout=0.0, max_samples=AT_ONCE)
        if samples and time.monotonic() - self._corrected_s > CORRECT_EVERY_S:
            with suppress(self._lsl.util.TimeoutError):  # the last correction goes on
                self._correction_s = float(self.inlet.time_correction(0.2))
            self._corrected_s = time.monotonic()
        return [
            parse_marker(str(sample[0]), round((stamp + self._correction_s) * 1e9) + ahead_ns, f"lsl:{self.name}")
            for sample, stamp in zip(samples or (), stamps or (), strict=True)
        ]
