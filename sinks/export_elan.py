"""Export for ELAN: an .eaf with one tier per face."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

from sfam.engine.events import Event

from .session_reader import SessionRecord

XSI = "http://www.w3.org/2001/XMLSchema-instance"
SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
TIER_TYPE = "expression"


def export_elan(record: SessionRecord, out: Path, media: Path | None = None, media_offset_s: float = 0.0) -> list[Path]:
    """Write elan.eaf; times are milliseconds since the session's first frame.

    Args:
        record: the session.
        out: folder to write to; made when missing.
        media: a video that ELAN can play, linked by its path.
        media_offset_s: time in the video at which the session's first frame lies.
    """
    ElementTree.register_namespace("xsi", XSI)
    date = datetime.fromtimestamp(record.summary["clock"]["anchor_utc_ns"] / 1e9, UTC).isoformat(timespec="seconds")
    attributes = {"AUTHOR": "sfam-live", "DATE": date, "FORMAT": "3.0", "VERSION": "3.0"}
    document = ElementTree.Element("ANNOTATION_DOCUMENT", {**attributes, f"{{{XSI}}}noNamespaceSchemaLocation": SCHEMA})
    header = ElementTree.SubElement(document, "HEADER", {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"})
    if media is not None:
        _link(header, media, media_offset_s)
    order = ElementTree.SubElement(document, "TIME_ORDER")
    slots = _time_slots(record, order)
    number = 0
    for name, events in _tiers(record).items():
        tier = ElementTree.SubElement(
            document, "TIER", {"TIER_ID": name, "LINGUISTIC_TYPE_REF": TIER_TYPE, "PARTICIPANT": record.subject}
        )
        for event in events:
            number += 1
            _annotate(tier, number, event, *slots[event.id])
    ElementTree.SubElement(
        document,
        "LINGUISTIC_TYPE",
        {"LINGUISTIC_TYPE_ID": TIER_TYPE, "TIME_ALIGNABLE": "true", "GRAPHIC_REFERENCES": "false"},
    )
    ElementTree.indent(document)
    out.mkdir(parents=True, exist_ok=True)
    path = out / "elan.eaf"
    ElementTree.ElementTree(document).write(path, encoding="UTF-8", xml_declaration=True)
    return [path]


def _link(header: ElementTree.Element, media: Path, offset_s: float) -> None:
    kind = "video/x-msvideo" if media.suffix.lower() == ".avi" else "video/mp4"
    described = {"MEDIA_URL": media.resolve().as_uri(), "MIME_TYPE": kind, "RELATIVE_MEDIA_URL": f"./{media.name}"}
    if offset_s:
        described["TIME_ORIGIN"] = str(round(offset_s * 1e3))
    ElementTree.SubElement(header, "MEDIA_DESCRIPTOR", described)


def _span_ms(record: SessionRecord, event: Event) -> tuple[int, int]:
    """Begin and end; ELAN knows no annotation without duration."""
    begin = round(record.seconds(event.onset.t_capture_ns) * 1e3)
    return begin, max(begin + 1, round(record.seconds(event.offset.t_capture_ns) * 1e3))


def _time_slots(record: SessionRecord, order: ElementTree.Element) -> dict[int, tuple[str, str]]:
    """Two slots for each event, in the order of time; shared ones would tie annotations together in ELAN."""
    moments = sorted(
        (time_ms, event.id, end) for event in record.events for end, time_ms in enumerate(_span_ms(record, event))
    )
    names: dict[int, list[str]] = {}
    for place, (time_ms, event_id, _) in enumerate(moments, start=1):
        names.setdefault(event_id, []).append(f"ts{place}")
        ElementTree.SubElement(order, "TIME_SLOT", {"TIME_SLOT_ID": f"ts{place}", "TIME_VALUE": str(time_ms)})
    return {event_id: (begin, end) for event_id, (begin, end) in names.items()}


def _tiers(record: SessionRecord) -> dict[str, list[Event]]:
    """Events by face; what overlaps within a face goes to a further tier, for ELAN allows no overlap in one."""
    tiers: dict[str, list[Event]] = {}
    for event in record.events:
        lane = 1
        while True:
            name = f"face {event.track_id}" + (f" ({lane})" if lane > 1 else "")
            taken = tiers.setdefault(name, [])
            if not taken or _span_ms(record, taken[-1])[1] <= _span_ms(record, event)[0]:
                taken.append(event)
                break
            lane += 1
    return tiers or {"face 0": []}


def _annotate(tier: ElementTree.Element, number: int, event: Event, begin: str, end: str) -> None:
    outer = ElementTree.SubElement(tier, "ANNOTATION")
    inner = ElementTree.SubElement(
        outer,
        "ALIGNABLE_ANNOTATION",
        {"ANNOTATION_ID": f"a{number}", "TIME_SLOT_REF1": begin, "TIME_SLOT_REF2": end},
    )
    value = ElementTree.SubElement(inner, "ANNOTATION_VALUE")
    value.text = " ".join([event.kind, event.emotion, f"{event.score:.2f}", event.state, *event.flags])
