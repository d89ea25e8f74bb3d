"""How a model's scores become events: the constants of both decodings, in seconds, as a model stores them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class PaperSpec:
    """The published rule (Liong et al. 2024); its constants are frames at 30 fps with every 2nd frame scored."""

    score_rate_hz: float = 15.0
    """Scores per second the rule was made for; live scores at other rates are thinned to it."""
    height: float = 0.576
    """A peak of the smoothed score counts from here; also the level at which an interval begins and ends."""
    video_mean: float = 0.41
    """A video whose smoothed score has at least this mean is dropped as a whole."""
    micro_mean: float = 0.725
    """A micro interval's mean smoothed score stays below this."""
    micro_phase: float = 0.017
    """A micro peak stands out from both its ends by more than this."""
    gap_s: float = 0.5
    """Scores further apart than this are decoded separately."""
    classes: tuple[str, ...] = ()
    """Names of the classes, neutral last; filled from the model."""

    def with_threshold(self, threshold: float) -> PaperSpec:
        """The same rule with another peak height."""
        return replace(self, height=threshold)


@dataclass(frozen=True, slots=True)
class RunsSpec:
    """Hysteresis on the lightly smoothed score, joined until the face is back at rest."""

    hi: float = 0.4
    """A run counts when its smoothed score reaches this."""
    lo: float = 0.2
    """A run begins and ends where the smoothed score crosses this."""
    box_s: float = 0.1
    """Length of the smoothing box."""
    join_s: float = 0.2
    """Runs that are at most this far apart are one run."""
    onset_shift_s: float = 1.5 / 30
    """The onset lies this much before the run's first crossing: a window sees a motion once it has begun."""
    offset_shift_s: float = 6.5 / 30
    """The offset lies this much before the run's last crossing: a window still sees a motion that is over."""
    shortest_s: float = 6.5 / 30
    """What is shorter is no expression (annotated: 7 frames at 30 fps)."""
    micro_longest_s: float = 32.5 / 30
    """What is longer is a macro-expression (annotated: 32 frames at 30 fps)."""
    return_rho: float = 0.8
    """Back at rest: motion left between onset and offset (windows added up), as a share of the strongest window."""
    return_px: float = 0.25
    """Back at rest as well: less than this left along the strongest window, root mean square in crop pixels."""
    piece_gap_s: float = 2.0
    """A face not yet back at rest may take this long until it moves again."""
    pieces: int = 4
    """At most so many runs make one expression."""
    rise_s: float = 8 / 30
    """The emotion is read from so much of a run's beginning."""
    longest_s: float = 8.0
    """Longer than this is cut; bounds memory."""
    gap_s: float = 0.15
    """Scores further apart than this belong to different stretches; nothing is joined across."""
    classes: tuple[str, ...] = ()
    """Names of the classes, neutral last; filled from the model."""

    def with_threshold(self, threshold: float) -> RunsSpec:
        """The same rule with another threshold; the lower level keeps its proportion."""
        return replace(self, hi=threshold, lo=self.lo * threshold / self.hi)


SpottingSpec = PaperSpec | RunsSpec
DECODINGS: dict[str, type[PaperSpec] | type[RunsSpec]] = {"paper": PaperSpec, "runs": RunsSpec}


def decoding_name(spec: SpottingSpec) -> str:
    """The name of a spec's decoding as model.json has it."""
    return "paper" if isinstance(spec, PaperSpec) else "runs"


def spec_to_json(spec: SpottingSpec) -> dict[str, Any]:
    """The `spotting` section of model.json; class names stand elsewhere in that file."""
    section = asdict(spec)
    del section["classes"]
    return section


def spec_from_json(decoding: str, section: Mapping[str, Any], classes: tuple[str, ...] = ()) -> SpottingSpec:
    """Read the `spotting` section of model.json.

    Raises:
        ValueError: an unknown decoding or parameter, or a value that is no positive number.
    """
    if decoding not in DECODINGS:
        raise ValueError(f"unknown decoding {decoding!r}; choose one of {sorted(DECODINGS)}")
    kind = DECODINGS[decoding]
    known = {field.name for field in fields(kind)} - {"classes"}
    unknown = sorted(set(section) - known)
    if unknown:
        raise ValueError(f"decoding {decoding!r} has no parameter {unknown}; it has {sorted(known)}")
    for name, value in section.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
            raise ValueError(f"spotting parameter {name} = {value!r} is no number of at least 0")
    return kind(**section, classes=classes)
