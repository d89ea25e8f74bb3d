"""Keys for a bus that leaves the machine: encrypted with CURVE, open only to subscribers on a list.

A key folder holds, in ZeroMQ's certificate format:

    server.key_secret       stays with the publisher
    server.key              public, goes to every subscriber
    clients/NAME.key        public keys of the subscribers that are let in
    NAME.key_secret         goes to the subscriber NAME, and should then be removed here
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import zmq
import zmq.auth
from zmq.auth.thread import ThreadAuthenticator

from .sink_error import SinkError

SERVER = "server"
ALLOWED = "clients"
PUBLIC, SECRET = ".key", ".key_secret"

Key = bytes
"""40 letters of Z85: 32 bytes."""


@dataclass(frozen=True, slots=True)
class PublisherKeys:
    """What a publisher needs: its own pair and the folder of public keys that are let in."""

    public: Key
    secret: Key
    allowed: Path

    @classmethod
    def load(cls, folder: str | Path) -> PublisherKeys:
        """Keys of a publisher from a key folder.

        Raises:
            SinkError: when the folder lacks the server's secret key or lets nobody in.
        """
        folder = Path(folder)
        public, secret = _pair(folder / f"{SERVER}{SECRET}")
        if not any((folder / ALLOWED).glob(f"*{PUBLIC}")):
            raise SinkError(
                f"{folder / ALLOWED} holds no public key, so nobody could subscribe; run sfam keys new first"
            )
        return cls(public, secret, folder / ALLOWED)


@dataclass(frozen=True, slots=True)
class SubscriberKeys:
    """What a subscriber needs: its own pair and the publisher's public key."""

    public: Key
    secret: Key
    server: Key

    @classmethod
    def load(cls, secret_file: str | Path, server_file: str | Path) -> SubscriberKeys:
        """Keys of a subscriber from its secret key file and the publisher's public one.

        Raises:
            SinkError: when one of them is missing or no key file.
        """
        public, secret = _pair(Path(secret_file))
        return cls(public, secret, _load(Path(server_file))[0])

    def apply(self, reader: zmq.Socket[bytes]) -> None:
        """Make a socket speak with these keys; before it connects."""
        reader.curve_publickey, reader.curve_secretkey, reader.curve_serverkey = self.public, self.secret, self.server


def new_keys(folder: str | Path, client: str = "client") -> list[Path]:
    """Make a subscriber's keys, and the publisher's where there are none yet.

    Args:
        folder: the key folder; made when missing, readable by its owner only.
        client: name of the subscriber, in letters, digits, `_` and `-`.

    Returns:
        The files written.

    Raises:
        SinkError: when the name is unfit or taken, or the folder cannot be written.
    """
    folder = Path(folder)
    if not re.fullmatch(r"[A-Za-z0-9_-]+", client) or client == SERVER:
        raise SinkError(f"subscriber name {client!r} must consist of letters, digits, _ and -, and not be {SERVER!r}")
    if (folder / ALLOWED / f"{client}{PUBLIC}").exists():
        raise SinkError(f"{folder} already has keys for {client!r}; choose another name or remove those files")
    try:
        (folder / ALLOWED).mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        written = [] if (folder / f"{SERVER}{SECRET}").exists() else _make(folder, SERVER)
        public, secret = _make(folder, client)
        return [*written, public.replace(folder / ALLOWED / public.name), secret]
    except OSError as error:
        raise SinkError(f"cannot write keys to {folder}: {error.strerror or error}") from error


def guard(context: zmq.Context[zmq.Socket[bytes]], xpub: zmq.Socket[bytes], keys: PublisherKeys) -> ThreadAuthenticator:
    """Let only listed keys connect to a socket; before it binds. The caller stops what this returns."""
    guardian = ThreadAuthenticator(context)
    guardian.start()
    guardian.configure_curve(domain="*", location=str(keys.allowed))
    xpub.curve_publickey, xpub.curve_secretkey, xpub.curve_server = keys.public, keys.secret, True
    return guardian


def _make(folder: Path, name: str) -> list[Path]:
    public, secret = (Path(path) for path in zmq.auth.create_certificates(folder, name))
    secret.chmod(0o600)
    return [public, secret]


def _load(path: Path) -> tuple[Key, Key | None]:
    try:
        return zmq.auth.load_certificate(path)
    except (OSError, ValueError) as error:
        raise SinkError(f"cannot read a key from {path}: {error}; sfam keys new makes one") from error


def _pair(path: Path) -> tuple[Key, Key]:
    public, secret = _load(path)
    if secret is None:
        raise SinkError(f"{path} holds a public key only; give the file that ends in {SECRET}")
    return public, secret
