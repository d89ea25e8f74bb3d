"""Compiled engines on disk: found again, rebuilt when they no longer fit, never half written.

A plan depends on the model, the GPU, the TensorRT that built it and the precision. One file pair per model, GPU and
precision; what else must agree stands beside it and is compared.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from sfam.capture.user_folders import cache_folder

LOG = logging.getLogger(__name__)
Action = Literal["built", "cached", "rebuilt"]


@dataclass(frozen=True, slots=True)
class PlanKey:
    """What a compiled engine was made for."""

    model: str
    model_sha256: str
    gpu: str
    """Its name, or what is built for when there is none."""
    capability: str
    """Compute capability, for instance 8.9."""
    library: str
    """Module and version, for instance tensorrt_rtx 1.7.1.116."""
    precision: str

    @property
    def stem(self) -> str:
        """File name without its ending."""
        return re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{self.model}-{self.gpu}-sm{self.capability}-{self.precision}")


@dataclass(frozen=True, slots=True)
class Plan:
    """A compiled engine and how it was come by."""

    data: bytes
    action: Action
    reason: str = ""
    """Why it was rebuilt."""


def cached_plan(key: PlanKey, build: Callable[[], bytes], folder: Path | None = None) -> Plan:
    """The compiled engine for `key`, built only where the stored one is missing, stale or damaged.

    Args:
        key: what it must be made for.
        build: compiles it; its errors pass through and leave the cache as it was.
        folder: default the user's cache folder.
    """
    folder = folder or cache_folder() / "plans"
    stored, reason = _read(key, folder)
    if stored is not None:
        return Plan(stored, "cached")
    if reason:
        LOG.warning("compiled engine of model %s: %s; building it again", key.model, reason)
    data = build()
    folder.mkdir(parents=True, exist_ok=True)
    # The description goes last: a plan without it counts as missing.
    _replace(folder / f"{key.stem}.plan", data)
    about = {**asdict(key), "sha256": hashlib.sha256(data).hexdigest()}
    _replace(folder / f"{key.stem}.json", json.dumps(about, indent=1).encode())
    return Plan(data, "rebuilt" if reason else "built", reason)


def _read(key: PlanKey, folder: Path) -> tuple[bytes | None, str]:
    """The stored plan, or why there is none that fits ('' = there is nothing)."""
    description, plan = folder / f"{key.stem}.json", folder / f"{key.stem}.plan"
    if not description.is_file():
        return None, ""
    try:
        about = json.loads(description.read_text())
        data = plan.read_bytes()
        digest = about.pop("sha256")
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        return None, f"the stored one cannot be read ({error})"
    if digest != hashlib.sha256(data).hexdigest():
        return None, "the stored one is damaged"
    pairs = [(name, about.get(name), value) for name, value in asdict(key).items()]
    changed = [f"{name} was {before!r}, is {value!r}" for name, before, value in pairs if before != value]
    return (None, f"the stored one is stale: {'; '.join(changed)}") if changed else (data, "")


def _replace(path: Path, data: bytes) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(data)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
