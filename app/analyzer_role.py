"""What an analyzer's process runs: frames from the ring, looked at as an onlooker that nobody waits for."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from sfam.capture.source import SourceInfo
from sfam.sinks.wire import compact_json
from sfam.stream.analyzer import GROUP, RatedAnalyzer, analyzer_names, open_analyzer
from sfam.stream.ring_reader import RingReader

from .config import Config, ConfigError
from .ring_offer import SourceOffer, until_end
from .role import Role
from .role_link import RoleLink
from .supervisor import Supervisor

RESULT = "analyzer"
"""Kind of message: an `AnalyzerResult`, on its way to the bus."""
PREFIX = "analyzer "
"""Of the name of an analyzer's process."""


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


def require_analyzers(config: Config) -> None:
    """Refuse analyzers that cannot run, before anything starts.

    Raises:
        ConfigError: an unknown name, or one process where they need their own.
    """
    unknown = set(config.app.analyzers) - set(analyzer_names())
    if unknown:
        raise ConfigError(
            f"app.analyzers names {', '.join(sorted(unknown))}, which nothing offers; known: "
            f"{', '.join(analyzer_names())}. Others come with packages that offer {GROUP}"
        )
    if config.app.analyzers and config.app.single_process:
        raise ConfigError("app.analyzers need processes of their own; leave --single-process out")


def analyzer_roles(config: Config, folder: Path) -> list[Role]:
    """The processes that the settings ask for; none of them is essential.

    Args:
        config: the session's settings.
        folder: of the session.
    """
    rate_hz = config.app.analyzer_rate_hz
    return [
        Role(
            f"{PREFIX}{name}",
            analyzer_role,
            AnalyzerSettings(name, rate_hz, options, folder),
            essential=False,
            yields=True,
        )
        for name, options in config.app.analyzers.items()
    ]


def offer_to_analyzers(supervisor: Supervisor, config: Config, ring: str, info: SourceInfo) -> None:
    """Name the ring to the analyzers. Once the session's folder is there, for that is where they write."""
    for name in config.app.analyzers:
        supervisor.send(f"{PREFIX}{name}", "source", SourceOffer(ring, info))


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
                link.tell(RESULT, result)
                if file is not None:
                    file.write(compact_json(asdict(result)) + "\n")
                    file.flush()
        return {"analysed": rated.analysed, "failed": rated.failed, "last_failure": rated.last_failure}


def _results(settings: AnalyzerSettings) -> IO[str]:
    assert settings.folder is not None
    settings.folder.mkdir(parents=True, exist_ok=True)
    return (settings.folder / f"analyzer_{settings.name}.jsonl").open("a", encoding="utf-8")
