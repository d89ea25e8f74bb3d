"""Models for tests: the authors' checkpoints where they lie, otherwise seeded random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sfam.engine.decoding import PaperSpec
from sfam.engine.export import ModelText, write_model
from sfam.engine.model import ModelArtifact
from sfam.engine.network import SFAMNet, load_weights
from sfam.engine.normalisation import Normalisation
from tests.shared_data import shared

CLASSES = {
    "4emo": ("negative", "positive", "surprise", "others", "neutral"),
    "7emo": ("disgust", "surprise", "others", "fear", "anger", "sad", "happy", "neutral"),
}
GOLDEN = (("4emo", 1), ("4emo", 200), ("7emo", 1), ("7emo", 77))


def published(kind: str, subject: int) -> SFAMNet:
    path = shared(f"sfamnet/pretrained_weights/{kind}/subject_{subject}.pkl")
    weights = torch.load(path, weights_only=True, map_location="cpu")
    return load_weights(SFAMNet(len(CLASSES[kind])), weights)


def seeded(seed: int, classes: int = 5) -> SFAMNet:
    torch.manual_seed(seed)
    return SFAMNet(classes).eval()


def golden_forward(kind: str, subject: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    with np.load(shared("golden/sfamnet_forward.npz")) as archive:
        spot, logits = archive[f"{kind}_{subject}_spot"], archive[f"{kind}_{subject}_emotion_logits"]
        return archive["x"], spot[:, 0], logits


def artifact(
    folder: Path, network: SFAMNet | dict[str, SFAMNet] | None = None, normalisation: Normalisation | None = None
) -> ModelArtifact:
    network = network or seeded(0)
    first = network if isinstance(network, SFAMNet) else next(iter(network.values()))
    classes = next(names for names in CLASSES.values() if len(names) == first.classes)
    text = ModelText("tiny", "1", classes, "nothing: seeded random weights", "Apache-2.0", ("knows nothing",))
    return write_model(network, text, PaperSpec(), folder / "tiny", normalisation=normalisation)
