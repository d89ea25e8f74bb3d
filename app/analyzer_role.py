"""What an analyzer's process runs: frames from the ring, looked at as an onlooker that nobody waits for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from sfam.stream.analyzer import RatedAnalyzer, open_analyzer
from sfam.stream.ring_reader import RingReader

from .role_link import RoleLink
from .roles import SourceOffer, until_end

RESULT = "analyzer"
"""Kind of the newest `AnalyzerResult` reported to the supervisor."""


@dataclass(frozen=True, slots=True)
class AnalyzerSettings:
    """What an analyzer's process needs."""

    name: str
    rate_hz: float = 5.0
    """Most frames a second that are looked at."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Passed to the plug-in."""
    folder: Path | None = None
    """Session folder: results also go to `analyzer_<name>.jsonl` there, one line each."""


def analyzer_role(settings: AnalyzerSettings, link: RoleLink) -> dict[str, Any]:
    """Process of one analyzer: tells 'ready' with the ring's name, reports results, ends with the stream.

    Not essential: a session goes on without it. Returns how many frames it saw and failed on.

    Raises:
        AnalyzerError: it cannot be opened, or fails on every frame.
    """
    with ExitStack() as held:
        rated = RatedAnalyzer(settings.name, open_analyzer(settings.name, settings.options), settings.rate_hz)
        held.callback(rated.close)
        offer: SourceOffer | None = link.receive("source")
        if offer is None:
            return {}
        reader = held.enter_context(RingReader(offer.ring, None))
        file = held.enter_context(_results(settings)) if settings.folder is not None else None
        link.tell("ready", offer.ring)
        for frame in until_end(reader, link):
            for result in () if frame is None else rated.push(frame):
                link.report(RESULT, result)
                if file is not None:
                    file.write(json.dumps(asdict(result)) + "\n")
                    file.flush()
        return {"analysed": rated.analysed, "failed": rated.failed, "last_failure": rated.last_failure}


def _results(settings: AnalyzerSettings) -> IO[str]:
    assert settings.folder is not None
    settings.folder.mkdir(parents=True, exist_ok=True)
    return (settings.folder / f"analyzer_{settings.name}.jsonl").open("a", encoding="utf-8")
