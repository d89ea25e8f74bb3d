"""What a supervised process does, how it ended, and whether another takes its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .role_link import RoleLink


@dataclass(frozen=True, slots=True)
class Role:
    """What one process does."""

    name: str
    run: Callable[[Any, RoleLink], Mapping[str, Any] | None]
    """A module's function: works until done or `link.stopping()`, returns a small result, raises on failure."""
    settings: Any
    """Picklable; handed to `run`."""
    essential: bool = True
    """A failure stops the session. Others, such as sinks, may fail; they are stopped once the essential ones ended."""
    cpus: tuple[int, ...] = ()
    """Processors it may use; empty = all."""
    yields: bool = False
    """Others go first on a busy machine: what only shows results, or can take its time, must not delay them."""


@dataclass(frozen=True, slots=True)
class RoleResult:
    """How a role ended."""

    role: str
    exit_code: int
    """0 = done, 1 = raised, negative = killed by that signal."""
    value: Mapping[str, Any] = field(default_factory=dict)
    """What the role returned."""
    error_names: tuple[str, ...] = ()
    """Names of the error's class and its bases, most special first; empty where it raised nothing."""
    message: str = ""
    trace: str = ""
    """Traceback of the error in the child."""
    terminated: bool = False
    """True where the supervisor ended it, as it did not obey a stop in time."""

    @property
    def ok(self) -> bool:
        """True where the role came to its proper end."""
        return self.exit_code == 0


@dataclass(frozen=True, slots=True)
class Retry:
    """A failed role is started again."""

    settings: Any
    """Takes the place of the role's."""
    after_s: float
    commands: tuple[tuple[str, object], ...] = ()
    """Sent to it as soon as it runs: what its predecessor was told."""
