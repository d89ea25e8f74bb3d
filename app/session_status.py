"""How a session stands: for the bus once a second, for the status line ten times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sfam.sinks.status import Status
from sfam.stream.scene_flow import NoiseFloor

from .pipeline import FrameAnalysis
from .session_accounts import Accounts
from .session_pace import Pace


def heartbeat(
    accounts: Accounts, pace: Pace, last: FrameAnalysis | None, lost_messages: Mapping[str, int], memory_mb: float
) -> Status:
    """The heartbeat, with the incidents that none has told yet.

    Args:
        accounts, pace: of the session.
        last: its newest frame; None before the first.
        lost_messages: that the bus could not take, by kind.
        memory_mb: of all its processes.
    """
    return Status(
        frame=accounts.next_frame - 1,
        fps=round(pace.fps, 2),
        offered=accounts.next_frame,
        analysed=accounts.analysed,
        dropped=accounts.dropped(),
        lost_messages=lost_messages,
        stages=pace.stages(),
        noise=last.windows[0].noise if last and last.windows else NoiseFloor(),
        device="lost" if accounts.is_lost else "streaming",
        faces=len(last.tracks) if last else 0,
        outages=len(accounts.interruptions),
        hardware_resets=sum(one.resets for one in accounts.interruptions),
        incidents=accounts.news(),
        memory_mb=memory_mb,
    )


def shown(accounts: Accounts, pace: Pace, last: FrameAnalysis | None, blind: bool) -> dict[str, Any]:
    """What the status line shows; in a blind session neither scores nor events."""
    return {
        **pace.shown(accounts.analysed),
        "frame": accounts.next_frame - 1,
        "dropped": sum(accounts.dropped().values()),
        "face": last.tracks[0].state if last and last.tracks else "none",
        "spot": last.scores[0].spot if last and last.scores and not blind else None,
        "events": None if blind else accounts.events["confirmed"],
        "paused": accounts.is_paused,
    }
