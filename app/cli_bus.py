"""Commands on the bus: `sfam tail`, `sfam log`, `sfam keys new`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .config import ConfigError
from .exit_codes import SINK

if TYPE_CHECKING:
    from sfam.sinks.curve import SubscriberKeys

keys_app = typer.Typer(help="Keys for a bus that other machines may reach.")
Address = Annotated[str, typer.Argument(help="Address of a running session.")]
KeyFile = Annotated[Path | None, typer.Option("--key", help="Own secret key file, for a bus with keys.")]
ServerFile = Annotated[Path | None, typer.Option("--server-key", help="The publisher's public key file.")]
Timeout = Annotated[float | None, typer.Option("--timeout", help="Stop after so many silent seconds.")]


def tail(
    address: Address = "tcp://127.0.0.1:5571",
    kind: Annotated[
        list[str] | None, typer.Option("--kind", help="session, score, event, status, face, frame, flow or analyzer.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON header a line.")] = False,
    max_age_ms: Annotated[
        float | None, typer.Option("--max-age-ms", help="Leave out what was captured longer ago; told at the end.")
    ] = None,
    timeout_s: Timeout = None,
    key: KeyFile = None,
    server_key: ServerFile = None,
) -> None:
    """Print what a session publishes, until it ends; a lost connection is taken up again.

    Example: `sfam tail tcp://127.0.0.1:5571 --kind event`
    """
    from sfam.sinks.subscriber import subscribe
    from sfam.sinks.wire import KINDS

    asked = kind or ["session", "event"]
    kinds = tuple(known for known in KINDS if known in asked)
    if len(kinds) < len(set(asked)):
        raise ConfigError(f"--kind {' '.join(asked)}: choose from {', '.join(KINDS)}")
    lost = stale = 0
    for message in subscribe(
        address, kinds=kinds, timeout_s=timeout_s, max_age_ms=max_age_ms, keys=_keys(key, server_key)
    ):
        lost, stale = message.lost, message.stale
        if as_json:
            typer.echo(json.dumps(message.header))
        else:
            typer.echo(f"{message.topic} {_in_words(message.kind, message.header)}")
    if lost or stale:
        typer.echo(f"sfam: {lost} messages lost, {stale} left out as too old", err=True)


def log(
    address: Address,
    out: Annotated[Path, typer.Option("--out", help="Session folder to write.")],
    camera: Annotated[str | None, typer.Option(help="Name in the topics; default the one heard first.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write into a folder that is not empty.")] = False,
    timeout_s: Timeout = None,
    key: KeyFile = None,
    server_key: ServerFile = None,
) -> None:
    """Write a session's tables of scores and events, from the bus; losses become rows and are counted.

    What may be missing is said at the end; exit code 5 means that more is missing than what came before the log began.

    One camera of a session with several. Landmarks, markers and analyzer results stay with the session itself.

    Example: `sfam log tcp://127.0.0.1:5571 --out copy`
    """
    from sfam.sinks.bus_log import log_bus

    done = log_bus(address, out, camera=camera, force=force, timeout_s=timeout_s, keys=_keys(key, server_key))
    typer.echo(f"session {done.session}: {done.rows} rows in {out}, {done.lost_rows} of them for lost frames")
    if not done.complete:
        typer.echo(f"sfam: incomplete: {'; '.join(done.lacks())}", err=True)
    if done.lost_messages or done.restarts or not done.ended:  # to begin late is no failure
        raise typer.Exit(SINK)


@keys_app.command("new")
def new_keys(
    folder: Annotated[Path, typer.Argument(help="Key folder of the publisher, for sinks.keys.")],
    client: Annotated[str, typer.Option(help="Name of the subscriber that gets a key.")] = "client",
) -> None:
    """Make keys for one subscriber, and the publisher's where there are none yet.

    Example: `sfam keys new keys --client lab2`, then `sfam-live --set sinks.keys=keys --publish tcp://0.0.0.0:5571`
    """
    from sfam.sinks.curve import new_keys as make_keys

    for path in make_keys(folder, client):
        typer.echo(f"wrote {path}")


def _keys(key: Path | None, server_key: Path | None) -> SubscriberKeys | None:
    """Both key files, or none."""
    if key is None and server_key is None:
        return None
    if key is None or server_key is None:
        raise ConfigError("--key and --server-key belong together: a bus with keys needs both")
    from sfam.sinks.curve import SubscriberKeys

    return SubscriberKeys.load(key, server_key)


def _in_words(kind: str, header: dict[str, object]) -> str:
    if kind == "event":
        onset, offset = header["onset"], header["offset"]
        assert isinstance(onset, dict)
        assert isinstance(offset, dict)
        return (
            f"#{header['id']} {header['kind']} {header['state']} frames {onset['frame']}-{offset['frame']} "
            f"{header['emotion']} score {header['score']}"
        )
    skipped = {"schema", "session", "camera", "t_publish_ns", "t_utc_ns", "t_device_ns", "latency_us", "model_card"}
    return " ".join(f"{key}={value}" for key, value in header.items() if key not in skipped)
