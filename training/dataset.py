"""The contract of annotated data: subjects, clips, intervals, and what was odd about them.

Every reader gives the same `DataSet`, so features, training and evaluation never ask where it came from.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from sfam.capture.source import SourceError

from .metrics import LONGEST_MICRO_FRAMES, annotated_offset

Kind = Literal["micro", "macro"]
EMOTIONS: dict[int, tuple[str, ...]] = {
    4: ("negative", "positive", "surprise", "others"),
    7: ("disgust", "surprise", "others", "fear", "anger", "sad", "happy"),
}
"""The published class orders; neutral follows as the last class."""
FOUR_OF = {
    "happy": "positive",
    "disgust": "negative",
    "fear": "negative",
    "anger": "negative",
    "sad": "negative",
    "surprise": "surprise",
    "others": "others",
}
"""How the published set of four is made from the seven annotated emotions."""


class DataSetError(SourceError):
    """A data set, or its annotation, cannot be used; the text says what to do."""


@dataclass(frozen=True, slots=True)
class AnnotatedInterval:
    """One annotated expression; frames count from 0, both ends inclusive."""

    kind: Kind
    onset: int
    apex: int
    offset: int
    emotion: str = ""
    """Lower case, '' where nobody annotated one."""

    @property
    def has_extent(self) -> bool:
        """False for a row whose onset, apex and offset are one frame, which the published scores leave out."""
        return self.offset > self.onset


@dataclass(frozen=True, slots=True)
class Clip:
    """One video of one subject."""

    subject: str
    video: str
    recording: Path
    """A file or folder that capture can open."""
    intervals: tuple[AnnotatedInterval, ...] = ()
    depth_unit_m: float | None = None
    """Metres per depth unit, where the recording does not say."""
    first_number: int | None = None
    """Number of the image that the annotation calls frame 0; None = frames are counted as they are read."""
    unreadable: frozenset[int] = frozenset()
    """Frames known to be unreadable, from 0."""

    @property
    def name(self) -> str:
        """Subject and video, as a file name; where characters had to give way, a hash keeps it apart from others."""
        said = f"{self.subject}__{self.video}"
        safe = re.sub(r"[^A-Za-z0-9._-]+", "_", said)
        return safe if safe == said else f"{safe}-{hashlib.sha256(said.encode()).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True)
class Subject:
    """One person and the clips that show them."""

    name: str
    clips: tuple[Clip, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something odd in the data: never passed over in silence."""

    where: str
    what: str
    kept: bool
    """Whether the row or clip is used all the same."""


@dataclass(frozen=True, slots=True)
class DataSet:
    """Everything a reader found."""

    name: str
    subjects: tuple[Subject, ...]
    findings: tuple[Finding, ...] = ()

    @property
    def clips(self) -> tuple[Clip, ...]:
        """All clips, subject by subject."""
        return tuple(clip for subject in self.subjects for clip in subject.clips)


def group_by_subject(clips: list[Clip]) -> tuple[Subject, ...]:
    """Clips by subject, in natural order of names.

    Raises:
        DataSetError: two clips have one name, in upper or lower case; the windows of one would replace the other's.
    """
    names: dict[str, Clip] = {}
    for clip in clips:
        other = names.setdefault(clip.name.lower(), clip)
        if other is not clip:
            raise DataSetError(
                f"{other.recording} and {clip.recording} would share the folder {clip.name}; give their subjects or "
                "videos names that differ"
            )
    found: dict[str, list[Clip]] = {}
    for clip in sorted(clips, key=lambda clip: (subject_order(clip.subject), clip.video)):
        found.setdefault(clip.subject, []).append(clip)
    return tuple(Subject(name, tuple(own)) for name, own in found.items())


def subject_key(name: str) -> str:
    """What all spellings of a subject share: 'spNO.7', 'spNO7' and 'sub007' are '7'; a name without number itself."""
    digits = re.search(r"(\d+)\s*$", str(name))
    return str(int(digits.group(1))) if digits else str(name).strip().lower()


def subject_order(name: str) -> tuple[int, str]:
    """Sort key: by number, then name."""
    key = subject_key(name)
    return (int(key) if key.isdigit() else -1, name)


def emotion_class(emotion: str, count: int) -> int | None:
    """Index of an annotated emotion among the published 4 or 7 classes; None where it is none of them."""
    wanted = emotion if count == 7 or emotion in EMOTIONS[4] else FOUR_OF.get(emotion, "")
    return EMOTIONS[count].index(wanted) if wanted in EMOTIONS[count] else None


def within(
    intervals: Sequence[AnnotatedInterval], last: int, where: str, findings: list[Finding]
) -> tuple[AnnotatedInterval, ...]:
    """Intervals as far as a clip goes, whose last frame is `last`; what lay beyond it becomes a finding."""
    kept = []
    for one in intervals:
        place = f"{where} frames {one.onset}-{one.offset}"
        if one.apex > last:
            findings.append(Finding(place, f"apex {one.apex} lies beyond the clip's last frame {last}", False))
        elif one.offset > last:
            findings.append(Finding(place, f"offset lies beyond the clip's last frame {last}; cut there", True))
            kept.append(replace(one, offset=last))
        else:
            kept.append(one)
    return tuple(kept)


def published_offset(kind: Kind, onset: int, apex: int, offset: int) -> tuple[int, str]:
    """The offset that the published rule uses, and why it differs ('' = it does not)."""
    if kind == "macro" or offset - onset <= LONGEST_MICRO_FRAMES:
        return offset, ""
    changed = annotated_offset(onset, apex, offset)
    return changed, f"micro of {offset - onset} frames: offset {offset} -> {changed} = apex + (apex - onset)"
