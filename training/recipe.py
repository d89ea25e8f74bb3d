"""Presets: everything that decides what a default model becomes, in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

# A longer pause finds a few more, but then an event is decided later than half a second after it. A lower `hi` finds
# one micro more in 160 here; in real life, where expressions are rarer, it is what false alarms come from.
DECODING_CHOICES: dict[str, tuple[float, ...]] = {
    "join_s": tuple(frames / 30 for frames in (4, 5, 6)),
    "return_rho": (0.6, 0.8, 1.0),
    "return_px": (0.15, 0.2, 0.25, 0.3),
    "offset_shift_s": tuple(frames / 30 for frames in (3.5, 4.5, 5.5, 6.5)),
    "onset_shift_s": tuple(frames / 30 for frames in (0.5, 1.5, 2.5, 3.5)),
    "hi": (0.3, 0.4, 0.5, 0.6, 0.7),
    "lo": (0.1, 0.15, 0.2, 0.25, 0.3),
    "box_s": (0.1, 5 / 30),
}


@dataclass(frozen=True, slots=True)
class Preset:
    """One model's recipe. Sequences are numbered from `seed`; tuning and tests use other numbers than training."""

    name: str
    seed: int = 20_000
    train_sequences: int = 36
    """Sequences without expressions at natural head motion."""
    restless_sequences: int = 12
    """The same with 1.5 to 3 times the head motion."""
    seconds: float = 20.0
    overlays_each: int = 4
    tune_sequences: int = 32
    tune_seconds: float = 30.0
    micros: float = 5.0
    """Micro-expressions per 20 s."""
    macros: float = 1.0
    """Macro-expressions per 20 s, one more in every second overlay."""
    steps: int = 800
    scales: tuple[float, float] = (0.1, 0.3)
    """Compression sign(x) log(1 + |x| / s): s of u and v in px, of w in mm."""
    window_ms: float = 200.0
    choices: Mapping[str, Sequence[float]] = field(default_factory=lambda: dict(DECODING_CHOICES))
    """Decoding settings that tuning may try."""
    head_motion: bool = True
    """Whether the head's motion is removed from the maps; False for comparison only."""
    silent: tuple[int, ...] = ()
    """Channels (0 u, 1 v, 2 w) that the network never sees; for comparison only."""
    held_out_every: int = 8
    """One background in so many is not learnt from, to see when to stop; 0 = none."""


PRESETS = MappingProxyType({"synthetic-4": Preset("synthetic-4")})
REFUSED = MappingProxyType(
    {
        "synthetic-7": (
            "the seven classes are feelings (disgust, surprise, others, fear, anger, sad, happy), and no synthetic "
            "movement tells disgust from anger or fear from sadness: the generator would have to invent the answer. "
            "synthetic-4 names four families of movement; for seven classes import published weights "
            "(`sfam model import`) or train on CAS(ME)^3 (`sfam evaluate --train true --emotion 7`)"
        )
    }
)
"""Presets that one might look for, and why there is none."""
