"""Addresses of the bus: which ones may be used, and why one could not."""

from __future__ import annotations

import errno
import socket
from pathlib import Path
from urllib.parse import urlsplit

import zmq

from .sink_error import SinkError

PUBLISH_NOTHING = "none"
IPC = "ipc://"


def require_private(address: str, insecure: bool) -> None:
    """Refuse a malformed address and one that other machines can reach.

    Raises:
        SinkError: unless the address is well formed, and a loopback one or `insecure` is set.
    """
    if address.startswith(IPC):
        return
    host, port = _host_and_port(address)
    if not address.startswith("tcp://") or not host or not (port == "*" or (port.isdecimal() and int(port) < 2**16)):
        raise SinkError(f"cannot publish on {address!r}: expected tcp://HOST:PORT, such as tcp://127.0.0.1:5571")
    if not insecure and not is_private(address):
        raise SinkError(
            f"will not publish on {address}: other machines could read it; use tcp://127.0.0.1:PORT, or keys "
            "(sfam keys new), or --insecure in a network you trust"
        )


def is_private(address: str) -> bool:
    """Whether only this machine can reach an address."""
    host, _ = _host_and_port(address)
    return address.startswith(IPC) or host in ("localhost", "::1") or host.startswith("127.")


def seen_from_here(address: str) -> str:
    """Where a subscriber on this machine finds a publisher that listens on an address, "all interfaces" included."""
    host, port = _host_and_port(address)
    return f"tcp://127.0.0.1:{port}" if host in ("0.0.0.0", "*") else address


def _host_and_port(address: str) -> tuple[str, str]:
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    return host.strip("[]"), port


def why_not_bound(address: str, error: zmq.ZMQError) -> str:
    """What to tell somebody whose address ZeroMQ refused."""
    if error.errno == zmq.EADDRINUSE:
        port = urlsplit(address).netloc.rpartition(":")[2]
        return (
            f"cannot publish on {address}: port {port} is in use, probably by another session; "
            "end that one or choose another address with --publish tcp://127.0.0.1:PORT (or --publish none)"
        )
    return f"cannot publish on {address}: {error.strerror}; expected tcp://HOST:PORT, such as tcp://127.0.0.1:5571"


def remove_socket_file(address: str) -> None:
    """Remove what a publisher left of an `ipc://` address; a file that somebody listens at stays.

    Raises:
        OSError: it cannot be removed.
    """
    path = Path(address.removeprefix(IPC))
    if address.startswith(IPC) and path.is_socket():
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(path)) == errno.ECONNREFUSED:
                path.unlink()
