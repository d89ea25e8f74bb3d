"""CAS(ME)^3 as it is handed out: `<subject>/<video>/color/<n>.jpg` with depth, beside the two annotation tables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .casme3_annotation import Annotation, VideoKey, read_annotation
from .dataset import Clip, DataSet, DataSetError, Finding, group_by_subject, subject_key, within

NAME = "CAS(ME)^3 part A"
SYNTHETIC_MARK = "SYNTHETIC.txt"
"""A tree with this file is a stand-in, and everything made of it says so."""
DEPTH_UNIT_M = 0.001
FIRST_IMAGE = 1
"""Annotation and image names count from 1."""
EXCEPTIONS = "unreadable.txt"
_EXCEPTION = re.compile(r"^(\S+)\s+(\S+)\s+(\d+)(?:\s*-\s*(\d+))?$")


@dataclass(frozen=True, slots=True)
class _Images:
    """What a clip folder holds, by name only."""

    folder: Path
    last: int
    """Highest image number."""


def read_casme3(root: Path, annotation: Path | None = None, depth_unit_m: float = DEPTH_UNIT_M) -> DataSet:
    """List the clips of a tree with what the tables say of them; no image is opened.

    Args:
        root: folder of subject folders. Subjects may be spelt `spNO.210`, `spNO210` or `210`, videos in any case.
        annotation: folder of the tables; default `root/annotation`, then `root`.
        depth_unit_m: metres per depth unit; the data set does not say it.

    Raises:
        DataSetError: no clip folder, or the tables cannot be read.
    """
    folders = _clip_folders(root)
    if not folders:
        raise DataSetError(f"{root}: no clip below it; expected <subject>/<video>/color/<n>.jpg as CAS(ME)^3 has them")
    if annotation is None:
        annotation = root / "annotation" if (root / "annotation").is_dir() else root
    tables = read_annotation(annotation)
    unreadable, odd = read_exceptions(root / EXCEPTIONS)
    findings = [*tables.findings, *odd]
    findings += [
        Finding("/".join(tables.names[key]), f"{len(rows)} annotated, but there is no such clip below {root}", False)
        for key, rows in tables.intervals.items()
        if key not in folders
    ]
    clips = [
        Clip(
            subject=_subject_name(key, images, tables),
            video=images.folder.name,
            recording=images.folder,
            intervals=within(
                tables.intervals.get(key, []),
                images.last - FIRST_IMAGE,
                f"{images.folder.parent.name}/{images.folder.name}",
                findings,
            ),
            depth_unit_m=depth_unit_m,
            first_number=FIRST_IMAGE,
            unreadable=unreadable.get(key, frozenset()),
        )
        for key, images in folders.items()
    ]
    name = f"SYNTHETIC stand-in for {NAME}" if (root / SYNTHETIC_MARK).exists() else NAME
    return DataSet(name, group_by_subject(clips), tuple(findings))


def read_exceptions(path: Path) -> tuple[Mapping[VideoKey, frozenset[int]], list[Finding]]:
    """Frames that are known to be unreadable, lines such as `spNO.3 J 498-503` with image numbers.

    Returns:
        Frames from 0 by clip, and a finding for each line that says something else. Nothing where there is no file.
    """
    listed: dict[VideoKey, frozenset[int]] = {}
    odd = []
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    for number, line in enumerate(lines, start=1):
        found = _EXCEPTION.match(line.strip())
        if not found:
            if line.strip() and not line.startswith("#"):
                odd.append(Finding(f"{path.name} line {number}", f"not understood: {line.strip()!r}", False))
            continue
        subject, video, first, last = found.groups()
        key = (subject_key(subject), video.lower())
        frames = range(int(first) - FIRST_IMAGE, int(last or first) - FIRST_IMAGE + 1)
        listed[key] = listed.get(key, frozenset()) | frozenset(frames)
    return listed, odd


def _clip_folders(root: Path) -> dict[VideoKey, _Images]:
    """Folders with a `color` folder two levels down, by subject and video."""
    found: dict[VideoKey, _Images] = {}
    for color in sorted(root.glob("*/*/color")):
        numbers = [int(match.group(1)) for file in color.iterdir() if (match := re.search(r"(\d+)\D*$", file.stem))]
        clip = color.parent
        key = (subject_key(clip.parent.name), clip.name.lower())
        if key in found:
            raise DataSetError(f"{clip} and {found[key].folder} are the same subject and video under two spellings")
        found[key] = _Images(clip, max(numbers, default=0))
    return found


def _subject_name(key: VideoKey, images: _Images, tables: Annotation) -> str:
    """As the tables spell it where they know the subject, else as the folder is called."""
    own = (names[0] for other, names in tables.names.items() if other[0] == key[0])
    return next(own, images.folder.parent.name)
