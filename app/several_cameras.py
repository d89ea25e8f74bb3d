"""Several cameras in one session: their names, their folders, and one analysis process for all of them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path, PurePath
from typing import Any

from sfam.engine.model import load_model
from sfam.engine.scorer import Scorer
from sfam.sinks.bus_address import PUBLISH_NOTHING
from sfam.sinks.curve import PublisherKeys
from sfam.sinks.session_folder import SESSION
from sfam.sinks.shared_bus import SharedBus
from sfam.sinks.wire import camera_name
from sfam.stream.face_process import RemoteDetector

from .analysis_role import AnalysisSettings, analysis_role
from .config import Config, ConfigError
from .detector_process import detector_at
from .pipeline import open_scorer
from .role_link import RoleLink, Tell
from .session import Session
from .session_plan import SessionPlan

OVERVIEW_FORMAT = "sfam.several_cameras/1"


def labels_of(cameras: Sequence[str]) -> list[str]:
    """A name for each camera, for topics and folders: its serial number, its file's stem, or its kind.

    Where two would be alike, the second gets `_2`, or the next number that is free.
    """
    labels: list[str] = []
    for camera in cameras:
        name = label = camera_name(_short_name(camera))
        number = 2
        while label in labels:
            label, number = f"{name}_{number}", number + 1
        labels.append(label)
    return labels


def _short_name(camera: str) -> str:
    kind, _, which = camera.partition(":")
    if which.startswith("//"):
        return which.strip("/")
    path = PurePath(camera)
    return which or (path.stem if path.suffix else kind)


def configs_of(config: Config) -> dict[str, Config]:
    """The settings of each camera of a session with several, by label."""
    cameras = (config.capture.camera, *config.app.cameras)
    found = {}
    for number, (label, camera) in enumerate(zip(labels_of(cameras), cameras, strict=True)):
        seed = config.capture.demo_seed + number
        capture = config.capture.model_copy(update={"camera": camera, "demo_seed": seed})
        app = config.app.model_copy(update={"cameras": (), "video": f"{config.app.video or 'session'}_{label}"})
        found[label] = config.model_copy(update={"capture": capture, "app": app})
    return found


class Overview:
    """session.json of the folder that holds the cameras' folders.

    Args:
        folder: of the whole session.
        plans: of the cameras, by label.
        force: overwrite what is there.

    Raises:
        ConfigError: the folder is not empty, or cannot be written.
    """

    def __init__(self, folder: Path, plans: Mapping[str, SessionPlan], force: bool) -> None:
        self._folder = folder
        self._plans = plans
        try:
            folder.mkdir(parents=True, exist_ok=True)
            occupied = any(folder.iterdir())
        except OSError as error:
            raise ConfigError(f"cannot make session folder {folder}: {error}; choose another --out") from error
        if occupied and not force:
            raise ConfigError(f"session folder {folder} is not empty; choose another --out, or --force to overwrite it")
        self.write("running")

    def write(self, state: str) -> None:
        """Say where the session stands.

        Raises:
            ConfigError: the folder cannot be written.
        """
        first = next(iter(self._plans.values()))
        clock = first.clock
        text = {
            "format": OVERVIEW_FORMAT,
            "session": first.session,
            "state": state,
            "clock": {"anchor_monotonic_ns": clock.anchor_monotonic_ns, "anchor_utc_ns": clock.anchor_utc_ns},
            "cameras": [
                {"camera": label, "source": plan.config.capture.camera, "folder": label}
                for label, plan in self._plans.items()
            ],
        }
        beside = self._folder / f".{SESSION}.new"
        try:
            beside.write_text(json.dumps(text, indent=2) + "\n", encoding="utf-8", newline="\n")
            beside.replace(self._folder / SESSION)
        except OSError as error:
            raise ConfigError(f"cannot write {self._folder / SESSION}: {error}") from error


@dataclass(frozen=True, slots=True)
class SeveralPlan:
    """What the one analysis process needs; picklable."""

    plans: Mapping[str, SessionPlan]
    """By label."""
    detector: Connection | None = None
    """To the process that finds faces; None = in the analysis."""


class CameraLink(RoleLink):
    """The part of a process' link that belongs to one camera: its kinds and commands end in the camera's label."""

    def __init__(self, link: RoleLink, label: str, failed: threading.Event) -> None:
        self._link = link
        self._suffix = f" {label}"
        self._failed = failed

    def stopping(self) -> bool:
        """True once the supervisor asked to stop, or is gone, or another camera's analysis failed."""
        return self._link.stopping() or self._failed.is_set()

    def wait_stop(self, timeout_s: float) -> bool:
        """Sleep until a stop or the timeout; True where asked to stop."""
        return self._link.wait_stop(timeout_s) or self.stopping()

    @property
    def orphaned(self) -> bool:
        """True once the supervisor's process is gone."""
        return self._link.orphaned

    def on(self, command: str, handler: Callable[[Any], None]) -> None:
        """Call `handler(value)` for each such command that is meant for this camera."""
        self._link.on(command + self._suffix, handler)

    def report(self, kind: str, message: object) -> None:
        """Send a small picklable message."""
        self._link.report(kind + self._suffix, message)

    def tell(self, kind: str, message: object) -> None:
        """Send a small picklable message that must not be replaced by the next one."""
        self._link.tell(kind + self._suffix, message)


def several_analysis_role(settings: SeveralPlan, link: RoleLink) -> Mapping[str, Any]:
    """Process 'analysis' of several cameras: a thread for each, one network that takes their windows together.

    Returns the totals of each camera by label, under 'cameras'.
    """
    labels = list(settings.plans)
    first = settings.plans[labels[0]]
    model = load_model(first.config.engine.model)
    lossless = any(plan.lossless for plan in settings.plans.values())
    scorer = open_scorer(first.config, model, not lossless, lambda text: link.tell(f"engine {labels[0]}", text))
    bus = _open_bus(first.config, labels)
    try:
        return _Team(settings, link, scorer, bus).run()
    finally:
        if bus is not None:
            for label in labels:
                bus.leave(label)
        scorer.backend.close()


def _open_bus(config: Config, labels: Sequence[str]) -> SharedBus | None:
    sinks = config.sinks
    if sinks.publish == PUBLISH_NOTHING:
        return None
    keys = PublisherKeys.load(sinks.keys) if sinks.keys else None
    return SharedBus(sinks.publish, labels, sinks.high_water_mark, insecure=sinks.insecure, keys=keys)


class _Team:
    """One thread for each camera."""

    def __init__(self, settings: SeveralPlan, link: RoleLink, scorer: Scorer, bus: SharedBus | None) -> None:
        self._settings = settings
        self._link = link
        self._scorer = scorer
        self._bus = bus
        self._failed = threading.Event()
        self._detector = None if settings.detector is None else self._detector_at(settings.detector)
        self._errors: list[Exception] = []
        self._totals: dict[str, Mapping[str, Any]] = {}

    def _detector_at(self, connection: Connection) -> RemoteDetector:
        """One for all cameras; the loss of it is told by the first."""
        label, plan = next(iter(self._settings.plans.items()))
        link = CameraLink(self._link, label, self._failed)
        return detector_at(connection, plan.config.stream.face, link.tell)

    def run(self) -> Mapping[str, Any]:
        threads = [
            threading.Thread(target=self._analyse, args=(label,), name=f"camera {label}")
            for label in self._settings.plans
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._errors:
            raise self._errors[0]
        return {"cameras": self._totals}

    def _analyse(self, label: str) -> None:
        def open_session(plan: SessionPlan, tell: Tell) -> Session:
            return Session(plan, tell, scorer=self._scorer, bus=self._bus, detector=self._detector)

        link = CameraLink(self._link, label, self._failed)
        try:
            self._totals[label] = analysis_role(AnalysisSettings(open_session, self._settings.plans[label]), link)
        except Exception as error:  # raised again once the other cameras have come to their end
            self._errors.append(error)
            self._failed.set()
        finally:
            if self._bus is not None:
                self._bus.leave(label)


def plans_of(base: SessionPlan, configs: Mapping[str, Config]) -> dict[str, SessionPlan]:
    """A plan for each camera: the same session and clock, a folder of its own."""
    return {label: replace(base, config=config, folder=base.folder / label) for label, config in configs.items()}
