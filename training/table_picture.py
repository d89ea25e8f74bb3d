"""Score tables as PNG pictures, laid out like the tables of publications: rules above and below, numbers centred."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from .evaluation import AP, Estimate, Evaluation
from .metrics import Counts

FONT, SIZE, THICKNESS = cv2.FONT_HERSHEY_SIMPLEX, 0.55, 1
ROW_PX, PAD_PX, RULE_PX = 30, 14, 2
INK, PAPER = (20, 20, 20), 255


def draw_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 BGR picture of a table; the first column is left-aligned, the others are centred."""
    widths = [max(_width(line[place]) for line in (header, *rows)) + 2 * PAD_PX for place in range(len(header))]
    total = max(sum(widths), _width(title) + 2 * PAD_PX)
    widths[-1] += total - sum(widths)
    height = ROW_PX * (len(rows) + 2) + 2 * PAD_PX
    picture = np.full((height, total, 3), PAPER, np.uint8)
    _write(picture, title, PAD_PX, PAD_PX)
    for line, cells in enumerate((header, *rows), start=1):
        left, top = 0, PAD_PX + ROW_PX * line
        for place, (cell, width) in enumerate(zip(cells, widths, strict=True)):
            _write(picture, cell, PAD_PX if place == 0 else left + (width - _width(cell)) // 2, top)
            left += width
    for line, thick in ((1, RULE_PX), (2, 1), (len(rows) + 2, RULE_PX)):
        y = PAD_PX + ROW_PX * line - 2
        cv2.line(picture, (0, y), (total, y), INK, thick)
    return picture


def _width(text: str) -> int:
    return int(cv2.getTextSize(text, FONT, SIZE, THICKNESS)[0][0])


def _write(picture: NDArray[np.uint8], text: str, left: int, top: int) -> None:
    cv2.putText(picture, text, (left, top + ROW_PX - 10), FONT, SIZE, INK, THICKNESS, cv2.LINE_AA)


def write_pictures(evaluation: Evaluation, mark: str, out: Path) -> list[Path]:
    """Write spotting.png, recognition.png and analysis.png into a folder.

    Args:
        evaluation: of a run.
        mark: put before every title, such as "SYNTHETIC: "; '' for the real data.
        out: folder.

    Raises:
        OSError: a file cannot be written.
    """
    classes = evaluation.classes
    tables = {
        "spotting": (f"{mark}Spotting, IoU >= 0.5", *_spotting(evaluation)),
        "recognition": (
            f"{mark}Recognition, {classes} classes",
            *_scores(evaluation, "recognition UF1", "recognition UAR"),
        ),
        "analysis": (f"{mark}Analysis, {classes} classes", *_scores(evaluation, "analysis F1", "STRS")),
    }
    written = []
    for name, (title, header, rows) in tables.items():
        done, data = cv2.imencode(".png", draw_table(title, header, rows))
        assert done
        path = out / f"{name}.png"
        beside = out / f".{name}.png.new"
        beside.write_bytes(data.tobytes())
        os.replace(beside, path)
        written.append(path)
    return written


NO_INTERVALS = ("-",) * 3
Part = tuple[tuple[str, ...], list[tuple[str, ...]]]


def _spotting(evaluation: Evaluation) -> Part:
    """Macro, micro and overall side by side, strict and as the published program counts."""
    strict = {
        kind: Counts(
            *(sum(getattr(getattr(one, kind), side) for one in evaluation.tallies) for side in ("tp", "fp", "fn"))
        )
        for kind in ("macro", "micro")
    }
    macro, micro = strict["macro"], strict["micro"]
    strict["overall"] = Counts(macro.tp + micro.tp, macro.fp + micro.fp, macro.fn + micro.fn)
    printed = evaluation.published.counts
    order = ("macro", "micro", "overall")
    columns = [strict[kind] for kind in order] + [printed[kind] for kind in order]
    own, ap = evaluation.strict, evaluation.published.average_precision
    own_f1 = [own[f"spotting F1 {kind}"] for kind in order]
    own_ap = [own.get(f"{AP} {kind}") for kind in order]
    rows = [
        ("Total", *(str(one.tp + one.fn) for one in columns)),
        ("TP", *(str(one.tp) for one in columns)),
        ("FP", *(str(one.fp) for one in columns)),
        ("FN", *(str(one.fn) for one in columns)),
        ("Precision", *(_share(one.tp, one.tp + one.fp) for one in columns)),
        ("Recall", *(_share(one.tp, one.tp + one.fn) for one in columns)),
        ("F1-score", *(f"{one.f1:.4f}" for one in columns)),
        ("95 %", *(_interval(one) for one in own_f1), *NO_INTERVALS),
        (AP, *(_value(one) for one in own_ap), *(f"{ap[kind]:.4f}" if kind in ap else "-" for kind in order)),
        ("95 %", *(_interval(one) for one in own_ap), *NO_INTERVALS),
    ]
    return ("", "MaE", "ME", "Overall", "MaE printed", "ME printed", "Overall printed"), rows


def _value(one: Estimate | None) -> str:
    return "-" if one is None else f"{one.value:.4f}"


def _interval(one: Estimate | None) -> str:
    return "-" if one is None else f"{one.low:.4f} - {one.high:.4f}"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.4f}" if whole else "-"


def _scores(evaluation: Evaluation, *names: str) -> Part:
    """Named scores with their intervals, and as printed."""
    published = evaluation.published
    printed = {
        "recognition UF1": published.recognition[0],
        "recognition UAR": published.recognition[1],
        "analysis F1": published.analysis[2],
        "STRS": published.strs,
    }
    rows: list[tuple[str, ...]] = []
    for name in names:
        one = evaluation.strict[name]
        rows.append((name, _value(one), _interval(one), f"{printed[name]:.4f}"))
    return ("", "strict", "95 %", "as printed"), rows
