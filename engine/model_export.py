"""A model as files for others: a folder that runs anywhere, with the sha256 of each file."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from .backend import check_parity, open_backend
from .config import EngineConfig
from .model import REQUIRED_FILES, WEIGHTS_FILE, ModelArtifact, ModelError, load_model
from .weights import pack_weights, read_weights

SUMS_FILE = "SHA256SUMS"
CHECKPOINTS = "checkpoints"


def export_model(model: ModelArtifact, out: Path, *, checkpoints: bool = False) -> dict[str, str]:
    """Copy an artifact; the copy appears whole, and only if it reproduces its stored outputs.

    Args:
        model: the artifact.
        out: folder to write; replaced if it is there.
        checkpoints: also each network's weights as `checkpoints/<fold>.safetensors`, which `import_checkpoints` reads.

    Returns:
        File name -> sha256, as in the folder's SHA256SUMS (`sha256sum -c` checks it).

    Raises:
        ModelError: the model is damaged, or has no weights where checkpoints are wanted.
    """
    draft = out.with_name(f".{out.name}.{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        for name in (*REQUIRED_FILES, WEIGHTS_FILE):
            if (model.path / name).is_file():
                shutil.copyfile(model.path / name, draft / name)
        if checkpoints:
            _write_checkpoints(model, draft / CHECKPOINTS)
        copy = load_model(draft)
        backend = open_backend(EngineConfig(backend="onnxruntime"), copy)
        check_parity(backend, copy)
        backend.close()
        sums = _sums(draft)
        text = "".join(f"{digest}  {name}\n" for name, digest in sums.items())
        (draft / SUMS_FILE).write_text(text, encoding="utf-8", newline="\n")
        if out.exists():
            shutil.rmtree(out)
        os.replace(draft, out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return sums


def _write_checkpoints(model: ModelArtifact, folder: Path) -> None:
    if not model.weights_path.is_file():
        raise ModelError(f"model {model.name!r} has no {WEIGHTS_FILE}, so there are no checkpoints to write")
    weights = read_weights(model.weights_path)
    folder.mkdir()
    for fold in model.folds:
        prefix = f"{fold}/" if len(model.folds) > 1 else ""
        part = {name[len(prefix) :]: value for name, value in weights.items() if name.startswith(prefix)}
        (folder / f"{fold}.safetensors").write_bytes(pack_weights(part))


def _sums(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
