"""`sfam bench flow --methods`: the project's two flow methods beside OpenCV's DIS, Farneback and TV-L1, in one run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec

import cv2
import numpy as np
from numpy.typing import NDArray

from sfam.stream.flow import FlowField, open_flow

from .bench_accuracy import FlowFunction, FlowTruth, cold_flow, estimate, read_truth, score
from .bench_flow import WINDOW_FRAMES, Crop, machine, one_thread, synthetic_stream
from .bench_pairs import drawn_pairs
from .bench_predecessor import Predecessor

OWN_SEEDS = range(900, 908)
STREAM_FRAMES = 60
REPEATS = 3
_EVERYWHERE = np.ones((128, 128), np.bool_)

Image = NDArray[np.uint8]
P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class MethodRow:
    """What one method does on the archive and on the stream."""

    name: str
    scores: dict[str, float]
    """Accuracy figures of the bench, with `light_face_epe_px` and `nothing_moves_px`."""
    cold_ms: float
    """Median of both frames' products and a cold solve."""
    warm_ms: float
    """Median of the new frame's products and a warm solve; as cold where a method has no warm start."""


def methods() -> dict[str, FlowFunction]:
    """The methods by name; the project's own first."""
    presets = {
        "DIS ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
        "DIS fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
        "DIS medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
    }
    found: dict[str, FlowFunction] = {"iclk (fast)": cold_flow("iclk"), "quality": cold_flow("quality")}
    for name, preset in presets.items():
        found[name] = _dis(preset)
    found["DIS, finest 0 + 5"] = _dis(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST, finest=0, refinements=5)
    found["Farneback 15"] = _farneback
    predecessor = Predecessor()
    found["TV-L1"] = lambda reference, moving: _field(*predecessor.flow(reference, moving))
    return found


def _field(u: NDArray[np.generic], v: NDArray[np.generic]) -> FlowField:
    return FlowField(
        np.ascontiguousarray(u, np.float32), np.ascontiguousarray(v, np.float32), _EVERYWHERE, float("nan")
    )


def _dis(preset: int, finest: int | None = None, refinements: int | None = None) -> FlowFunction:
    solver = cv2.DISOpticalFlow.create(preset)
    if finest is not None and refinements is not None:
        solver.setFinestScale(finest)
        solver.setVariationalRefinementIterations(refinements)

    def flow(reference: Image, moving: Image) -> FlowField:
        both = solver.calc(reference, moving, np.zeros((*reference.shape, 2), np.float32))
        return _field(both[..., 0], both[..., 1])

    return flow


def _farneback(reference: Image, moving: Image) -> FlowField:
    start = np.zeros((*reference.shape, 2), np.float32)
    both = cv2.calcOpticalFlowFarneback(reference, moving, start, 0.5, 3, 15, 3, 5, 1.1, 0)
    return _field(both[..., 0], both[..., 1])


def compare(truth: FlowTruth) -> list[MethodRow]:
    """Score and time every method; OpenCV on one thread, methods interleaved frame by frame."""
    with one_thread():
        found = methods()
        stream, _ = synthetic_stream(STREAM_FRAMES)
        cold, warm = _cold_times(found, truth), _warm_times(found, stream)
        rows = []
        for name, flow in found.items():
            report = score(*estimate(flow, truth), truth)
            scores = dict(report["accuracy"])
            scores |= {f"light_{key}": value for key, value in report["light"].items()}
            scores |= {f"nothing_moves_{key}": value for key, value in report["nothing_moves"].items()}
            rows.append(MethodRow(name, scores, cold[name], warm[name]))
    return rows


def _cold_times(found: dict[str, FlowFunction], truth: FlowTruth) -> dict[str, float]:
    laps: dict[str, list[float]] = {name: [] for name in found}
    for pair in truth.grey[:REPEATS]:
        for name, flow in found.items():
            laps[name].append(_milliseconds(flow, pair[0], pair[1]))
    return {name: float(np.median(spent)) for name, spent in laps.items()}


def _warm_times(found: dict[str, FlowFunction], stream: list[Crop]) -> dict[str, float]:
    """Own methods start from the window before; the others are measured on a few of the same windows."""
    own = {"iclk (fast)": "iclk", "quality": "quality"}
    solvers = {name: open_flow(method) for name, method in own.items()}
    held = {name: [solver.prepare(grey) for grey, _ in stream] for name, solver in solvers.items()}
    fields: dict[str, FlowField] = {}
    laps: dict[str, list[float]] = {name: [] for name in found}

    def advance(name: str, index: int) -> None:
        products = solvers[name].prepare(stream[index][0])
        fields[name] = solvers[name].solve(held[name][index - WINDOW_FRAMES], products, initial=fields.get(name))

    for index in range(WINDOW_FRAMES, len(stream)):
        grey, before = stream[index][0], stream[index - WINDOW_FRAMES][0]
        for name in own:
            laps[name].append(_milliseconds(advance, name, index))
        if index % 20 == 0:
            for name in found.keys() - own.keys():
                laps[name].append(_milliseconds(found[name], before, grey))
    return {name: float(np.median(spent)) for name, spent in laps.items()}


def _milliseconds(call: Callable[P, object], *args: P.args, **options: P.kwargs) -> float:
    start = time.perf_counter_ns()
    call(*args, **options)
    return (time.perf_counter_ns() - start) / 1e6


COLUMNS = (
    ("face px", "face_epe_px", ".3f"),
    ("act px", "act_epe_px", ".3f"),
    ("amplitude", "amplitude", ".2f"),
    ("w face mm", "w_face_mm", ".3f"),
    ("w act mm", "w_act_mm", ".3f"),
    ("head face px", "head_face_epe_px", ".3f"),
    ("head act px", "head_act_epe_px", ".3f"),
    ("head act w mm", "head_act_w_mm", ".3f"),
    ("light face px", "light_face_epe_px", ".3f"),
    ("still px", "nothing_moves_face_epe_px", ".3f"),
)


def markdown(rows: list[MethodRow]) -> str:
    """The table, with what it was measured on."""
    head = ["method", *(title for title, _, _ in COLUMNS), "cold ms", "warm ms"]
    lines = [
        "# Flow methods on pairs with exact truth",
        "",
        f"{machine()}; one thread, one run. Synthetic face pairs; head figures after the same removal of head motion.",
        "",
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
    ]
    for row in rows:
        cells = [format(row.scores.get(key, float("nan")), form) for _, key, form in COLUMNS]
        lines.append(f"| {' | '.join([row.name, *cells, f'{row.cold_ms:.2f}', f'{row.warm_ms:.2f}'])} |")
    return "\n".join(lines) + "\n"


def plot(rows: list[MethodRow]) -> Image:
    """Bars of the error where the expression acts, the amplitude found and the time, one row per method."""
    panels: tuple[tuple[str, Callable[[MethodRow], float]], ...] = (
        ("error where it moves, px", lambda row: row.scores["act_epe_px"]),
        ("share of the motion found", lambda row: row.scores["amplitude"]),
        ("warm ms (log)", lambda row: float(np.log10(1 + 10 * row.warm_ms))),
    )
    width, height, left, top = 1180, 60 + 34 * len(rows), 190, 40
    image = np.full((height, width, 3), 255, np.uint8)
    for place, row in enumerate(rows):
        _write(image, row.name, (10, top + 34 * place + 20))
    for column, (title, value) in enumerate(panels):
        start = left + 330 * column
        _write(image, title, (start, 24))
        longest = max(value(row) for row in rows)
        for place, row in enumerate(rows):
            y, length = top + 34 * place, round(230 * value(row) / longest)
            colour = (160, 110, 30) if place < 2 else (170, 170, 170)
            cv2.rectangle(image, (start, y), (start + length, y + 22), colour, -1)
            shown = row.warm_ms if column == 2 else value(row)
            _write(image, f"{shown:.3g}", (start + length + 6, y + 17))
    return image


def _write(image: Image, text: str, place: tuple[int, int]) -> None:
    cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (20, 20, 20), 1, cv2.LINE_AA)


def write_comparison(truth: Path | None, out: Path) -> list[MethodRow]:
    """Compare all methods; writes `flow_methods.md` and `flow_methods.png` into the folder `out`.

    Args:
        truth: archive of exact flow pairs; None = pairs of the project's own generator.
        out: made when missing.

    Raises:
        ValueError: the archive is incomplete.
        OSError: it cannot be read, or the folder not be written.
    """
    rows = compare(drawn_pairs(OWN_SEEDS) if truth is None else read_truth(truth))
    out.mkdir(parents=True, exist_ok=True)
    (out / "flow_methods.md").write_text(markdown(rows), encoding="utf-8")
    encoded, picture = cv2.imencode(".png", plot(rows))
    assert encoded
    (out / "flow_methods.png").write_bytes(picture.tobytes())
    return rows
