"""Commands on the bus: `sfam tail`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from .config import ConfigError


def tail(
    address: Annotated[str, typer.Argument(help="Address of a running session.")] = "tcp://127.0.0.1:5571",
    kind: Annotated[
        list[str] | None, typer.Option("--kind", help="session, score, event, status, face, frame or flow; repeatable.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON header a line.")] = False,
    timeout_s: Annotated[float | None, typer.Option("--timeout", help="Stop after so many silent seconds.")] = None,
) -> None:
    """Print what a session publishes, until it ends.

    Example: `sfam tail tcp://127.0.0.1:5571 --kind event`
    """
    from sfam.sinks.subscriber import subscribe
    from sfam.sinks.wire import KINDS

    asked = kind or ["session", "event"]
    kinds = tuple(known for known in KINDS if known in asked)
    if len(kinds) < len(set(asked)):
        raise ConfigError(f"--kind {' '.join(asked)}: choose from {', '.join(KINDS)}")
    for message in subscribe(address, kinds=kinds, timeout_s=timeout_s):
        if as_json:
            typer.echo(json.dumps(message.header))
        else:
            typer.echo(f"{message.topic} {_in_words(message.kind, message.header)}")


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
