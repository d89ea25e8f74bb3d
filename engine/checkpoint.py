"""Checkpoints of SFAMNet become artifacts: one file a model, a folder of leave-one-subject-out folds an ensemble.

Files are opened with weights-only unpickling: nothing in them is ever executed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .decoding import PaperSpec
from .export import ModelText, write_model
from .fold_origin import ORIGIN_FILE, FoldOrigin, read_origin
from .model import ModelArtifact, ModelError
from .network import SFAMNet, is_batch_norm, load_weights
from .normalisation import NO_GAIN, Normalisation, Triple
from .weights import WeightsError, read_weights

CLASSES_BY_COUNT = {
    5: ("negative", "positive", "surprise", "others", "neutral"),
    8: ("disgust", "surprise", "others", "fear", "anger", "sad", "happy", "neutral"),
}
"""The published class orders."""
SUFFIXES = (".pkl", ".pt", ".pth", ".safetensors")
PUBLISHED = FoldOrigin(
    version="imported",
    training_data="as the authors of the checkpoint state (published SFAMNet weights: CAS(ME)^3 part A)",
    licence="as the authors of the checkpoint state (published SFAMNet weights: BSD-3)",
    limits=(
        "the scale of the maps it was trained on was never published: set the gain by `sfam model show` or a recording",
        "base rates are tiny: most alarms on long recordings are false",
    ),
    window_ms=200.0,
    files=(),
)
"""Of a folder that does not say where its networks come from."""


class CheckpointError(ModelError):
    """A checkpoint is no SFAMNet, is damaged, or holds weights that are not finite."""


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import made of a file or folder."""

    artifact: ModelArtifact
    used: tuple[str, ...]
    """File names of the networks inside."""
    skipped: Mapping[str, str]
    """File name -> why it was left out."""


def read_checkpoint(path: Path) -> SFAMNet:
    """Read one checkpoint.

    Raises:
        CheckpointError: unreadable, wrong names or shapes, or weights that are not finite; the text names the file.
    """
    weights = _read_tensors(path)
    count = weights["fc_recog.bias"].numel() if "fc_recog.bias" in weights else 0
    if count < 2:
        raise CheckpointError(f"{path.name} is no SFAMNet: it has no emotion head fc_recog with at least 2 classes")
    network = SFAMNet(count)
    wanted = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items() if not is_batch_norm(name)}
    differ = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    if differ:
        name = differ[0]
        raise CheckpointError(
            f"{path.name} is no SFAMNet: {len(differ)} entries differ, first {name!r}: "
            f"{found.get(name, 'missing')} instead of {wanted.get(name, 'none')}"
        )
    broken = sorted(name for name in wanted if not bool(torch.isfinite(weights[name]).all()))
    if broken:
        raise CheckpointError(
            f"{path.name}: {len(broken)} of {len(wanted)} weights are not finite, first {broken[0]!r}"
        )
    return load_weights(network, {name: weights[name].to(torch.float32) for name in wanted})


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return {name: torch.from_numpy(value) for name, value in read_weights(path).items()}
        loaded = torch.load(path, weights_only=True, map_location="cpu")
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except (OSError, WeightsError) as error:
        raise CheckpointError(f"{path.name}: {error}") from error
    except Exception as error:  # torch.load raises whatever its unpickler met, from KeyError to UnpicklingError
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path.name}: not a weights-only checkpoint ({reason})") from error
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise CheckpointError(f"{path.name}: holds a {type(loaded).__name__}, not a dictionary of weights")
    return {str(name).removeprefix("module."): value for name, value in loaded.items()}


def import_checkpoints(
    path: Path,
    name: str,
    out: Path,
    *,
    folds: int | None = None,
    exclude_subject: str | None = None,
    strict: bool = False,
    gain: Triple = NO_GAIN,
    gain_note: str = "",
    classes: tuple[str, ...] | None = None,
    overwrite: bool = False,
) -> ImportReport:
    """Turn a checkpoint, or a folder of them, into an artifact folder with the published decoding.

    What `origin.json` beside them says, as `sfam evaluate` writes it, goes into the model; without it they count as the
    published ones.

    Args:
        path: a checkpoint file or a folder of leave-one-subject-out checkpoints.
        name: of the model.
        out: the artifact folder to write.
        folds: of a folder, use so many, spread evenly; default all.
        exclude_subject: leave out the fold of this subject (number or name as in the file name).
        strict: refuse a folder with an unusable file instead of skipping it.
        gain: u, v, w are multiplied by this before the network.
        gain_note: how the gain was found, for the model card.
        classes: names in the order of the outputs, neutral last; default the published orders of 5 and 8 outputs.
        overwrite: replace an existing artifact.

    Raises:
        CheckpointError: nothing usable, or with `strict` anything unusable; folds of different class counts, or of a
            training that is not finished.
        FileExistsError: `out` exists.
    """
    told = _origin(path)
    origin = told or PUBLISHED
    networks, skipped = _read_all(path, exclude_subject, strict, None if told is None else told.files)
    counts = sorted({network.classes for network in networks.values()})
    if len(counts) != 1:
        raise CheckpointError(f"{path}: networks of {counts} classes cannot be one ensemble")
    names = classes or CLASSES_BY_COUNT.get(counts[0])
    if names is None or len(names) != counts[0]:
        raise CheckpointError(f"{path}: {counts[0]} classes; name them (published: 5 and 8 with neutral last)")
    if folds is not None:
        networks = _spread(networks, folds, path)
    notes = {"gain_note": gain_note, "evaluated": dict(origin.evaluated)}
    artifact = write_model(
        {Path(file).stem: network for file, network in networks.items()},
        ModelText(name, origin.version, names, origin.training_data, origin.licence, origin.limits),
        PaperSpec(),
        out,
        normalisation=Normalisation(gain=gain),
        window_ms=origin.window_ms,
        extra={"imported_from": path.name, "skipped": skipped, **{what: note for what, note in notes.items() if note}},
        overwrite=overwrite,
    )
    return ImportReport(artifact, tuple(networks), skipped)


def _origin(path: Path) -> FoldOrigin | None:
    try:
        return read_origin(path if path.is_dir() else path.parent)
    except ValueError as error:
        raise CheckpointError(str(error)) from error


def _read_all(
    path: Path, exclude: str | None, strict: bool, known: tuple[str, ...] | None
) -> tuple[dict[str, SFAMNet], dict[str, str]]:
    """Networks by file name, and why others were left out; `known` are the files that may be used, None = all."""
    other = f"not of the run that {ORIGIN_FILE} tells of"
    if not path.is_dir():
        if known is not None and path.name not in known:
            raise CheckpointError(f"{path}: {other}; its fold was stopped, or was trained by another `sfam evaluate`")
        return {path.name: read_checkpoint(path)}, {}
    files = sorted((file for file in path.iterdir() if file.suffix in SUFFIXES), key=_by_number)
    networks: dict[str, SFAMNet] = {}
    skipped: dict[str, str] = {}
    for file in files:
        known_as = (file.stem, file.stem.removeprefix("subject_"), _subject(file))
        if exclude is not None and exclude.lower() in map(str.lower, known_as):
            skipped[file.name] = f"subject {exclude} excluded"
            continue
        if known is not None and file.name not in known:
            skipped[file.name] = other
            continue
        try:
            networks[file.name] = read_checkpoint(file)
        except CheckpointError as error:
            if strict:
                raise
            skipped[file.name] = str(error)
    if exclude is not None and not any(reason.endswith("excluded") for reason in skipped.values()):
        raise CheckpointError(f"{path}: no checkpoint of subject {exclude!r} to exclude")
    if not networks:
        raise CheckpointError(f"{path}: none of {len(files)} files {', '.join(SUFFIXES)} is a usable checkpoint")
    return networks, skipped


def _spread(networks: dict[str, SFAMNet], folds: int, path: Path) -> dict[str, SFAMNet]:
    if not 1 <= folds <= len(networks):
        raise CheckpointError(f"{path}: {folds} folds wanted, {len(networks)} usable")
    files = list(networks)
    chosen = np.linspace(0, len(files) - 1, folds).round().astype(int)
    return {files[i]: networks[files[i]] for i in chosen}


def _subject(file: Path) -> str:
    match = re.search(r"(\d+)$", file.stem)
    return match.group(1) if match else file.stem


def _by_number(file: Path) -> tuple[int, str]:
    subject = _subject(file)
    return (int(subject) if subject.isdigit() else -1, file.name)
