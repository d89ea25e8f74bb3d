"""What a leave-one-subject-out run says, as Markdown and as one self-contained HTML page."""

from __future__ import annotations

import html
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .dataset import subject_order
from .evaluation import AP, KINDS, Estimate, Evaluation, class_names, confusion, strict_scores
from .loso import FoldResult
from .report_figures import reliability_curve, score_trace

NOT_MEASURED = "not measured"
PUBLISHED: dict[int, dict[str, str]] = {
    4: {
        "spotting F1 micro": "0.0716", "recognition UF1": "0.4462", "recognition UAR": "0.4797",
        "analysis F1": "0.4619", "STRS": "0.0331",
    },
    7: {
        "spotting F1 micro": "0.0716", "recognition UF1": "0.2365", "recognition UAR": "0.2373",
        "analysis F1": "0.2341", "STRS": "0.0168",
    },
}  # fmt: skip
"""Liong et al., Neurocomputing 566 (2024), on CAS(ME)^3 part A."""
LATER_BEST_STRS = "0.0562"
TRACES = 6
DIFFERENCES = (
    "Strict: one prediction matches one event and one event one prediction; every video counts, also those with "
    "predictions only or truth only; UAR is the mean recall over the classes that occur; folds without usable weights "
    "are named and in no figure.",
    "As the published program prints: a prediction that overlaps several events counts once for each, an event may be "
    "found several times, AP ranks predictions in the order they were made and counts one event for a video without "
    "any, classes that neither side names are left out, and its overall figures are dominated by macro-expressions.",
    "The published spotting F1 is the one of micro-expressions: published STRS over analysis F1 gives it. A row is "
    "comparable only on the same videos, flow and folds; the published flow, its scale included, is not known.",
)


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the report."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    shaded: bool = False
    """Numbers after the first column are counts to be shaded by their share of the row."""


@dataclass(frozen=True, slots=True)
class Report:
    """All parts in order."""

    title: str
    paragraphs: tuple[str, ...]
    tables: tuple[Table, ...]
    figures: tuple[tuple[str, str], ...]
    """Caption and SVG."""
    notes: tuple[str, ...]


def make_report(
    evaluation: Evaluation, folds: Sequence[FoldResult], data_name: str, how: str, *, real: bool, left_out: str = ""
) -> Report:
    """Tables and figures of a run.

    Args:
        evaluation: its scores.
        folds: its folds, for the score traces.
        data_name: what was evaluated.
        how: training and weights, in words.
        real: the data are CAS(ME)^3 itself; otherwise our figures do not stand beside the published ones.
        left_out: what of the data is in no figure, in words.
    """
    mark = synthetic_mark(data_name, real)
    tables = (
        _beside_published(evaluation, real),
        _scores(evaluation),
        _spotting(evaluation),
        _confusion("Recognition of annotated micro-expressions (rows: truth)", evaluation, matched=False),
        _confusion("Analysis: recognition of matched micro-expressions (rows: truth)", evaluation, matched=True),
        _subjects(evaluation),
    )
    failed = [f"Fold {subject} stopped: {reason}" for subject, reason in evaluation.failed.items()]
    hours = sum(one.hours for one in evaluation.tallies)
    return Report(
        title=f"{mark}leave one subject out, {evaluation.classes} emotions",
        paragraphs=(
            f"Data: {data_name}; {len(evaluation.tallies)} of {len(evaluation.tallies) + len(failed)} measured "
            f"subjects scored, {len(evaluation.verdicts)} videos, {hours:.2f} h. {how}",
            *([left_out] if left_out else []),
            "Base rates are tiny: most detections of any such system on long recordings are false alarms.",
            *failed,
        ),
        tables=tuple(replace(table, title=mark + table.title) for table in tables),
        figures=(("How often a window moves, by its score", reliability_curve(evaluation.reliability)), *_traces(
            evaluation, folds)),
        notes=DIFFERENCES,
    )  # fmt: skip


def synthetic_mark(data_name: str, real: bool) -> str:
    """What stands before every title of data that are not CAS(ME)^3 itself."""
    return "" if real else "SYNTHETIC: " if data_name.startswith("SYNTHETIC") else "Not CAS(ME)^3: "


def write_report(report: Report, out: Path) -> list[Path]:
    """Write report.md and report.html into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    written = [out / "report.md", out / "report.html"]
    for path, text in zip(written, (to_markdown(report), to_html(report)), strict=True):
        beside = path.with_name(f".{path.name}.new")
        beside.write_text(text, encoding="utf-8", newline="\n")
        os.replace(beside, path)
    return written


def to_markdown(report: Report) -> str:
    """Text and tables; figures are in the HTML only."""
    lines = [f"# {report.title}", ""]
    for paragraph in report.paragraphs:
        lines += [paragraph, ""]
    for table in report.tables:
        lines += [f"## {table.title}", "", _row(table.header), _row(["---"] * len(table.header))]
        lines += [_row(row) for row in table.rows]
        lines.append("")
    lines += ["## How the two ways of scoring differ", "", *(f"- {note}" for note in report.notes), ""]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;margin:1em 0}td,th{border:1px solid #ccc;padding:.2em .6em;text-align:right}"
    "td:first-child,th:first-child{text-align:left}svg{max-width:100%}"
)


def to_html(report: Report) -> str:
    """One page without any outside resource."""
    parts = [
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{html.escape(report.title)}</title>",
        f"<style>{STYLE}</style><h1>{html.escape(report.title)}</h1>",
        *(f"<p>{html.escape(text)}</p>" for text in report.paragraphs),
        *(_html_table(table) for table in report.tables),
        *(f"<h2>{html.escape(caption)}</h2>{svg}" for caption, svg in report.figures),
        "<h2>How the two ways of scoring differ</h2>",
        *(f"<p>{html.escape(note)}</p>" for note in report.notes),
        "</html>\n",
    ]
    return "\n".join(parts)


def _html_table(table: Table) -> str:
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in table.header)
    rows = []
    for row in table.rows:
        total = sum(int(cell) for cell in row[1:]) if table.shaded else 0
        cells = [f"<td>{html.escape(row[0])}</td>"]
        for cell in row[1:]:
            shade = f" style='background:rgba(40,90,200,{0.7 * int(cell) / total:.2f})'" if total else ""
            cells.append(f"<td{shade}>{html.escape(cell)}</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f"<h2>{html.escape(table.title)}</h2><table><tr>{head}</tr>{''.join(rows)}</table>"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


def _with_interval(estimate: Estimate) -> str:
    return f"{_number(estimate.value)} [{_number(estimate.low)}, {_number(estimate.high)}]"


def _as_printed(evaluation: Evaluation) -> dict[str, float]:
    """Our figures by the published program's counting."""
    published = evaluation.published
    return {
        "spotting F1 micro": published.counts["micro"].f1,
        "spotting F1 macro": published.counts["macro"].f1,
        "spotting F1 overall": published.counts["overall"].f1,
        **{f"{AP} {kind}": published.average_precision[kind] for kind in KINDS},
        "recognition UF1": published.recognition[0],
        "recognition UAR": published.recognition[1],
        "analysis F1": published.analysis[2],
        "STRS": published.strs,
    }


def _beside_published(evaluation: Evaluation, real: bool) -> Table:
    printed = _as_printed(evaluation)
    rows = []
    for name, value in PUBLISHED[evaluation.classes].items():
        ours = (_number(printed[name]), _with_interval(evaluation.strict[name])) if real else (NOT_MEASURED,) * 2
        rows.append((name, value, *ours, "same counting, own flow: read with care" if real else "needs the real data"))
    rows.append(("STRS, best known later", LATER_BEST_STRS, "", "", "another method, another year's test rules"))
    header = ("on CAS(ME)^3", "published", "ours, their counting", "ours, strict [95 %]", "comparable?")
    return Table("Beside the published table", header, tuple(rows))


def _scores(evaluation: Evaluation) -> Table:
    printed = _as_printed(evaluation)
    rows = tuple(
        (name, _with_interval(estimate), _number(printed[name]) if name in printed else "not printed")
        for name, estimate in evaluation.strict.items()
    )
    return Table(
        "Scores of this run", ("score", "strict [95 % over subjects]", "as the published program prints"), rows
    )


def _spotting(evaluation: Evaluation) -> Table:
    rows = []
    for kind in ("micro", "macro", "overall"):
        kinds = ("micro", "macro") if kind == "overall" else (kind,)
        strict = [sum(getattr(getattr(one, k), side) for one in evaluation.tallies for k in kinds)
                  for side in ("tp", "fp", "fn")]  # fmt: skip
        theirs = evaluation.published.counts[kind]
        rows.append((kind, *map(str, strict), *map(str, (theirs.tp, theirs.fp, theirs.fn))))
    header = ("spotting", "TP", "FP", "FN", "TP printed", "FP printed", "FN printed")
    return Table("Spotting counts, strict and as printed", header, tuple(rows))


def _confusion(title: str, evaluation: Evaluation, *, matched: bool) -> Table:
    names = class_names(evaluation.classes)
    pairs = [pair for one in evaluation.tallies for pair in (one.pairs if matched else one.recognition)]
    counts = confusion(pairs, evaluation.classes)
    rows = tuple((names[i], *(str(int(count)) for count in counts[i])) for i in range(evaluation.classes))
    return Table(title, ("", *names), rows, shaded=True)


def _subjects(evaluation: Evaluation) -> Table:
    rows = []
    for one in sorted(evaluation.tallies, key=lambda tally: subject_order(tally.subject)):
        own = strict_scores([one], evaluation.classes)
        rows.append(
            (one.subject, str(one.micro.tp), str(one.micro.fp), str(one.micro.fn), _number(one.micro.f1),
             _number(own["false micro per hour"]), _number(own["recognition UF1"]), _number(own["STRS"]))
        )  # fmt: skip
    header = ("subject", "micro TP", "FP", "FN", "F1", "false per hour", "recognition UF1", "STRS")
    return Table("Per subject, strict", header, tuple(rows))


def _traces(evaluation: Evaluation, folds: Sequence[FoldResult]) -> tuple[tuple[str, str], ...]:
    """Traces of the first videos with a true micro-expression."""
    traces = {(fold.subject, trace.video): trace for fold in folds for trace in fold.traces}
    shown = [verdict for verdict in evaluation.verdicts if verdict.truth["micro"]][:TRACES]
    return tuple(
        (
            f"{verdict.subject} {verdict.video}: score, true (below) and spotted (above) micro-expressions",
            score_trace(
                np.array(traces[verdict.subject, verdict.video].spot), verdict.truth["micro"], verdict.spans("micro")
            ),
        )
        for verdict in shown
    )
