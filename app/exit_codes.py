"""Exit codes of every command, by the error that ended it."""

from __future__ import annotations

import errno

OK = 0
ENDED_EARLY = 1
"""An end that is no error of ours and that nobody asked for."""
USAGE = 2
SOURCE = 3
ENGINE = 4
SINK = 5
VERIFICATION = 6

BY_ERROR = {
    "ConfigError": USAGE,
    "SourceError": SOURCE,
    "ModelError": ENGINE,
    "EngineError": ENGINE,
    "FaceError": ENGINE,
    "SinkError": SINK,
    "RecordingError": SINK,
    "WireError": SINK,
    "RingError": SOURCE,
}
"""Class names rather than classes: the error may have happened in another process."""


def is_disk_full(error: BaseException) -> bool:
    """Whether a command ended because there was no room to write, whatever wrote."""
    return isinstance(error, OSError) and error.errno == errno.ENOSPC


def exit_code(names: list[str]) -> int | None:
    """Exit code of an error given the names of its class and base classes; None = not one of ours."""
    return next((BY_ERROR[name] for name in names if name in BY_ERROR), None)


def class_names(error: BaseException) -> list[str]:
    """Names of an error's class and its bases, most special first."""
    return [kind.__name__ for kind in type(error).__mro__]
