"""What is said when supervised processes have ended, and the exit code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .exit_codes import OK, exit_code
from .role import RoleResult
from .status_line import StatusLine
from .supervisor import Supervisor


def run_to_verdict(
    supervisor: Supervisor,
    reader: str,
    summary: Callable[[Mapping[str, Any]], str],
    release: Callable[[], None],
    line: StatusLine,
    verbose: bool,
) -> int:
    """Run a capture and its one reader to their end; returns the exit code, which the first failure decides.

    Args:
        supervisor: of both.
        reader: the role whose totals are told.
        summary: makes a sentence of them.
        release: lets go what they shared, also after an error.
        line, verbose: the operator's.
    """
    try:
        results = supervisor.run()
    finally:
        release()
    totals = next((result.value for result in results if result.role == reader), {})
    if totals:
        line.say(summary(totals))
    failed = failures(results)
    say_failures(failed, line, verbose)
    return failure_code(failed)


def failures(results: Sequence[RoleResult]) -> list[RoleResult]:
    """Those worth telling: who was still starting when another failed is a consequence, not news."""
    failed = [result for result in results if not result.ok]
    return [result for result in failed if not result.terminated] or failed


def say_failures(failed: Sequence[RoleResult], line: StatusLine, verbose: bool) -> None:
    """One sentence each, and the traceback where it is wanted."""
    for result in failed:
        line.say(f"sfam: {result.role}: {result.message}")
        if verbose and result.trace:
            line.say(result.trace)


def failure_code(failed: Sequence[RoleResult]) -> int:
    """Exit code of the first error that is one of ours; 1 where none is, 0 where nothing failed."""
    codes = [exit_code(list(result.error_names)) for result in failed]
    return next((code for code in codes if code is not None), 1) if failed else OK
