"""Networks become artifacts: graph, description, parity vectors and weights, written at once or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .backend import check_parity, open_backend
from .config import EngineConfig
from .decoding import SpottingSpec, decoding_name, spec_to_json
from .fields import smooth_fields
from .graph import write_graph
from .model import (
    DESCRIPTION_FILE,
    FORMAT,
    GRAPH_FILE,
    PARITY_FILE,
    WEIGHTS_FILE,
    ModelArtifact,
    ModelError,
    ParityVectors,
    load_model,
)
from .network import Judge, SFAMNet, weights_of
from .normalisation import Normalisation
from .weights import pack_weights


@dataclass(frozen=True, slots=True)
class ModelText:
    """What an artifact says about itself."""

    name: str
    version: str
    classes: tuple[str, ...]
    """In the order of the outputs, the last is neutral."""
    training_data: str
    licence: str
    limits: tuple[str, ...]


def write_model(
    networks: SFAMNet | Mapping[str, SFAMNet],
    text: ModelText,
    spec: SpottingSpec,
    out: Path,
    *,
    normalisation: Normalisation | None = None,
    window_ms: float = 200.0,
    score_rate_hz: float = 30.0,
    parity_maps: NDArray[np.float32] | None = None,
    extra: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> ModelArtifact:
    """Write an artifact folder; it appears under its name only when it is complete and reproduces torch's outputs.

    Args:
        networks: one network, or fold name -> network for an ensemble.
        text: name, classes, training data, licence, limits.
        spec: how scores become events.
        out: the folder to write.
        normalisation: what happens to the maps before the network; default nothing.
        window_ms: time between the two ends of a window.
        score_rate_hz: scores per second that the model was tuned for.
        parity_maps: (K, 3, 42, 42) inputs to pin; default smooth fields of 0 to 4 px.
        extra: further entries of model.json, for instance measured figures.
        overwrite: replace an existing artifact, see `check_replaceable`.

    Raises:
        FileExistsError: `out` exists.
        ModelError: the written graph does not reproduce torch's outputs, the classes do not fit, or `out` holds
            something else than a model.
    """
    if out.exists() and not overwrite:
        raise FileExistsError(f"{out} exists; remove it or allow overwriting")
    check_replaceable(out)
    folds = {"single": networks} if isinstance(networks, SFAMNet) else dict(networks)
    wrong = [fold for fold, network in folds.items() if network.classes != len(text.classes)]
    if wrong or not folds:
        raise ModelError(f"model {text.name!r}: {len(text.classes)} classes named, but {wrong or 'no network'} differ")
    normalisation = normalisation or Normalisation()
    maps = default_parity_maps() if parity_maps is None else parity_maps
    parts = _parts(folds, normalisation, maps)
    description = {
        "format": FORMAT,
        "name": text.name,
        "version": text.version,
        "classes": list(text.classes),
        "folds": list(folds),
        "normalisation": normalisation.to_json(),
        "decoding": decoding_name(spec),
        "spotting": spec_to_json(spec),
        "window_ms": window_ms,
        "score_rate_hz": score_rate_hz,
        "training_data": text.training_data,
        "licence": text.licence,
        "limits": list(text.limits),
        "sha256": hashlib.sha256(parts[GRAPH_FILE]).hexdigest(),
        "weights_sha256": hashlib.sha256(parts[WEIGHTS_FILE]).hexdigest(),
        **(extra or {}),
    }
    parts[DESCRIPTION_FILE] = (json.dumps(description, indent=2, ensure_ascii=False) + "\n").encode()
    return _write_folder(parts, out)


def check_replaceable(out: Path) -> None:
    """Nothing but a model or an empty folder may make way for a model; for whoever works long before writing one.

    Raises:
        ModelError: something else is there.
    """
    if not out.exists() or (out / DESCRIPTION_FILE).is_file():
        return
    if not out.is_dir() or any(out.iterdir()):
        raise ModelError(f"{out} is there and no model (no {DESCRIPTION_FILE} in it): it is not replaced; name another")


def _parts(folds: Mapping[str, SFAMNet], normalisation: Normalisation, maps: NDArray[np.float32]) -> dict[str, bytes]:
    weights = {fold: weights_of(network) for fold, network in folds.items()}
    graph = write_graph(list(weights.values()), normalisation)
    prefixes = {fold: f"{fold}/" if len(weights) > 1 else "" for fold in weights}
    flat = {prefixes[fold] + name: value for fold, part in weights.items() for name, value in part.items()}
    vectors = reference_outputs(list(folds.values()), normalisation, maps)
    archive = io.BytesIO()
    np.savez(archive, maps=vectors.maps, spot=vectors.spot, emotion_logits=vectors.emotion_logits)
    return {GRAPH_FILE: graph, PARITY_FILE: archive.getvalue(), WEIGHTS_FILE: pack_weights(flat)}


def reference_outputs(
    networks: Sequence[SFAMNet], normalisation: Normalisation, maps: NDArray[np.float32]
) -> ParityVectors:
    """What torch computes in fp32 on maps (K, 3, 42, 42)."""
    x = torch.from_numpy(np.ascontiguousarray(maps, np.float32))
    with torch.inference_mode():
        spot, logits, _ = Judge(networks, normalisation).eval()(x[:, 0:1], x[:, 1:2], x[:, 2:3])
    return ParityVectors(maps.astype(np.float32), spot.numpy(), logits.numpy())


def default_parity_maps(count: int = 16, seed: int = 0) -> NDArray[np.float32]:
    """Smooth random fields (count, 3, 42, 42) from rest to 4 px and 4 mm, the first one zero."""
    size = np.concatenate([[0.0], np.geomspace(0.02, 4.0, count - 1)])
    return smooth_fields(count, seed) * size[:, None, None, None].astype(np.float32)


def _write_folder(parts: Mapping[str, bytes], out: Path) -> ModelArtifact:
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_name(f".{out.name}.{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    try:
        for name, data in parts.items():
            (draft / name).write_bytes(data)
        artifact = load_model(draft)
        backend = open_backend(EngineConfig(backend="onnxruntime"), artifact)
        check_parity(backend, artifact)
        backend.close()
        if out.exists():
            shutil.rmtree(out)
        os.replace(draft, out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return load_model(out)
