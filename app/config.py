"""All settings: one section per room, composed, validated and written back."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from sfam.capture.config import CaptureConfig
from sfam.engine.config import EngineConfig
from sfam.sinks.config import SinksConfig
from sfam.stream.config import StreamConfig

ENVIRONMENT_PREFIX = "SFAM_"


class ConfigError(ValueError):
    """A setting cannot be used; the text names the key and what would be valid."""


class AppConfig(BaseModel):
    """How a session runs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    speed: float | Literal["max"] = Field(1.0, description="replay speed: 1 = real time, max = as fast as possible")
    policy: str = Field(
        "auto", description="under load: latest, lossless, decimate:N; auto = lossless for files, latest live"
    )
    duration_s: float | None = Field(None, gt=0, description="stop after this much capture time; null = to the end")
    single_process: bool = Field(False, description="capture and analysis in one process")
    ring_slots: int = Field(16, ge=2, le=1024, description="frames the shared-memory ring holds")
    analyzers: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="plug-ins that look at the same frames: name to its options"
    )
    analyzer_rate_hz: float = Field(5.0, gt=0, description="frames a second at most that each analyzer is given")
    subject: str = Field("anonymous", description="subject in events.csv and session.json")
    video: str | None = Field(None, description="video in events.csv; null = file stem or session id")
    markers: str | None = Field(
        None,
        description="trial markers: lsl (all streams of type Markers), lsl:NAME, tcp://HOST:PORT of a ZeroMQ "
        "publisher, or a replayed session's markers.jsonl",
    )

    cameras: tuple[str, ...] = Field((), description="further cameras of the same session, as --camera repeated")
    selftest: bool = Field(True, description="short self-test at the start of a session; its result in session.json")
    latency_budget_ms: float | None = Field(
        100.0, gt=0, description="live: alarm when results come later than this (p95 of 10 s); null = none"
    )
    memory_limit_mb: float | None = Field(
        None, gt=0, description="a process that holds more is ended, and started again where it can be; null = none"
    )
    cpus_capture: tuple[int, ...] = Field((), description="processors of the capture process; [] = any")
    cpus_analysis: tuple[int, ...] = Field(
        (), description="processors of the analysis process and its face detector; [] = any"
    )
    cpus_sinks: tuple[int, ...] = Field((), description="processors of recorder, overlay and metrics; [] = any")

    @field_validator("policy")
    @classmethod
    def _known_policy(cls, value: str) -> str:
        name, _, every = value.partition(":")
        if value in ("auto", "latest", "lossless") or (name == "decimate" and every.isdigit() and int(every) >= 1):
            return value
        raise ValueError(f"unknown policy {value!r}; choose auto, latest, lossless or decimate:N with N >= 1")

    @field_validator("speed")
    @classmethod
    def _positive_speed(cls, value: float | Literal["max"]) -> float | Literal["max"]:
        if value == "max" or value > 0:
            return value
        raise ValueError(f"speed must be above 0 or max, got {value}")


class Config(BaseModel):
    """Every setting of a session."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    capture: CaptureConfig = Field(default_factory=CaptureConfig)
    stream: StreamConfig = Field(default_factory=StreamConfig)
    engine: EngineConfig = Field(default_factory=EngineConfig)
    sinks: SinksConfig = Field(default_factory=SinksConfig)
    app: AppConfig = Field(default_factory=AppConfig)

    def sha256(self) -> str:
        """Hash of the effective settings, for session.json and the bus."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def load_config(
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    assignments: Iterable[str] = (),
    flags: Mapping[str, object] | None = None,
) -> Config:
    """Compose the settings: defaults < file < `SFAM_SECTION_KEY` environment < `--set` < flags.

    Args:
        file: YAML file with any part of the keys of config.yaml.
        environment: variables to look for overrides in.
        assignments: `section.key=value` texts; values are YAML.
        flags: `section.key` to value; None values are left out.

    Raises:
        ConfigError: unknown key (with the nearest valid name), wrong value, unreadable file.
    """
    settings: dict[str, dict[str, Any]] = {section: {} for section in Config.model_fields}
    for section, values in _read_file(file).items():
        _known(section, settings, "section")
        if not isinstance(values, Mapping):
            raise ConfigError(f"config file {file}: section {section!r} must hold keys and values, got {values!r}")
        settings[section] |= values
    for key, value in (environment or {}).items():
        section, _, name = key.removeprefix(ENVIRONMENT_PREFIX).lower().partition("_")
        if key.startswith(ENVIRONMENT_PREFIX) and section in settings and name:
            settings[section][name] = _parse(value, key)
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set {text!r}: write section.key=value, for example engine.threshold=0.5")
        _assign(settings, key.strip(), _parse(value, f"--set {key}"))
    for key, flag in (flags or {}).items():
        if flag is not None:
            _assign(settings, key, flag)
    return _validated(settings)


def render_yaml(config: Config) -> str:
    """The settings as YAML, every key with its one-line description; the form of config.yaml."""
    lines = [
        "# Every setting of sfam-live with its default. Order: this < your file < SFAM_SECTION_KEY < --set < flags."
    ]
    for section, model in config:
        lines += ["", f"{section}:"]
        for key, field in type(model).model_fields.items():
            value = getattr(model, key)
            plain = list(value) if isinstance(value, tuple) else value
            dumped = yaml.safe_dump(plain, default_flow_style=True, width=10_000).removesuffix("\n...\n").strip()
            lines.append(f"  {key}: {dumped}  # {field.description}")
    return "\n".join(lines) + "\n"


def _read_file(file: Path | None) -> Mapping[str, Any]:
    if file is None:
        return {}
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"config file {file}: cannot be read as YAML: {error}") from error
    if not isinstance(content, Mapping):
        if content is None:
            return {}
        raise ConfigError(f"config file {file}: expected sections {list(Config.model_fields)}, got {content!r}")
    return content


def _parse(text: str, where: str) -> object:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: {text!r} is not a YAML value") from error


def _assign(settings: dict[str, dict[str, Any]], key: str, value: object) -> None:
    section, dot, name = key.partition(".")
    if not dot:
        raise ConfigError(f"{key!r} names no section; write one of {', '.join(f'{s}.KEY' for s in settings)}")
    _known(section, settings, "section")
    settings[section][name] = value


def _known(name: object, valid: Iterable[str], what: str) -> None:
    names = list(valid)
    if name not in names:
        near = difflib.get_close_matches(str(name), names, 1, 0.0)
        raise ConfigError(f"unknown {what} {name!r}; did you mean {near[0]!r}? Valid: {', '.join(names)}")


def _validated(settings: dict[str, dict[str, Any]]) -> Config:
    for section, values in settings.items():
        model = Config.model_fields[section].annotation
        assert model is not None
        for key in values:
            _known(key, model.model_fields, f"key in section {section!r}")
    try:
        return Config.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][:2])
        raise ConfigError(f"{where}: {first['msg']}, got {first['input']!r}") from error
