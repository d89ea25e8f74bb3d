"""Export for the micro-expression grand challenge: the five columns that its spot-then-recognise scripts read."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path

from sfam.engine.events import EventKind

from .session_reader import SessionRecord
from .sink_error import SinkError

COLUMNS = ("subject", "video", "onset", "offset", "emotion")
MICRO: tuple[EventKind, ...] = ("micro",)


def export_megc(
    record: SessionRecord, out: Path, *, index_base: int = 0, kinds: Iterable[EventKind] = MICRO
) -> list[Path]:
    """Write megc.csv and, since the five columns cannot say it, megc.json with index base and frame rate.

    Frames are those of the source at its own rate; both ends are inclusive. Only confirmed events are written.

    Args:
        record: the session.
        out: folder to write to; made when missing.
        index_base: number of the first frame: 0 as in our tables, 1 as in the CAS(ME)^3 annotation.
        kinds: micro by default, for the table has no column to tell macro from micro.

    Raises:
        SinkError: for any other index base.
    """
    if index_base not in (0, 1):
        raise SinkError(f"index base must be 0 or 1, got {index_base}")
    wanted = frozenset(kinds)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for event in record.events:
        if event.kind in wanted and event.state == "confirmed":
            onset, offset = event.onset.frame + index_base, event.offset.frame + index_base
            table.writerow((record.subject, record.video, onset, offset, event.emotion))
    step_s = record.frame_s()
    note = {
        "index_base": index_base,
        "both_ends_inclusive": True,
        "frames_per_second": round(1 / step_s, 3) if step_s else None,
        "kinds": sorted(wanted),
        "classes": list(record.classes),
    }
    out.mkdir(parents=True, exist_ok=True)
    written = [out / "megc.csv", out / "megc.json"]
    written[0].write_text(text.getvalue(), encoding="utf-8", newline="\n")
    written[1].write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8", newline="\n")
    return written
