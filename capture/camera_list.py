"""Which cameras are plugged in, over all the SDKs that are installed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import cast

from .source import SourceError

LISTERS = {
    "realsense": "realsense:list_cameras",
    "kinect": "kinect:list_cameras",
    "orbbec": "orbbec:list_cameras",
    "oak": "oak:list_cameras",
    "webcam": "webcam:list_cameras",
}
"""Kind of camera -> 'module:function' in this room; each imports its SDK only when called."""


@dataclass(frozen=True, slots=True)
class CameraListing:
    """One camera that answers."""

    kind: str
    """What `--camera` takes before the colon."""
    serial: str
    """What it takes behind the colon; of a webcam its number."""
    name: str
    firmware: str
    connection: str
    """USB type as the camera says it, such as '3.2'; '' where it says nothing."""
    modes: tuple[str, ...]
    """'color 640x480@30' and so on, largest first."""


def list_kind(kind: str) -> Iterable[CameraListing]:
    """Cameras of one kind.

    Raises:
        SourceError: its SDK is not installed or does not work, the text says what to install; or, after those that
            answer, a camera does not.
    """
    module, _, name = LISTERS[kind].partition(":")
    return cast(Callable[[], Iterable[CameraListing]], getattr(import_module(f".{module}", __package__), name))()


def list_all() -> tuple[list[CameraListing], dict[str, str]]:
    """Every camera that answers, and for each kind that cannot be asked, or not wholly, the reason."""
    found: list[CameraListing] = []
    unusable: dict[str, str] = {}
    for kind in LISTERS:
        try:
            found.extend(list_kind(kind))  # keeps those that answer, before one that does not
        except SourceError as error:
            unusable[kind] = str(error)
    return found, unusable


def topic_name(serial: str) -> str:
    """A serial number as a topic name, in [A-Za-z0-9_-]."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", serial).strip("_") or "camera"


def wanted_serial(camera: str, serial_no: str | None) -> str | None:
    """The serial number asked for: after the colon of `--camera`, else `serial_no`, else None = the only one."""
    return camera.partition(":")[2] or serial_no


def pick(kind: str, serials: list[str], wanted: str | None) -> str | None:
    """The camera to open; None where it is not there (yet).

    Raises:
        SourceError: several are there and none was named.
    """
    if wanted is not None:
        return wanted if wanted in serials else None
    if len(serials) > 1:
        choices = ", ".join(f"--camera {kind}:{serial}" for serial in serials)
        raise SourceError(f"{kind}: {len(serials)} cameras are connected; choose one: {choices}")
    return serials[0] if serials else None
