"""How far a long command is, on standard error; where that is no terminal only the lines that are said remain."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


@dataclass(frozen=True, slots=True, eq=False)
class ProgressBar:
    """One bar that is on screen."""

    _progress: Progress
    _task: TaskID

    def at(self, done: int, total: int | None = None) -> None:
        """So much is done; `total` where it was not known before."""
        self._progress.update(self._task, completed=done, total=total)

    def advance(self) -> None:
        """One more is done."""
        self._progress.advance(self._task)

    def say(self, line: str) -> None:
        """A line above the bar."""
        self._progress.console.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)


@contextmanager
def progress_bar(what: str, total: int | None = None) -> Iterator[ProgressBar]:
    """A bar that is gone at the end.

    Args:
        what: is counted, such as "clips".
        total: of them; None = not known yet.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield ProgressBar(progress, progress.add_task(what, total=total))
