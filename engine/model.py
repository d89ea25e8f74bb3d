"""The model artifact: a folder with the network, its description and the numbers it must reproduce."""

from __future__ import annotations

import difflib
import hashlib
import json
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfam.capture.user_folders import data_folder

from .decoding import SpottingSpec, decoding_name, spec_from_json
from .normalisation import Normalisation

FORMAT = "sfam.model/1"
GRAPH_FILE = "model.onnx"
DESCRIPTION_FILE = "model.json"
PARITY_FILE = "parity.npz"
WEIGHTS_FILE = "weights.safetensors"
REQUIRED_FILES = (GRAPH_FILE, DESCRIPTION_FILE, PARITY_FILE)
NOT_A_LIE_DETECTOR = "A research instrument, not a lie detector; not for decisions about a person."


class ModelError(RuntimeError):
    """A model is unknown, incomplete or damaged, or a backend does not compute what it should."""


@dataclass(frozen=True, slots=True)
class ModelArtifact:
    """A checked artifact folder."""

    path: Path
    name: str
    version: str
    classes: tuple[str, ...]
    """In the order of the network's outputs; the last is neutral."""
    spec: SpottingSpec
    window_ms: float
    score_rate_hz: float
    normalisation: Normalisation
    training_data: str
    licence: str
    limits: tuple[str, ...]
    sha256: str
    """Of model.onnx."""
    folds: tuple[str, ...]
    """Names of the networks inside; one for a single model, several for an ensemble."""
    description: Mapping[str, Any]
    """model.json as stored."""

    @property
    def graph_path(self) -> Path:
        """The ONNX file."""
        return self.path / GRAPH_FILE

    @property
    def weights_path(self) -> Path:
        """The weights, for the torch backend; may be absent in a foreign artifact."""
        return self.path / WEIGHTS_FILE

    @property
    def model_id(self) -> str:
        """Name, version and the first digits of the hash: what a score or event carries."""
        return f"{self.name}-{self.version}-{self.sha256[:8]}"

    @property
    def decoding(self) -> str:
        """`paper` or `runs`."""
        return decoding_name(self.spec)

    def spotting_spec(self, threshold: float | None = None) -> SpottingSpec:
        """How this model's scores become events; `threshold` replaces the model's own."""
        return self.spec if threshold is None else self.spec.with_threshold(threshold)

    def parity(self) -> ParityVectors:
        """The inputs and outputs every backend must reproduce.

        Raises:
            ModelError: the file is damaged.
        """
        return read_parity(self.path / PARITY_FILE, len(self.classes))

    def card(self) -> str:
        """What a user must know before believing a result, in a few lines."""
        evaluated = self.description.get("evaluated")
        lines = [
            f"model {self.name} {self.version} (sha256 {self.sha256[:12]}), {len(self.classes)} classes: "
            f"{', '.join(self.classes)}; decoding {self.decoding}, windows of {self.window_ms:g} ms",
            f"trained on: {self.training_data}",
            f"input: {self.normalisation.text}",
            *([f"input: {self.description['gain_note']}"] if self.description.get("gain_note") else []),
            *([f"evaluated: {evaluated['text']}"] if evaluated else []),
            f"licence: {self.licence}",
            *(f"limit: {limit}" for limit in self.limits),
            NOT_A_LIE_DETECTOR,
        ]
        return "\n".join(textwrap.fill(line, 110, subsequent_indent="  ") for line in lines)


@dataclass(frozen=True, slots=True, eq=False)
class ParityVectors:
    """Inputs and reference outputs, computed by torch in fp32 when the artifact was written."""

    maps: NDArray[np.float32]
    """(K, 3, 42, 42): u px, v px, w mm."""
    spot: NDArray[np.float32]
    """(K,)"""
    emotion_logits: NDArray[np.float32]
    """(K, C)"""


def read_parity(path: Path, classes: int) -> ParityVectors:
    """Read parity.npz; errors: ModelError."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            vectors = ParityVectors(*(archive[name] for name in ("maps", "spot", "emotion_logits")))
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{path}: damaged parity vectors: {error}; install the model again") from error
    count = len(vectors.maps)
    shapes = (vectors.maps.shape, vectors.spot.shape, vectors.emotion_logits.shape)
    if count == 0 or shapes != ((count, 3, 42, 42), (count,), (count, classes)):
        raise ModelError(f"{path}: shapes {shapes} do not fit {classes} classes; install the model again")
    return vectors


def user_models_folder() -> Path:
    """Where imported models live."""
    return data_folder() / "models"


def model_folders() -> tuple[Path, Path]:
    """Where models are looked for by name: the package's own, then the user's."""
    return Path(__file__).with_name("models"), user_models_folder()


def installed_models() -> list[str]:
    """Names that `find_model` finds, sorted."""
    found = {path.parent.name for folder in model_folders() for path in folder.glob(f"*/{DESCRIPTION_FILE}")}
    return sorted(found)


def find_model(name: str) -> Path:
    """The artifact folder of an installed model.

    Raises:
        ModelError: there is none of that name; the text names the nearest and all others.
    """
    for folder in model_folders():
        if name and (folder / name / DESCRIPTION_FILE).is_file():
            return folder / name
    names = installed_models()
    near = difflib.get_close_matches(name, names, 1, 0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ModelError(
        f"no model {name!r}: neither an artifact folder nor installed; {hint}installed: {', '.join(names) or 'none'} "
        f"(looked in {', '.join(str(folder) for folder in model_folders())})"
    )


def load_model(name_or_dir: str | Path) -> ModelArtifact:
    """Open and check an artifact.

    Args:
        name_or_dir: a folder with a model.json, or the name of an installed model.

    Raises:
        ModelError: unknown model, missing file, unreadable description, or a hash that does not fit.
    """
    folder = Path(name_or_dir)
    if not (folder / DESCRIPTION_FILE).is_file():
        if folder.is_dir():
            raise ModelError(f"{folder} is no model: it has no {DESCRIPTION_FILE}")
        folder = find_model(str(name_or_dir))
    missing = [file for file in REQUIRED_FILES if not (folder / file).is_file()]
    if missing:
        raise ModelError(f"model {folder} is incomplete: {', '.join(missing)} missing; install it again")
    artifact = _read_description(folder.resolve())
    _check_hash(artifact.graph_path, artifact.sha256)
    return artifact


def _read_description(folder: Path) -> ModelArtifact:
    path = folder / DESCRIPTION_FILE
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        if description["format"] != FORMAT:
            raise ValueError(f"format {description['format']!r}; this version reads {FORMAT!r}")
        classes = tuple(str(name) for name in description["classes"])
        if len(classes) < 2 or len(set(classes)) != len(classes) or classes[-1] != "neutral":
            raise ValueError(f"classes {classes} must be distinct and end with 'neutral'")
        return ModelArtifact(
            path=folder,
            name=str(description["name"]),
            version=str(description["version"]),
            classes=classes,
            spec=spec_from_json(description["decoding"], description["spotting"], classes),
            window_ms=float(description["window_ms"]),
            score_rate_hz=float(description["score_rate_hz"]),
            normalisation=Normalisation.from_json(description["normalisation"]),
            training_data=str(description["training_data"]),
            licence=str(description["licence"]),
            limits=tuple(str(limit) for limit in description["limits"]),
            sha256=str(description["sha256"]),
            folds=tuple(str(fold) for fold in description["folds"]),
            description=description,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: not a description this version understands: {error!r}") from error


def _check_hash(path: Path, expected: str) -> None:
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != expected:
        raise ModelError(
            f"{path}: sha256 is {found[:12]} but {DESCRIPTION_FILE} says {expected[:12]}: the file was changed or "
            "damaged; install the model again"
        )
