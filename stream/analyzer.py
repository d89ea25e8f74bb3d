"""Analyzer plug-ins: further programs that look at the same frames, each in its own process and at a bounded rate.

A package offers one by an entry point of the group `sfam.analyzers`: its name, and a callable that takes the options
of the settings (a mapping) and gives an `Analyzer`. What it finds never touches scores, events or their tables.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, cast

from sfam.capture.frame import RGBDFrame

GROUP = "sfam.analyzers"
SHIPPED: dict[str, str] = {"blendshapes": "analyzer_blendshapes:open_blendshapes"}
"""Analyzers of this room by name as 'module:callable'; entry points of other packages may not take their names."""
FAILURES_TO_STOP = 10
"""Frames in a row on which an analyzer may fail before it is given up."""


class AnalyzerError(RuntimeError):
    """An analyzer cannot be opened, or fails on every frame; the text says what to install or set."""


class Analyzer(ABC):
    """Looks at single frames. Made, used and closed in one thread of its own process."""

    @abstractmethod
    def analyze(self, frame: RGBDFrame) -> Mapping[str, float] | None:
        """Named values of one frame; None where there is nothing to say, such as no face."""

    @abstractmethod
    def close(self) -> None:
        """Let go of what it holds."""


@dataclass(frozen=True, slots=True)
class AnalyzerResult:
    """What an analyzer said of one frame; the stamps are the frame's own."""

    analyzer: str
    frame: int
    t_capture_ns: int
    values: Mapping[str, float]
    t_device_ns: int | None = None
    t_utc_ns: int | None = None


def analyzer_names() -> tuple[str, ...]:
    """Names of all analyzers that can be asked for: those shipped, then those of installed packages."""
    return (*SHIPPED, *sorted({point.name for point in entry_points(group=GROUP)} - set(SHIPPED)))


def open_analyzer(name: str, options: Mapping[str, Any]) -> Analyzer:
    """Open an analyzer by name.

    Raises:
        AnalyzerError: unknown, or it cannot be loaded or opened.
    """
    if name in SHIPPED:
        module, _, attribute = SHIPPED[name].partition(":")
        return cast(Analyzer, getattr(import_module(f".{module}", __package__), attribute)(options))
    points = entry_points(group=GROUP, name=name)
    if not points:
        known = ", ".join(analyzer_names())
        raise AnalyzerError(
            f"analyzer {name!r} is unknown; known: {known}. Others come with packages that offer {GROUP}"
        )
    try:
        return cast(Analyzer, next(iter(points)).load()(options))
    except AnalyzerError:
        raise
    except Exception as error:
        raise AnalyzerError(f"analyzer {name!r} of {next(iter(points)).value} cannot be opened: {error}") from error


class RatedAnalyzer:
    """Runs an analyzer on frames as they come, no more often than asked, and stamps what it says.

    Args:
        name: under which results go out.
        analyzer: the plug-in.
        rate_hz: most frames a second of capture time that it is given.
    """

    def __init__(self, name: str, analyzer: Analyzer, rate_hz: float) -> None:
        if rate_hz <= 0:
            raise ValueError(f"analyzer {name!r}: its rate must be above 0 frames a second, got {rate_hz}")
        self._name = name
        self._analyzer = analyzer
        self._every_ns = round(1e9 / rate_hz)
        self._due_ns = 0
        self._last_ns: int | None = None
        self.analysed = 0
        self.failed = 0
        self.last_failure = ""
        self._failures = 0

    def push(self, frame: RGBDFrame) -> Iterator[AnalyzerResult]:
        """The result for this frame, if it is its turn and there is something to say.

        Raises:
            AnalyzerError: it has failed on `FAILURES_TO_STOP` frames in a row.
        """
        now, last, self._last_ns = frame.t_capture_ns, self._last_ns, frame.t_capture_ns
        if last is not None and last <= now < self._due_ns:
            return
        # Due times go on evenly, so that frames that come a little late do not lower the rate; a clock that jumped
        # back, as at the loop of a recording, or a pause begins anew.
        steady = last is not None and last <= now < self._due_ns + self._every_ns
        self._due_ns = (self._due_ns if steady else now) + self._every_ns
        values = self._try(frame)
        if values:
            stamps = frame.t_device_ns, frame.t_utc_ns or None
            yield AnalyzerResult(self._name, frame.sequence, now, dict(values), *stamps)

    def _try(self, frame: RGBDFrame) -> Mapping[str, float] | None:
        self.analysed += 1
        try:
            values = self._analyzer.analyze(frame)
        except Exception as error:  # a plug-in's failure on one frame is counted, not fatal
            self.failed, self._failures = self.failed + 1, self._failures + 1
            self.last_failure = f"{type(error).__name__}: {error}"
            if self._failures >= FAILURES_TO_STOP:
                raise AnalyzerError(
                    f"analyzer {self._name!r} failed on {self._failures} frames in a row, the last time with "
                    f"{self.last_failure}; it is switched off for this session"
                ) from error
            return None
        self._failures = 0
        return values

    def close(self) -> None:
        """Close the plug-in."""
        self._analyzer.close()
