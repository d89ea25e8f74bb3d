"""What happens to the maps before the first convolution; nodes of the exported graph and words of the model card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Triple = tuple[float, float, float]
"""One number each for u, v, w."""

NO_GAIN: Triple = (1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Normalisation:
    """Per channel: x * gain, then sign(x) log(1 + |x| / scale) where a scale is given."""

    gain: Triple = NO_GAIN
    scale: Triple | None = None
    """px, px, mm (after the gain); None: no compression."""

    def __post_init__(self) -> None:
        for name, values in (("gain", self.gain), ("scale", self.scale or NO_GAIN)):
            if len(values) != 3 or not all(np.isfinite(value) and value > 0 for value in values):
                raise ValueError(f"normalisation: {name} must be three positive numbers for u, v, w, not {values}")

    def __call__(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """Maps (N, 3, H, W) -> normalised maps of the same shape."""
        x = maps * np.asarray(self.gain, np.float32)[:, None, None]
        if self.scale is not None:
            x = np.sign(x) * np.log(np.float32(1) + np.abs(x) / np.asarray(self.scale, np.float32)[:, None, None])
        return x.astype(np.float32)

    @property
    def text(self) -> str:
        """In words, for the model card."""
        parts = []
        if self.gain != NO_GAIN:
            parts.append("u, v, w times {:g}, {:g}, {:g}".format(*self.gain))
        if self.scale is not None:
            parts.append("sign(x) log(1 + |x| / s), s = {:g} px, {:g} px, {:g} mm for u, v, w".format(*self.scale))
        return "; then ".join(parts) or "none: u, v in px and w in mm as measured"

    def to_json(self) -> dict[str, Any]:
        """The `normalisation` section of model.json."""
        return {"gain": list(self.gain), "scale": None if self.scale is None else list(self.scale), "text": self.text}

    @classmethod
    def from_json(cls, section: Mapping[str, Any]) -> Normalisation:
        """Read the `normalisation` section of model.json; errors: KeyError, TypeError, ValueError."""
        scale = section["scale"]
        return cls(_triple(section["gain"]), None if scale is None else _triple(scale))


def _triple(values: Any) -> Triple:
    u, v, w = (float(value) for value in values)
    return u, v, w
