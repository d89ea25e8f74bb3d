"""Foxglove's log and annotation messages as JSON, with the schemas that make its viewer understand them.

After the published schemas (https://docs.foxglove.dev/docs/visualization/message-schemas/introduction). They are small
and rare, so JSON costs nothing here; pictures go as protobuf, see `sfam.capture.foxglove_messages`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Color = tuple[float, float, float, float]
"""Red, green, blue and opacity, 0..1."""
Box = Sequence[float]
"""x, y, width, height in pixels."""

LOG = "foxglove.Log"
ANNOTATIONS = "foxglove.ImageAnnotations"
INFO, WARNING = 2, 3
LINE_LOOP = 2
FONT_PX = 14.0
CLEAR: Color = (0.0, 0.0, 0.0, 0.0)
SHADE: Color = (0.0, 0.0, 0.0, 0.6)


def _object(**properties: object) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def _array(items: object) -> dict[str, Any]:
    return {"type": "array", "items": items}


_NUMBER, _INTEGER, _STRING = ({"type": name} for name in ("number", "integer", "string"))
_TIME = _object(sec=_INTEGER, nsec=_INTEGER)
_COLOR = _object(r=_NUMBER, g=_NUMBER, b=_NUMBER, a=_NUMBER)
_POINT = _object(x=_NUMBER, y=_NUMBER)
SCHEMAS: dict[str, dict[str, Any]] = {
    LOG: {
        "title": LOG,
        **_object(timestamp=_TIME, level=_INTEGER, message=_STRING, name=_STRING, file=_STRING, line=_INTEGER),
    },
    ANNOTATIONS: {
        "title": ANNOTATIONS,
        **_object(
            circles=_array(
                _object(
                    timestamp=_TIME,
                    position=_POINT,
                    diameter=_NUMBER,
                    thickness=_NUMBER,
                    fill_color=_COLOR,
                    outline_color=_COLOR,
                )
            ),
            points=_array(
                _object(
                    timestamp=_TIME,
                    type=_INTEGER,
                    points=_array(_POINT),
                    outline_color=_COLOR,
                    outline_colors=_array(_COLOR),
                    fill_color=_COLOR,
                    thickness=_NUMBER,
                )
            ),
            texts=_array(
                _object(
                    timestamp=_TIME,
                    position=_POINT,
                    text=_STRING,
                    font_size=_NUMBER,
                    text_color=_COLOR,
                    background_color=_COLOR,
                )
            ),
        ),
    },
}


def schema_text(name: str) -> bytes:
    """One of `SCHEMAS` as it stands in a file."""
    return json.dumps(SCHEMAS[name]).encode()


def log_line(t_ns: int, level: int, text: str, name: str) -> dict[str, Any]:
    """A `foxglove.Log`."""
    return {"timestamp": _time(t_ns), "level": level, "message": text, "name": name, "file": "", "line": 0}


def image_annotations(t_ns: int, faces: Iterable[tuple[Box, str, Color]]) -> dict[str, Any]:
    """A `foxglove.ImageAnnotations`: boxes with a text above each."""
    points, texts = [], []
    for (x, y, width, height), text, color in faces:
        corners = ((x, y), (x + width, y), (x + width, y + height), (x, y + height))
        points.append(
            {
                "timestamp": _time(t_ns),
                "type": LINE_LOOP,
                "points": [{"x": left, "y": top} for left, top in corners],
                "outline_color": _rgba(color),
                "outline_colors": [],
                "fill_color": _rgba(CLEAR),
                "thickness": 2.0,
            }
        )
        texts.append(
            {
                "timestamp": _time(t_ns),
                "position": {"x": x, "y": y - 4},
                "text": text,
                "font_size": FONT_PX,
                "text_color": _rgba(color),
                "background_color": _rgba(SHADE),
            }
        )
    return {"circles": [], "points": points, "texts": texts}


def _time(t_ns: int) -> Mapping[str, int]:
    seconds, nanos = divmod(t_ns, 1_000_000_000)
    return {"sec": seconds, "nsec": nanos}


def _rgba(color: Color) -> Mapping[str, float]:
    return dict(zip("rgba", color, strict=True))
