"""What goes wrong on the way out."""

from __future__ import annotations


class SinkError(OSError):
    """A result could not leave: the text says where to, what was found and what to do."""


class SilenceError(SinkError, TimeoutError):
    """Nobody published for as long as the caller was willing to wait."""
