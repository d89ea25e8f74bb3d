"""Face presets of RealSense cameras, read from the package's YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import yaml

from .config import CaptureConfig
from .realsense_profiles import Mode, ModePair, Size
from .source import SourceError

OTHER = "other"
Options = Mapping[str, float | str]


@dataclass(frozen=True, slots=True)
class Preset:
    """How to set up one camera model."""

    name: str
    depth_size: Size = (640, 480)
    color_size: Size = (640, 480)
    fps: int = 30
    min_z_m: float | None = None
    """Nearest distance it measures at this resolution; nearer skin has no depth."""
    depth: Options = field(default_factory=dict)
    """SDK options of the depth sensor and their values, in the order to set them."""
    color: Options = field(default_factory=dict)
    """SDK options of the color sensor."""

    def modes(self, config: CaptureConfig) -> ModePair:
        """What to ask for: the configured sizes and rate, else the preset's."""
        fps = config.fps or self.fps
        return ModePair(
            Mode(*(config.color_size or self.color_size), fps), Mode(*(config.depth_size or self.depth_size), fps)
        )


def presets() -> dict[str, Preset]:
    """All presets by model."""
    text = files(__package__).joinpath("data/realsense_presets.yaml").read_text(encoding="utf-8")
    return {name: _preset(name, values) for name, values in yaml.safe_load(text).items()}


def choose_preset(wanted: str, model: str) -> Preset:
    """The preset for a camera.

    Args:
        wanted: 'auto' = by model, 'none' = change no option, or a preset's name.
        model: the camera's name as the SDK gives it, such as 'Intel RealSense D435I'.

    Raises:
        SourceError: no preset of that name.
    """
    known = presets()
    if wanted == "none":
        return Preset("none")
    if wanted != "auto":
        if wanted not in known:
            raise SourceError(f"preset {wanted!r} is none of auto, none, {', '.join(known)}")
        return known[wanted]
    return next((preset for name, preset in known.items() if name in model.upper()), known[OTHER])


def _preset(name: str, values: Mapping[str, Any]) -> Preset:
    width_height = {key: (int(values[key][0]), int(values[key][1])) for key in ("depth_size", "color_size")}
    return Preset(
        name,
        **width_height,
        fps=values["fps"],
        min_z_m=values["min_z_m"],
        depth=values["depth"],
        color=values["color"],
    )
