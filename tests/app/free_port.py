"""Addresses that nobody listens on yet."""

from __future__ import annotations

import socket


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def free_address() -> str:
    """A bus address on such a port."""
    return f"tcp://127.0.0.1:{free_port()}"
