"""report.html: one self-contained page about a session, for the reviewer's eyes and for the file cabinet."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from .report_latency import course_plot, latency_words, stages_plot
from .report_motion import MotionPictures, motion_pictures
from .report_plots import Timeline, causes_plot, noise_plot, score_plot
from .report_review import review_card, review_data
from .report_thumbnails import Thumbnails, thumbnails
from .session_folder import CONFIG
from .session_reader import SessionRecord, read_session
from .sink_error import SinkError

REPORT = "report.html"


def write_report(
    folder: str | Path, out: str | Path | None = None, *, pictures: bool = True, recording: bool = True
) -> Path:
    """Write the report of a session folder; returns where it stands.

    Args:
        folder: the session.
        out: the page; None = `report.html` in the folder.
        pictures: show faces (tier `full` only).
        recording: look for them in the session's recording too, which is read up to the last event; else only in the
            clips of its first events.

    Raises:
        SinkError: it is no session folder, or the page cannot be written.
    """
    record = read_session(folder)
    page = Path(out) if out is not None else record.path / REPORT
    text = render_report(record, thumbnails(record, recording) if pictures else {}, motion_pictures(record))
    try:
        page.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise SinkError(f"cannot write report {page}: {error.strerror or error}; name another with --out") from error
    return page


def render_report(record: SessionRecord, faces: Thumbnails, motion: MotionPictures) -> str:
    """The page as text; `faces` as `thumbnails` gives them, `motion` as `motion_pictures` does."""
    line, summary = Timeline.of(record), record.summary
    threshold = summary["threshold"]
    stages = summary["counters"].get("latency_us", {})
    cards = "".join(
        review_card(record, line, event, faces.get(event.id, {}), motion.get(event.id, {})) for event in record.events
    )
    return Template(_page("report.html")).substitute(
        title=escape(f"Session {summary['session']}"),
        style=_page("report.css"),
        script=_page("report.js"),
        about=escape(_about(record, line)),
        notice=escape(summary["notice"]),
        unsuitable=escape("; ".join(summary["unsuitable_uses"])),
        figures=_figures(record, line),
        score_key=_score_key(threshold),
        score_plot=score_plot(line, record.events, threshold),
        drops=escape(_drops(record, line)),
        causes_plot=causes_plot(line),
        noise=escape(_noise(line)),
        noise_plot=noise_plot(line),
        latency=escape(latency_words(record, line)),
        latency_course=course_plot(record, line),
        latency_stages=stages_plot(stages),
        review=escape(_review(record, faces)),
        cards=cards or "<p class='muted'>No event was confirmed.</p>",
        model=_model(summary["model"], summary["model_sha256"]),
        session=_session(summary),
        settings=escape(_settings(record.path / CONFIG)),
        data=review_data(record, line),
    )


def _page(name: str) -> str:
    return files("sfam.sinks").joinpath("page").joinpath(name).read_text(encoding="utf-8")


def _about(record: SessionRecord, line: Timeline) -> str:
    summary = record.summary
    began = datetime.fromtimestamp(summary["clock"]["anchor_utc_ns"] / 1e9, UTC)
    parts = [
        f"subject {record.subject}",
        f"video {record.video}",
        f"source {summary['source']}",
        began.strftime("%Y-%m-%d %H:%M UTC"),
        f"{line.duration_s:.1f} s",
        f"privacy tier {summary['privacy']}",
        summary["state"],
    ]
    return " · ".join(parts)


def _figures(record: SessionRecord, line: Timeline) -> str:
    counters = record.summary["counters"]
    kinds = Counter(event.kind for event in record.events)
    total = counters.get("latency_us", {}).get("total")
    floor = _median_floor(line)
    figures = (
        ("Micro events", str(kinds["micro"]), ""),
        ("Macro events", str(kinds["macro"]), ""),
        ("Frames analysed", str(counters.get("analysed", "-")), f"of {counters.get('offered', '-')}"),
        ("Frames dropped", str(sum(counters.get("dropped", {}).values())), ""),
        (
            "Latency p99",
            "-" if total is None else f"{total['p99'] / 1e3:.1f}",
            "" if total is None else "ms, last seconds",
        ),
        ("Noise floor", "-" if math.isnan(floor) else f"{floor:.3f}", "px, median"),
    )
    return "".join(
        f"<div><dt>{name}</dt><dd>{escape(value)} <small>{escape(unit)}</small></dd></div>"
        for name, value, unit in figures
    )


def _median_floor(line: Timeline) -> float:
    floor = np.hypot(line.noise_u_px, line.noise_v_px)
    known = floor[np.isfinite(floor)]
    return float(np.median(known)) if known.size else math.nan


def _score_key(threshold: float | None) -> str:
    level = "" if threshold is None else f"dashed: threshold {threshold:.2f}; "
    return (
        f"{level}bands: <span class='dot micro'></span> micro, <span class='dot macro'></span> macro; "
        "a band leads to its review."
    )


def _drops(record: SessionRecord, line: Timeline) -> str:
    counters = record.summary["counters"]
    dropped = {cause: count for cause, count in counters.get("dropped", {}).items() if count}
    lost = ", ".join(f"{count} {cause}" for cause, count in dropped.items()) or "none"
    silent = Counter(cause for cause in line.causes if cause)
    rows = ", ".join(f"{count} {cause}" for cause, count in silent.most_common()) or "none"
    rows_lost = record.summary.get("rows_lost", 0)
    not_stored = f" {rows_lost} rows did not fit into the tables." if rows_lost else ""
    return f"Dropped frames: {lost}. Rows without score: {rows}.{not_stored}"


def _noise(line: Timeline) -> str:
    if math.isnan(_median_floor(line)):
        return "Not measured in this session: no quiet stretch was long enough."
    depth = line.noise_w_mm[np.isfinite(line.noise_w_mm)]
    in_depth = f", and {np.median(depth):.2f} mm in depth" if depth.size else ""
    return (
        f"Motion below {_median_floor(line):.3f} px of the 128 px crop (median{in_depth}) cannot be told from noise. "
        "Events below it carry the flag below_noise."
    )


def _review(record: SessionRecord, faces: Thumbnails) -> str:
    text = (
        "Move through an event, then accept it, reject it, or correct its interval. The CSV is what training reads; "
        "events without verdict are left out of it. Frames count from 0, both ends belong to the event."
    )
    if record.summary["privacy"] != "full":
        return f"{text} Privacy tier {record.summary['privacy']}: no picture of the face was kept."
    return text if faces else f"{text} There is no recording and no clip to show faces from."


def _model(model: Mapping[str, Any], sha256: str) -> str:
    rows = [("Model", f"{model.get('name', 'unknown')} {model.get('version', '')}".strip())]
    rows += [(name, str(model[key])) for name, key in _MODEL_ROWS if key in model]
    rows.append(("SHA-256", sha256))
    limits = "".join(f"<li>{escape(str(limit))}</li>" for limit in model.get("limits", ()))
    return _table(rows) + (f"<h3>Known limits</h3><ul>{limits}</ul>" if limits else "")


_MODEL_ROWS = (
    ("Licence", "licence"),
    ("Trained on", "training_data"),
    ("Decoding", "decoding"),
    ("Window, ms", "window_ms"),
)


def _session(summary: Mapping[str, Any]) -> str:
    devices = ", ".join(f"{name} {value}" for name, value in summary["devices"].items() if value not in ("", [], {}))
    versions = ", ".join(f"{name} {value}" for name, value in summary["versions"].items())
    warnings = "; ".join(summary["counters"].get("warnings", ())) or "none"
    return _table(
        [
            ("Camera", summary["camera"]),
            ("Device", devices),
            ("Versions", versions),
            ("Settings hash", summary["config_hash"]),
            ("Privacy tier", summary["privacy"]),
            ("Keep until", str(summary.get("retain_until") or "no date set")),
            ("Consent", str(summary.get("consent") or "no note")),
            ("Pauses", _pauses(summary["counters"].get("pauses", ()))),
            ("Ended because", str(summary["counters"].get("ended_because", "") or summary["state"])),
            ("Warnings", warnings),
        ]
    )


def _pauses(pauses: Sequence[Mapping[str, Any]]) -> str:
    """Times in which nothing was stored."""
    said = [
        f"after frame {one['after_frame']}, "
        + (f"{(one['ended_utc_ns'] - one['began_utc_ns']) / 1e9:.1f} s" if one["ended_utc_ns"] else "to the end")
        for one in pauses
    ]
    return "; ".join(said) or "none"


def _table(rows: list[tuple[str, str]]) -> str:
    body = "".join(f"<tr><th scope='row'>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
    return f"<table>{body}</table>"


def _settings(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return "not stored"
