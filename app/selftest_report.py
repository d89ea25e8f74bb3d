"""The self-test's result as a table and as a picture, drawn with OpenCV."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from .selftest_result import FOUND_SHARE, SelfTestResult, SizeResult

PANEL = (460, 340)
"""Width and height of one plot, px."""
EDGE = 56
INK, GRID, FOUND, RECOVERED = (40, 40, 40), (215, 215, 215), (160, 90, 20), (60, 130, 60)
TOP = 1.25
"""Share at the upper edge of the plots."""


def table(result: SelfTestResult) -> str:
    """Plain text: the answer first, then size by size."""
    lines = [
        f"smallest motion seen: {_size(result.smallest_px, 'px')} in the image plane (crop pixels), "
        f"{result.depth_answer}",
        f"face {result.face_px:.0f} px wide ({result.px_per_color_px:.2f} crop px per image px) at "
        f"{result.distance_mm:.0f} mm, mean grey {result.light_grey:.0f}; a resting face shows "
        f"{result.rest_px:.3f} px and {result.rest_mm:.2f} mm (standard deviation); {result.pairs} pairs of frames",
        "",
        f"{'px':>6} {'found':>6} {'recovered':>10}    {'mm':>6} {'found':>6} {'recovered':>10}",
    ]
    for px, mm in zip(result.px, result.mm, strict=True):
        lines.append(_cells(px) + "    " + _cells(mm))
    return "\n".join(lines)


def _size(value: float | None, unit: str) -> str:
    return f"none {unit} tried" if value is None else f"{value:g} {unit}"


def _cells(row: SizeResult) -> str:
    recovered = f"{row.recovered:.2f}" if np.isfinite(row.recovered) else "-"
    return f"{row.size:6.2f} {row.found:6.0%} {recovered:>10}"


def plot(result: SelfTestResult) -> NDArray[np.uint8]:
    """Found and recovered shares over size, one panel for each axis: (H, W, 3) uint8 BGR."""
    panels = [
        _panel(result.px, "in the image plane, crop px", result.smallest_px),
        _panel(result.mm, "in depth, mm", result.smallest_mm),
    ]
    return np.concatenate(panels, axis=1)


def save_plot(result: SelfTestResult, path: Path) -> None:
    """Write `plot` as a PNG.

    Raises:
        OSError: the file cannot be written.
    """
    done, data = cv2.imencode(".png", plot(result))
    if not done:
        raise OSError(f"self-test plot {path}: the picture could not be encoded")
    path.write_bytes(data.tobytes())


def _panel(rows: Sequence[SizeResult], title: str, smallest: float | None) -> NDArray[np.uint8]:
    width, height = PANEL
    image = np.full((height, width, 3), 255, np.uint8)
    first, last = np.log(rows[0].size), np.log(max(rows[-1].size, 1.001 * rows[0].size))

    def at(size: float, share: float) -> tuple[int, int]:
        x = EDGE + (np.log(size) - first) / (last - first) * (width - 2 * EDGE)
        return round(float(x)), round(height - EDGE - min(max(share, 0.0), TOP) / TOP * (height - 2 * EDGE))

    for share in (0.0, 0.5, FOUND_SHARE, 1.0):
        cv2.line(image, at(rows[0].size, share), at(rows[-1].size, share), GRID, 1)
        _write(image, f"{share:.0%}", (8, at(rows[0].size, share)[1] + 4))
    for row in rows:
        _write(image, f"{row.size:g}", (at(row.size, 0.0)[0] - 10, height - EDGE + 18))
    for values, color in (([r.found for r in rows], FOUND), ([r.recovered for r in rows], RECOVERED)):
        known = [at(row.size, value) for row, value in zip(rows, values, strict=True) if np.isfinite(value)]
        cv2.polylines(image, [np.array(known, np.int32).reshape(-1, 1, 2)], False, color, 2, cv2.LINE_AA)
        for point in known:
            cv2.circle(image, point, 4, color, -1, cv2.LINE_AA)
    if smallest is not None:
        cv2.line(image, at(smallest, 0.0), at(smallest, TOP), FOUND, 1, cv2.LINE_AA)
    _write(image, title, (EDGE, 24), INK)
    _write(image, "found", (EDGE, 44), FOUND)
    _write(image, "recovered amplitude", (EDGE + 60, 44), RECOVERED)
    return image


def _write(image: NDArray[np.uint8], text: str, place: tuple[int, int], color: tuple[int, int, int] = INK) -> None:
    cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, color, 1, cv2.LINE_AA)
