"""The review part of a report: one card per event with its score, its faces and a verdict, and the data behind it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from html import escape

import numpy as np

from sfam.engine.events import Event

from .report_plots import Timeline, event_plot
from .session_reader import SessionRecord

AROUND_S = 1.5
"""Shown before and after an event."""


def review_card(
    record: SessionRecord, line: Timeline, event: Event, faces: Mapping[int, str], motion: Mapping[int, str]
) -> str:
    """The card of one event; `faces` and `motion` are data URIs by frame."""
    begin_s, end_s = _window(line, event)
    first, last = _frames_between(line, begin_s, end_s)
    length_ms = (event.offset.t_capture_ns - event.onset.t_capture_ns) / 1e6
    share = ", ".join(
        f"{name} {value:.2f}" for name, value in zip(record.classes, event.probabilities, strict=False) if value >= 0.05
    )
    facts = [f"frames {event.onset.frame} to {event.offset.frame}", f"apex {event.apex.frame}", f"{length_ms:.0f} ms"]
    facts += [f"score {event.score:.2f}", share, *event.flags]
    return (
        f'<article class="card" id="event-{event.id}" data-event="{event.id}"><header>'
        f"<h3>{event.kind} {escape(event.emotion)} <span class='muted'>#{event.id}</span></h3>"
        f"<span>{line.second_of(event.onset.frame):.2f} s</span></header>"
        f"<p class='muted'>{escape(', '.join(fact for fact in facts if fact))}</p>"
        f"<div class='plot'>{event_plot(line, event, record.summary['threshold'], begin_s, end_s)}</div>"
        f"{_film(faces, 'Face')}{_film(motion, 'Motion')}"
        f"{_controls(record, event, first, last)}<p class='printed'></p></article>"
    )


def _film(pictures: Mapping[int, str], what: str) -> str:
    figures = "".join(
        f'<figure data-frame="{frame}"><img src="{pictures[frame]}" alt="{what} in frame {frame}">'
        f"<figcaption>{frame}</figcaption></figure>"
        for frame in sorted(pictures)
    )
    return f"<div class='film {what.lower()}'>{figures}</div>" if figures else ""


def _frames_between(line: Timeline, begin_s: float, end_s: float) -> tuple[int, int]:
    inside = line.frames[(line.seconds >= begin_s) & (line.seconds <= end_s)]
    return (int(inside[0]), int(inside[-1])) if len(inside) else (0, 0)


def _controls(record: SessionRecord, event: Event, first: int, last: int) -> str:
    def options(values: tuple[str, ...], chosen: str) -> str:
        return "".join(f"<option{' selected' if value == chosen else ''}>{escape(value)}</option>" for value in values)

    def frame(name: str, value: int) -> str:
        return f'<input type="number" name="{name}" min="0" max="{last_frame(record)}" value="{value}" required>'

    verdicts = "".join(
        f'<label><input type="radio" name="verdict-{event.id}" value="{value}"> {word}</label>'
        for value, word in (("confirmed", "Accept"), ("rejected", "Reject"), ("corrected", "Corrected"))
    )
    return (
        "<div class='review'>"
        f"<label class='wide'>Scrub: <span class='at'></span><input type='range' name='scrub' min='{first}' "
        f"max='{last}' value='{event.apex.frame}'></label>"
        f"<label>Onset, frame {frame('onset', event.onset.frame)}</label>"
        f"<label>Offset, frame {frame('offset', event.offset.frame)}</label>"
        "<button type='button' data-take='onset'>Set onset here</button>"
        "<button type='button' data-take='offset'>Set offset here</button>"
        f"<label>Emotion <select name='emotion'>{options(emotions(record, event), event.emotion)}</select></label>"
        f"<label>Kind <select name='kind'>{options(('micro', 'macro'), event.kind)}</select></label>"
        "<label class='wide'>Comment <input type='text' name='comment'></label>"
        f"<fieldset><legend class='muted'>Verdict</legend>{verdicts}</fieldset></div>"
    )


def emotions(record: SessionRecord, event: Event | None = None) -> tuple[str, ...]:
    """Classes that an event can have: the model's without neutral, and what it was called."""
    named = record.classes[:-1]
    return named if event is None or event.emotion in named else (*named, event.emotion)


def last_frame(record: SessionRecord) -> int:
    """Number of the last frame in the tables."""
    return int(record.scores[-1]["frame"]) if record.scores else 0


def review_data(record: SessionRecord, line: Timeline) -> str:
    """What the page's script needs, safe inside a script element."""
    windows = {}
    for event in record.events:
        begin_s, end_s = _window(line, event)
        first, last = _frames_between(line, begin_s, end_s)
        inside = slice(*np.searchsorted(line.frames, (first, last + 1)))
        rows = zip(
            line.frames[inside].tolist(), line.face_ids[inside].tolist(), line.spot[inside].tolist(), strict=True
        )
        found = {frame: spot for frame, face, spot in rows if face == event.track_id and math.isfinite(spot)}
        span = range(first, last + 1)
        windows[event.id] = {
            "begin_s": begin_s,
            "end_s": end_s,
            "first": first,
            "seconds": [round(line.second_of(n), 4) for n in span],
            "spot": [round(found[n], 4) if n in found else None for n in span],
        }
    detected = {
        event.id: {
            "onset": event.onset.frame,
            "offset": event.offset.frame,
            "emotion": event.emotion,
            "kind": event.kind,
        }
        for event in record.events
    }
    data = {
        "session": record.summary["session"],
        "subject": record.subject,
        "video": record.video,
        "last_frame": last_frame(record),
        "emotions": emotions(record),
        "events": detected,
        "windows": windows,
    }
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _window(line: Timeline, event: Event) -> tuple[float, float]:
    begin = max(0.0, line.second_of(event.onset.frame) - AROUND_S)
    return begin, min(max(line.duration_s, begin + 0.1), line.second_of(event.offset.frame) + AROUND_S)
