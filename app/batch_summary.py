"""The summary of a batch: one table for programs, one page for people."""

from __future__ import annotations

import csv
import html
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, fields
from pathlib import Path

from sfam.sinks.session_info import NOT_A_LIE_DETECTOR

from .batch import Row

TABLE, PAGE = "summary.csv", "summary.html"
STYLE = (
    "body{font:15px system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem;color:#222;background:#fff}"
    "table{border-collapse:collapse;width:100%}td,th{padding:.3rem .6rem;border-bottom:1px solid #ddd;text-align:left}"
    "td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}tr.failed{background:#fde8e8}"
    "tr.not_run{color:#777}p.note{color:#555}"
)


def write_summary(rows: Sequence[Row], out: Path) -> None:
    """Write summary.csv and summary.html into `out`; both replace those of an earlier run.

    Raises:
        OSError: the folder cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / TABLE).write_text(table(rows), encoding="utf-8", newline="")
    (out / PAGE).write_text(page(rows), encoding="utf-8", newline="\n")


def table(rows: Sequence[Row]) -> str:
    """One line per recording."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in fields(Row))
    writer.writerows(astuple(row) for row in rows)
    return text.getvalue()


def page(rows: Sequence[Row]) -> str:
    """One page that needs nothing else: totals, the table, failures last."""
    states = Counter(row.status for row in rows)
    counted = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in sorted(states.items()))
    events = f"{sum(row.micro for row in rows)} micro and {sum(row.macro for row in rows)} macro events"
    hours = sum(row.capture_s for row in rows) / 3600
    numbers = {field.name for field in fields(Row) if field.type in ("int", "float")}
    head = "".join(_cell("th", field.name.replace("_", " "), field.name in numbers) for field in fields(Row))
    ordered = sorted(rows, key=lambda row: row.status in ("failed", "not_run"))
    body = "\n".join(_line(row, numbers) for row in ordered)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>sfam batch</title>'
        f"<style>{STYLE}</style></head><body>\n<h1>{len(rows)} recordings</h1>\n"
        f"<p>{counted}; {events} in {hours:.2f} h.</p>\n<p class=note>{NOT_A_LIE_DETECTOR}</p>\n"
        f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></body></html>\n"
    )


def _line(row: Row, numbers: set[str]) -> str:
    cells = "".join(_cell("td", getattr(row, field.name), field.name in numbers) for field in fields(Row))
    return f'<tr class="{row.status}">{cells}</tr>'


def _cell(tag: str, value: object, number: bool) -> str:
    kind = " class=n" if number else ""
    return f"<{tag}{kind}>{html.escape(str(value))}</{tag}>"
