from __future__ import annotations

import socket
import sys
import threading
from pathlib import Path

import pytest
import zmq

from sfam.sinks.curve import PublisherKeys, SubscriberKeys, new_keys
from sfam.sinks.publisher import Publisher
from sfam.sinks.sink_error import SilenceError, SinkError
from sfam.sinks.subscriber import subscribe
from tests.sinks.session_parts import ANY_PORT, session_info


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys") / "own"
    new_keys(folder, "lab")
    new_keys(folder, "second")
    return folder


def test_keys_are_laid_out_as_told_and_secret_ones_are_private(keys: Path) -> None:
    names = {str(path.relative_to(keys)).replace("\\", "/") for path in keys.rglob("*.key*")}
    assert names == {
        "server.key",
        "server.key_secret",
        "lab.key_secret",
        "second.key_secret",
        "clients/lab.key",
        "clients/second.key",
    }
    if sys.platform != "win32":
        assert all(path.stat().st_mode & 0o077 == 0 for path in keys.glob("*_secret"))
        assert keys.stat().st_mode & 0o077 == 0
    for path in keys.glob("clients/*"):
        assert "private" not in path.read_text().replace("#", "").lower()


@pytest.mark.parametrize("client", ["lab", "second"])
def test_a_listed_subscriber_receives(keys: Path, client: str) -> None:
    with Publisher(ANY_PORT, session_info(), keys=PublisherKeys.load(keys)) as publisher:
        own = SubscriberKeys.load(keys / f"{client}.key_secret", keys / "server.key")
        messages = subscribe(publisher.address, ("session",), timeout_s=10, keys=own)
        assert next(messages).header["session"] == "test"
        messages.close()


def test_a_missing_or_foreign_key_receives_nothing(keys: Path, tmp_path: Path) -> None:
    new_keys(tmp_path, "stranger")
    stranger = SubscriberKeys.load(tmp_path / "stranger.key_secret", keys / "server.key")
    wrong_server = SubscriberKeys.load(keys / "lab.key_secret", tmp_path / "server.key")
    with Publisher(ANY_PORT, session_info(), keys=PublisherKeys.load(keys)) as publisher:
        for found in (None, stranger, wrong_server):
            messages = subscribe(publisher.address, ("session",), timeout_s=0.7, keys=found)
            with pytest.raises(SilenceError):
                next(messages)
        assert not publisher.wants("session")
        own = SubscriberKeys.load(keys / "lab.key_secret", keys / "server.key")
        assert next(subscribe(publisher.address, ("session",), timeout_s=10, keys=own)).kind == "session"


def test_keys_open_every_address(keys: Path) -> None:
    with Publisher("tcp://0.0.0.0:*", session_info(), keys=PublisherKeys.load(keys)) as publisher:
        address = publisher.address.replace("0.0.0.0", "127.0.0.1")
        own = SubscriberKeys.load(keys / "lab.key_secret", keys / "server.key")
        assert next(subscribe(address, ("session",), timeout_s=10, keys=own)).kind == "session"


def test_traffic_is_not_readable_on_the_way(keys: Path) -> None:
    """A raw listener that forwards bytes sees no header text."""
    with Publisher(ANY_PORT, session_info(), keys=PublisherKeys.load(keys)) as publisher:
        port = int(publisher.address.rpartition(":")[2])
        seen = bytearray()
        with socket.create_server(("127.0.0.1", 0)) as tap:

            def pump(source: socket.socket, target: socket.socket) -> None:
                while data := source.recv(4096):
                    seen.extend(data)
                    target.sendall(data)

            def forward() -> None:
                inner = tap.accept()[0]
                outer = socket.create_connection(("127.0.0.1", port))
                threading.Thread(target=pump, args=(outer, inner), daemon=True).start()
                pump(inner, outer)

            threading.Thread(target=forward, daemon=True).start()
            own = SubscriberKeys.load(keys / "lab.key_secret", keys / "server.key")
            messages = subscribe(f"tcp://127.0.0.1:{tap.getsockname()[1]}", ("session",), timeout_s=10, keys=own)
            assert next(messages).kind == "session"
            messages.close()
    assert len(seen) > 500
    assert b"sfam" not in bytes(seen)


def test_wrong_key_files_are_named(keys: Path, tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"cannot read a key from .*server\.key_secret"):
        PublisherKeys.load(tmp_path)
    with pytest.raises(SinkError, match="holds a public key only"):
        SubscriberKeys.load(keys / "clients" / "lab.key", keys / "server.key")
    with pytest.raises(SinkError, match="already has keys for 'lab'"):
        new_keys(keys, "lab")
    with pytest.raises(SinkError, match="must consist of letters"):
        new_keys(keys, "../lab")
    new_keys(tmp_path / "lonely", "only")
    (tmp_path / "lonely" / "clients" / "only.key").unlink()
    with pytest.raises(SinkError, match="nobody could subscribe"):
        PublisherKeys.load(tmp_path / "lonely")


def test_curve_is_built_into_the_installed_zeromq() -> None:
    assert zmq.has("curve")
