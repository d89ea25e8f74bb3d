from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from sfam.sinks.bus_address import remove_socket_file


@pytest.mark.skipif(sys.platform == "win32", reason="has no files of sockets")
def test_a_socket_file_goes_once_nobody_listens_at_it(tmp_path: Path) -> None:
    path = tmp_path / "bus"
    address = f"ipc://{path}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        remove_socket_file(address)
        assert path.is_socket()
    remove_socket_file(address)
    assert not path.exists()
    remove_socket_file(address)


def test_nothing_but_a_socket_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "bus"
    path.write_text("of somebody else")
    for address in (f"ipc://{path}", str(path), "tcp://127.0.0.1:5571", "none"):
        remove_socket_file(address)
    assert path.read_text() == "of somebody else"
