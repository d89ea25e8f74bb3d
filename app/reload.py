"""Which settings a running session takes over on SIGHUP, and what is said of the others."""

from __future__ import annotations

import time

from .config import Config
from .session_plan import Reload

LIVE_KEYS = ("engine.threshold", "app.latency_budget_ms", "app.memory_limit_mb")
"""What may change while a session runs: limits and thresholds, nothing that frames were already measured with."""


def reloaded(before: Config, fresh: Config) -> tuple[Config, Reload]:
    """The settings from now on, and what to tell everybody.

    Args:
        before: in force until now.
        fresh: as read again from file, environment and command line.
    """
    changed = [
        f"{section}.{key}"
        for section, model in before
        for key in type(model).model_fields
        if getattr(model, key) != getattr(getattr(fresh, section), key)
    ]
    taken = [key for key in changed if key in LIVE_KEYS]
    now = before
    for key in taken:
        section, name = key.split(".")
        part = getattr(now, section).model_copy(update={name: _value(fresh, key)})
        now = now.model_copy(update={section: part})
    said = [f"{key} from {_shown(before, key)} to {_shown(fresh, key)}" for key in taken]
    text = f"settings reloaded: {', '.join(said) or 'nothing changed'}"
    if refused := [key for key in changed if key not in LIVE_KEYS]:
        text += f"; {', '.join(refused)} can only change with a new session"
    is_new = "engine.threshold" in taken
    return now, Reload(text, is_new, now.engine.threshold, now.app.latency_budget_ms, time.monotonic_ns())


def _value(config: Config, key: str) -> object:
    section, name = key.split(".")
    return getattr(getattr(config, section), name)


def _shown(config: Config, key: str) -> str:
    value = _value(config, key)
    return "the model's own" if key == "engine.threshold" and value is None else f"{value}"
