"""Where in a session no window may reach across, and what its rows are told about it."""

from __future__ import annotations

from dataclasses import replace

from sfam.capture.frame import RGBDFrame

from .pipeline import FrameAnalysis


class Gaps:
    """Numbers segments on where the session itself was interrupted, and names the rows without window after one.

    Args:
        after_gap: this analysis begins after one.
    """

    def __init__(self, after_gap: bool) -> None:
        self._after_gap = after_gap
        self._added = 0
        self._segment: int | None = None

    def add(self) -> None:
        """No window reaches from before the next frame to after it."""
        self._added += 1

    def forgotten(self) -> None:
        """The pipeline knows nothing of what came before the next frame."""
        self._after_gap = True

    def marked(self, frame: RGBDFrame) -> RGBDFrame:
        """The frame in its segment, gaps of the session counted in."""
        return replace(frame, segment=frame.segment + self._added) if self._added else frame

    def named(self, result: FrameAnalysis) -> FrameAnalysis:
        """After a new segment (camera lost and found, clock set back) rows without window say gap, not warm_up."""
        segment = result.frame.segment
        if self._segment is not None and segment != self._segment:
            self._after_gap = True
        self._segment = segment
        if result.windows:
            self._after_gap = False
        if not self._after_gap:
            return result
        causes = {track: "gap" if cause == "warm_up" else cause for track, cause in result.causes.items()}
        return replace(result, cause="gap" if result.cause == "warm_up" else result.cause, causes=causes)
