"""Accuracy of scene flow on an archive of pairs with exact truth."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sfam.stream.depth_change import depth_change, smooth_depth
from sfam.stream.flow import FlowField, open_flow
from sfam.stream.head_motion import CropCamera, HeadMotionFit, rigid_mask

Maps = NDArray[np.float32]
FlowFunction = Callable[[NDArray[np.uint8], NDArray[np.uint8]], FlowField]
"""Cold flow from the first to the second of two (128, 128) grey crops."""
NEEDED = ("grey", "depth_mm", "u", "v", "w", "rigid", "hull", "act", "landmarks68", "focal_px", "centre_px")


@dataclass(frozen=True, slots=True, eq=False)
class FlowTruth:
    """N pairs of crops and their exact scene flow; image 1 at (x + u, y + v) shows the point of image 0 at (x, y)."""

    names: tuple[str, ...]
    grey: NDArray[np.uint8]
    """(N, 2, 128, 128)."""
    depth_mm: Maps
    """(N, 2, 128, 128), 0 = hole."""
    motion: Maps
    """(N, 3, 128, 128): u px, v px, w mm."""
    rigid: Maps
    """(N, 3, 128, 128): the part of it that the head's motion explains."""
    hull: NDArray[np.bool_]
    act: NDArray[np.bool_]
    """(N, 128, 128): face; pixels that an expression moves by more than half its peak."""
    landmarks68: Maps
    camera: CropCamera

    def group(self, kind: str) -> list[int]:
        """Pairs named `still X px` or `head X px`; kind 'light' are those of changed light, 'nothing' those at rest."""
        if kind == "light":
            return [i for i, name in enumerate(self.names) if name.endswith(", light")]
        if kind == "nothing":
            return [i for i, name in enumerate(self.names) if name == "nothing moves"]
        return [i for i, name in enumerate(self.names) if name.startswith(f"{kind} ") and name.endswith(" px")]


def read_truth(path: Path) -> FlowTruth:
    """Read an archive and the description beside it.

    Raises:
        ValueError: an array or the description is missing.
    """
    described = path.with_suffix(".json")
    if not described.exists():
        raise ValueError(
            f"bench flow: {path.name} has no description {described.name} beside it, which names its pairs"
        )
    names = tuple(str(pair["name"]) for pair in json.loads(described.read_text(encoding="utf-8"))["pairs"])
    with np.load(path) as archive:
        missing = [name for name in NEEDED if name not in archive]
        if missing:
            raise ValueError(f"bench flow: {path.name} lacks {', '.join(missing)}")
        focal, (x, y) = float(archive["focal_px"]), archive["centre_px"]
        return FlowTruth(
            names,
            archive["grey"],
            archive["depth_mm"],
            np.stack([archive["u"], archive["v"], archive["w"]], axis=1),
            archive["rigid"],
            archive["hull"],
            archive["act"],
            archive["landmarks68"],
            CropCamera(focal, focal, float(x), float(y)),
        )


def cold_flow(method: str) -> FlowFunction:
    """One of the project's own methods."""
    solver = open_flow(method)
    return lambda reference, moving: solver.solve(solver.prepare(reference), solver.prepare(moving))


def estimate(flow: FlowFunction, truth: FlowTruth) -> tuple[Maps, Maps]:
    """Cold estimates of every pair, (N, 3, 128, 128) each: as measured, and with the head's motion removed."""
    measured, residual = np.empty_like(truth.motion), np.empty_like(truth.motion)
    fit = HeadMotionFit()
    for pair, (grey, depth_mm) in enumerate(zip(truth.grey, truth.depth_mm, strict=True)):
        field = flow(grey[0], grey[1])
        reference, moving = smooth_depth(depth_mm[0]), smooth_depth(depth_mm[1])
        w, valid = depth_change(reference, moving, field)
        mask = rigid_mask(truth.landmarks68[pair])
        motion = fit.fit(field, w, valid, reference.shape_mm, truth.camera, mask)
        measured[pair] = field.u, field.v, w
        residual[pair] = measured[pair] - fit.induced(motion, reference.shape_mm, truth.camera)
    return measured, residual


def score(measured: Maps, residual: Maps, truth: FlowTruth) -> dict[str, dict[str, float]]:
    """Mean errors over pairs; a group without pairs gives no figures.

    Returns:
        accuracy: still pairs (face, act, amplitude, w) and head pairs after removal of the head's motion;
        light: pairs with changed light; nothing_moves: what is measured where nothing moves.
    """
    moved, expressed = measured - truth.motion, residual - (truth.motion - truth.rigid)
    still, head, light, nothing = (truth.group(kind) for kind in ("still", "head", "light", "nothing"))
    still_scores = {
        **_errors(moved, still, truth, "{}_epe_px", "w_{}_mm"),
        "amplitude": _amplitude(measured, still, truth),
    }
    head_scores = _errors(expressed, head, truth, "head_{}_epe_px", "head_{}_w_mm")
    head_scores.pop("head_face_w_mm", None)
    return {
        "accuracy": _finite(still_scores | head_scores),
        "light": _finite(_errors(expressed, light, truth, "{}_epe_px", "w_{}_mm")),
        "nothing_moves": _finite({"face_epe_px": _mean(_length(moved), nothing, truth.hull)}),
    }


def _length(motion: Maps) -> Maps:
    return np.hypot(motion[:, 0], motion[:, 1])


def _mean(errors: Maps, pairs: list[int], where: NDArray[np.bool_]) -> float:
    means = [float(errors[pair][where[pair]].mean(dtype=np.float64)) for pair in pairs if where[pair].any()]
    return float(np.mean(means)) if means else float("nan")


def _errors(errors: Maps, pairs: list[int], truth: FlowTruth, in_px: str, in_mm: str) -> dict[str, float]:
    regions = {"face": truth.hull, "act": truth.act}
    lengths, depths = _length(errors), np.abs(errors[:, 2])
    return {in_px.format(name): _mean(lengths, pairs, where) for name, where in regions.items()} | {
        in_mm.format(name): _mean(depths, pairs, where) for name, where in regions.items()
    }


def _amplitude(measured: Maps, pairs: list[int], truth: FlowTruth) -> float:
    """Share of the true motion found where the expression acts: projection on the truth."""
    shares = []
    for pair in pairs:
        true, found = (motion[pair, :2][:, truth.act[pair]].astype(np.float64) for motion in (truth.motion, measured))
        if true.size:
            shares.append(float((found * true).sum() / (true * true).sum()))
    return float(np.mean(shares)) if shares else float("nan")


def _finite(scores: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in scores.items() if np.isfinite(value)}
