"""What a session is: who was filmed with what, judged by which model, and what the result is not for."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from sfam.capture.clock import SessionClock

SessionState = Literal["started", "running", "paused", "ended", "failed"]

NOT_A_LIE_DETECTOR = "Research instrument. Not a lie detector."
UNSUITABLE_USES = (
    "deciding whether a person lies",
    "inferring emotions at work or in education (EU AI Act, article 5(1)(f))",
    "any decision about a person without that person's informed consent",
)
REPORTED_PACKAGES = ("sfam-live", "numpy", "opencv-contrib-python", "pyzmq", "onnxruntime", "scipy")


def installed_versions() -> dict[str, str]:
    """Versions of Python, the system and every package that can change a result; missing ones are left out."""
    versions = {"python": platform.python_version(), "system": platform.platform()}
    for package in REPORTED_PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """All that stays the same during a session; stands in every `session` message and in session.json."""

    session: str
    """Id of the session; never part of a table."""
    camera: str
    """Name in topics: letters, digits, `_` and `-`."""
    classes: tuple[str, ...]
    """Emotion classes in the model's order, neutral last."""
    subject: str = "anonymous"
    video: str = ""
    source: str = ""
    """What `--camera` was."""
    threshold: float = float("nan")
    """Spotting threshold in use."""
    model: Mapping[str, object] = field(default_factory=dict)
    """The whole model card."""
    model_sha256: str = ""
    config_hash: str = ""
    versions: Mapping[str, str] = field(default_factory=installed_versions)
    devices: Mapping[str, object] = field(default_factory=dict)
    clock: SessionClock = field(default_factory=SessionClock.start)
    privacy: str = "results"
    retain_until: str | None = None
    """Last day on which the session may be kept, YYYY-MM-DD; None = no limit was set."""
    consent: str = ""
    """The operator's note on the participant's consent."""
    contact: str = ""
    """Whom the participant can ask."""
    unsuitable_uses: tuple[str, ...] = UNSUITABLE_USES
    blind: bool = False
    """Scores, labels and events stay off screens and bus; the session's files keep them."""
    max_faces: int = 1
    """Faces followed at once."""
    calibration: Mapping[str, object] | None = None
    """What the participant's baseline says of false alarms; None without one."""

    @classmethod
    def from_header(cls, header: Mapping[str, Any]) -> SessionInfo:
        """The session behind a `session` header."""
        clock, threshold = header["clock"], header["threshold"]
        return cls(
            session=header["session"],
            camera=header["camera"],
            classes=tuple(header["classes"]),
            subject=header["subject"],
            video=header["video"],
            source=header["source"],
            threshold=float("nan") if threshold is None else threshold,
            model=header["model"],
            model_sha256=header["model_sha256"],
            config_hash=header["config_hash"],
            versions=header["versions"],
            devices=header["devices"],
            clock=SessionClock(clock["anchor_monotonic_ns"], clock["anchor_utc_ns"]),
            privacy=header["privacy"],
            retain_until=header.get("retain_until"),
            consent=header.get("consent", ""),
            contact=header.get("contact", ""),
            unsuitable_uses=tuple(header["unsuitable_uses"]),
            blind=bool(header.get("blind", False)),
            max_faces=int(header.get("max_faces", 1)),
            calibration=header.get("calibration"),
        )

    def fields(self, state: SessionState, counters: Mapping[str, object]) -> dict[str, object]:
        """The session as JSON-ready fields, with where it stands and its totals so far."""
        return {
            "state": state,
            "subject": self.subject,
            "video": self.video,
            "source": self.source,
            "classes": list(self.classes),
            "threshold": self.threshold,
            "model": dict(self.model),
            "model_sha256": self.model_sha256,
            "config_hash": self.config_hash,
            "versions": dict(self.versions),
            "devices": dict(self.devices),
            "clock": {
                "anchor_monotonic_ns": self.clock.anchor_monotonic_ns,
                "anchor_utc_ns": self.clock.anchor_utc_ns,
            },
            "privacy": self.privacy,
            "retain_until": self.retain_until,
            "consent": self.consent,
            "contact": self.contact,
            "blind": self.blind,
            "max_faces": self.max_faces,
            "calibration": None if self.calibration is None else dict(self.calibration),
            "notice": NOT_A_LIE_DETECTOR,
            "unsuitable_uses": list(self.unsuitable_uses),
            "counters": dict(counters),
        }
