"""What the doctor looks at, gathered in one place so that a test can put a broken machine there instead."""

from __future__ import annotations

import ctypes.util
import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distributions, requires, version
from pathlib import Path

from sfam.capture.camera_list import CameraListing, list_kind

from .config import Config

_PROGRAM_WAIT_S, _ANSWER_S = 5.0, 2.0


def installed_version(package: str) -> str | None:
    """Version of an installed package, None where it is not."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def program_output(command: Sequence[str]) -> str | None:
    """What a program prints, None where it is missing, fails or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PROGRAM_WAIT_S, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None


def free_bytes(path: Path) -> int:
    """Room on the disk of a path, or of its nearest parent that exists."""
    place = path.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def port_is_free(host: str, port: int) -> bool:
    """Whether a program could listen there."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As ZeroMQ does: a port in TIME_WAIT can be taken, one that is listened on cannot.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, os.name == "posix")
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def answers(host: str, port: int) -> bool:
    """Whether something listens there."""
    try:
        socket.create_connection((host, port), timeout=_ANSWER_S).close()
    except OSError:
        return False
    return True


def display_answers() -> bool:
    """Whether a window could be opened."""
    from sfam.sinks.overlay_window import display_available

    return display_available()


@dataclass(frozen=True, slots=True)
class ModelCheck:
    """The configured model, run on its stored vectors."""

    name: str
    licence: str
    backend: str
    spot_error: float


def landmark_model() -> Path:
    """The file of dlib's landmark model.

    Raises:
        FaceError: it is missing.
    """
    from sfam.stream.face_dlib import landmark_model as path_of_model

    return path_of_model()


def check_model(config: Config) -> ModelCheck:
    """Load the model and its backend and compare with the stored outputs.

    Raises:
        ModelError: unknown, damaged, or computing something else.
    """
    from sfam.engine.backend import check_parity, open_backend
    from sfam.engine.model import load_model

    artifact = load_model(config.engine.model)
    backend = open_backend(config.engine, artifact)
    report = check_parity(backend, artifact)
    backend.close()
    return ModelCheck(artifact.name, artifact.licence, report.backend, report.spot_error)


def compiled_loops() -> bool:
    """Whether the hot loops were built when the package was."""
    from sfam.capture.compiled_align import kernel
    from sfam.stream.compiled import kernels

    return kernel is not None and kernels is not None


def _opencv_wheels() -> list[str]:
    return sorted({dist.name.lower() for dist in distributions() if (dist.name or "").lower().startswith("opencv")})


@dataclass(frozen=True, slots=True)
class Machine:
    """This machine; every field can be replaced."""

    python: tuple[int, int] = sys.version_info[:2]
    system: str = field(default_factory=platform.system)
    root: Path = Path("/")
    """Where /sys, /etc, /lib and /dev are looked for."""
    is_root: bool = field(default_factory=lambda: hasattr(os, "geteuid") and os.geteuid() == 0)
    now_s: Callable[[], float] = time.time
    requirements: Callable[[], Sequence[str]] = lambda: requires("sfam-live") or ()
    version_of: Callable[[str], str | None] = installed_version
    opencv_wheels: Callable[[], Sequence[str]] = _opencv_wheels
    find_library: Callable[[str], str | None] = ctypes.util.find_library
    output_of: Callable[[Sequence[str]], str | None] = program_output
    free_bytes: Callable[[Path], int] = free_bytes
    port_is_free: Callable[[str, int], bool] = port_is_free
    answers: Callable[[str, int], bool] = answers
    list_cameras: Callable[[str], Iterable[CameraListing]] = list_kind
    """Cameras of a kind that answer its SDK; SourceError without that."""
    display: Callable[[], bool] = display_answers
    compiled: Callable[[], bool] = compiled_loops
    check_model: Callable[[Config], ModelCheck] = check_model
    landmark_model: Callable[[], Path] = landmark_model
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
