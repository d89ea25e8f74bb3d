"""The bus as an MCAP file: a plain subscriber, in its own process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .curve import SubscriberKeys
from .results_mcap import ResultsMcap
from .subscriber import subscribe
from .wire import Kind, Message

RESULTS: tuple[Kind, ...] = ("session", "score", "event")


def write_mcap(
    address: str,
    path: Path,
    *,
    pictures: bool = False,
    running: Callable[[], bool] = lambda: True,
    joined: Callable[[], None] = lambda: None,
    writes: Callable[[str, Path], None] = lambda camera, path: None,
    keys: SubscriberKeys | None = None,
) -> dict[str, int]:
    """Write a session's results until it ends; messages by channel, and those lost on the bus.

    Args:
        address: of the bus.
        path: of the file, which must not exist; a second camera of the session gets one with its name.
        pictures: frames too, where the session's privacy tier allows it.
        running: asked twice a second at least.
        joined: called once the session was heard and the file stands.
        writes: called before a camera's file is made.
        keys: for a bus that lets only listed keys in.

    Raises:
        RecordingError: the file exists or cannot be written.
        SinkError: the address is malformed.
        WireError: something else publishes there.
    """
    kinds: tuple[Kind, ...] = (*RESULTS, "frame") if pictures else RESULTS
    files: dict[str, ResultsMcap] = {}
    lost = 0
    try:
        for message in subscribe(address, kinds, keys=keys, running=running):
            camera, lost = str(message.header["camera"]), message.lost
            if message.kind == "session" and camera not in files:
                beside = path if not files else path.with_stem(f"{path.stem}_{camera}")
                writes(camera, beside)
                files[camera] = ResultsMcap(beside, message.header, pictures)
                joined()
            elif camera in files and not message.repeat:
                _write(files[camera], message)
    finally:
        for file in files.values():
            file.close()
    counts = {f"{camera} {name}": count for camera, file in files.items() for name, count in file.counts.items()}
    return {**counts, "lost": lost} if lost else counts


def _write(file: ResultsMcap, message: Message) -> None:
    header = message.header
    # What the end of a session decides belongs to no frame.
    t_ns = header["t_utc_ns"] or header["t_capture_ns"] or file.last_ns
    if message.kind == "score":
        file.score(t_ns, header)
    elif message.kind == "event":
        file.event(t_ns, header)
    elif message.kind == "frame" and message.payload is not None:
        file.picture(t_ns, message.payload, header["width"], header["height"])
