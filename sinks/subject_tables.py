"""Tables that name participants, in whatever form a spreadsheet left them: one's rows are counted, and taken out."""

from __future__ import annotations

import codecs
import csv
import io
import os
from dataclasses import dataclass
from pathlib import Path

from .sink_error import SinkError

SUFFIXES = {".csv": ",", ".tsv": "\t"}
SUBJECT = "subject"
LARGEST_FIELD = 2**27
_MARKED = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


@dataclass(frozen=True, slots=True)
class SubjectTable:
    """A table with a column `subject`, and the form it has to keep."""

    encoding: str
    delimiter: str
    rows: list[list[str]]
    """The header first."""

    def of(self, subject: str) -> list[list[str]]:
        """The rows of one participant."""
        column = self.rows[0].index(SUBJECT)
        return [row for row in self.rows[1:] if len(row) > column and row[column] == subject]


def read_table(path: Path) -> SubjectTable | None:
    """A table that names participants; None of another.

    Raises:
        SinkError: it cannot be read.
        csv.Error: it is no table, though its name says so.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SinkError(f"cannot read {path}: {error.strerror or error}") from error
    text, encoding = _decoded(content)
    csv.field_size_limit(LARGEST_FIELD)
    head = text.partition("\n")[0]
    for delimiter in dict.fromkeys((SUFFIXES[path.suffix], ";", ",", "\t")):
        if SUBJECT in next(csv.reader([head.rstrip("\r")], delimiter=delimiter), ()):
            rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
            return SubjectTable(encoding, delimiter, rows)
    return None


def take_out(path: Path, subject: str) -> None:
    """Write the table anew without one participant's rows.

    Raises:
        SinkError: it cannot be read.
        OSError: it cannot be written.
    """
    table = read_table(path)
    if table is None:
        return
    theirs = table.of(subject)
    text = io.StringIO()
    writer = csv.writer(text, delimiter=table.delimiter, lineterminator="\n")
    writer.writerows(row for row in table.rows if row not in theirs)
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text.getvalue(), encoding=table.encoding, newline="")
    os.replace(beside, path)


def _decoded(content: bytes) -> tuple[str, str]:
    """Text and encoding: as marked, else UTF-8, else one byte a letter, which writes back the same bytes."""
    marked = next((name for mark, name in _MARKED.items() if content.startswith(mark)), "utf-8")
    try:
        return content.decode(marked), marked
    except UnicodeDecodeError:
        return content.decode("latin-1"), "latin-1"
