"""Boils the annotated micro-expressions of CAS(ME)^3 down to a histogram of (rise, total) frames at 30 fps.

Run `python -m benchmarks.durations` from the repository root, with the annotation tables beside it in `../shared`. Only
the counts are stored; the tables stay where they are.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from sfam.training.metrics import annotated_offset

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT.parent / "shared" / "sfamnet" / "annotation" / "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx"
RESULT = ROOT / "training" / "data" / "durations.json"


def read_rows(table: Path) -> list[tuple[int, int, int]]:
    """(onset, apex, offset) of every annotated micro-expression, 1-based frames."""
    import openpyxl

    sheet = openpyxl.load_workbook(table, read_only=True)["label"]
    header, *rows = sheet.iter_rows(values_only=True)
    columns = [list(header).index(name) for name in ("Onset", "Apex", "Offset")]
    return [tuple(int(row[c]) for c in columns) for row in rows if row[columns[0]] is not None]  # type: ignore[misc]


def histogram(rows: Iterable[Sequence[int]]) -> Counter[tuple[int, int]]:
    """Counts of (onset to apex, onset to offset) in frames; rows that do not run forward are left out."""
    counts: Counter[tuple[int, int]] = Counter()
    for onset, apex, offset in rows:
        end = annotated_offset(onset, apex, offset)
        if onset <= apex <= end and end > onset:
            counts[apex - onset, end - onset] += 1
    return counts


def main() -> None:
    """Write the histogram and say what was left out."""
    rows = read_rows(TABLE)
    counts = histogram(rows)
    content = {
        "what": "micro-expressions per (rise, total) in frames at 30 fps, onset to apex and onset to offset",
        "source": "annotation of CAS(ME)^3 part A; an interval longer than 30 frames ends at apex + (apex - onset)",
        "rows": len(rows),
        "left_out": len(rows) - sum(counts.values()),
        "counts": [[rise, total, count] for (rise, total), count in sorted(counts.items())],
    }
    text = json.dumps(content, indent=1)
    RESULT.write_text(text.replace("[\n   ", "[").replace(",\n   ", ", ").replace("\n  ]", "]") + "\n")
    print(f"{RESULT.relative_to(ROOT)}: {len(rows)} rows, {content['left_out']} left out, {len(counts)} bins")


if __name__ == "__main__":
    main()
