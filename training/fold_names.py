"""How the files of a fold are called: each subject has its own, and the published ones keep their names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from .dataset import DataSetError

NUMBERED = re.compile(r"(?:sp(?:no)?|sub(?:ject)?)?[ ._-]*(\d+)", re.IGNORECASE)
"""Spellings of CAS(ME)^3 and plain numbers: their files bear the number alone. P01 and C01 are two people."""


def file_stem(subject: str) -> str:
    """'7' for spNO.7, 'p07' for P07; lower case, as some file systems do not tell the cases apart."""
    numbered = NUMBERED.fullmatch(subject.strip())
    name = str(int(numbered.group(1))) if numbered else subject.strip().lower()
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def weights_file(subject: str) -> str:
    """Name of the checkpoint that never saw a subject, as the published ones are named."""
    return f"subject_{file_stem(subject)}.pkl"


def refuse_shared_files(subjects: Sequence[str], data: Path) -> None:
    """Two folds in one file would each be scored with a network that has seen its subject.

    Raises:
        DataSetError: two subjects' files would have one name.
    """
    first: dict[str, str] = {}
    for subject in subjects:
        other = first.setdefault(file_stem(subject), subject)
        if other != subject:
            raise DataSetError(
                f"{data}: subjects {other!r} and {subject!r} would both be kept in {weights_file(subject)}; give one "
                "person one name, and two people names that differ in letters or digits"
            )
