"""SFAMNet in torch: three attention streams, one spotting head, one emotion head.

Source: Liong et al., "SFAMNet: A scene flow attention-based micro-expression network", Neurocomputing 566 (2024).
State-dict names are those of the authors' checkpoints. Their batch norms are stored but never applied, so they are
left out here and dropped on loading. Used for training, export and the torch backend only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, relu

from .normalisation import Normalisation
from .weights import SMALLEST_PROBABILITY, Weights

STREAM_CHANNELS = 3
HEAD_CHANNELS = 8
HEAD_FEATURES = HEAD_CHANNELS * 7 * 7


class ChannelGate(nn.Module):
    """CBAM channel attention: one shared bottleneck over the average- and the max-pooled channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Flatten(), nn.Linear(channels, 1), nn.ReLU(), nn.Linear(1, channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> gated (N, C, H, W)."""
        gate: Tensor = self.mlp(x.mean(dim=(2, 3))) + self.mlp(x.amax(dim=(2, 3)))
        return x * torch.sigmoid(gate)[:, :, None, None]


class SpatialConv(nn.Module):
    """The 7x7 convolution of the spatial gate; a module of its own because the checkpoints name it so."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 2, H, W) -> (N, 1, H, W)."""
        y: Tensor = self.conv(x)
        return y


class SpatialGate(nn.Module):
    """CBAM spatial attention over the maximum and the mean across channels."""

    def __init__(self) -> None:
        super().__init__()
        self.spatial = SpatialConv()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> gated (N, C, H, W)."""
        pooled = torch.cat((x.amax(dim=1, keepdim=True), x.mean(dim=1, keepdim=True)), dim=1)
        return x * torch.sigmoid(self.spatial(pooled))


class CBAM(nn.Module):
    """Channel gate, then spatial gate (Woo et al., ECCV 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.ChannelGate = ChannelGate(channels)
        self.SpatialGate = SpatialGate()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> gated (N, C, H, W)."""
        y: Tensor = self.SpatialGate(self.ChannelGate(x))
        return y


class AttentionBlock(nn.Module):
    """One stream: two convolutions, CBAM, plus a 1x1 projection of the input."""

    def __init__(self, channels: int = STREAM_CHANNELS) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, channels, 5, padding=2, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 5, padding=2, bias=False)
        self.cbam = CBAM(channels)
        self.downsample = nn.Sequential(nn.Conv2d(1, channels, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, 42, 42) -> (N, C, 42, 42)."""
        y: Tensor = self.cbam(self.conv2(relu(self.conv1(x))))
        return relu(y + self.downsample(x))


class SFAMNet(nn.Module):
    """The published network on maps of scene flow.

    Args:
        classes: emotion classes including neutral, which is the last.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.c1 = nn.Sequential(AttentionBlock())
        self.c2 = nn.Sequential(AttentionBlock())
        self.c3 = nn.Sequential(AttentionBlock())
        self.conv1 = nn.Conv2d(3 * STREAM_CHANNELS, HEAD_CHANNELS, 5, padding=2)
        self.conv2 = nn.Conv2d(3 * STREAM_CHANNELS, HEAD_CHANNELS, 5, padding=2)
        self.fc_spot = nn.Linear(HEAD_FEATURES, 1)
        self.fc_recog = nn.Linear(HEAD_FEATURES, classes)

    @property
    def classes(self) -> int:
        """Emotion classes, neutral included."""
        return self.fc_recog.out_features

    def logits(self, u: Tensor, v: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward`, the spotting score before its sigmoid: what a training loss wants."""
        streams = (max_pool2d(stream(x), 3) for stream, x in ((self.c1, u), (self.c2, v), (self.c3, w)))
        x = torch.cat(tuple(streams), dim=1)
        spot = self.fc_spot(max_pool2d(self.conv1(x), 3, 2, 1).flatten(1))
        emotion = self.fc_recog(max_pool2d(self.conv2(x), 3, 2, 1).flatten(1))
        return spot[:, 0], emotion

    def forward(self, u: Tensor, v: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        """Maps u, v, w (N, 1, 42, 42) -> spot (N,) in 0..1 and emotion logits (N, classes)."""
        spot, emotion = self.logits(u, v, w)
        return torch.sigmoid(spot), emotion


def load_weights(network: SFAMNet, weights: Mapping[str, Tensor]) -> SFAMNet:
    """Fill the network from a state dict; batch-norm entries, stored but never applied, are dropped.

    Raises:
        RuntimeError: a weight is missing, unknown or of another shape.
    """
    network.load_state_dict({name: value for name, value in weights.items() if not is_batch_norm(name)})
    return network.eval()


def is_batch_norm(name: str) -> bool:
    """Whether a checkpoint entry belongs to one of the batch norms that are never applied."""
    return any(part in {"bn", "bn1", "bn2"} for part in name.split("."))


class Judge(nn.Module):
    """Normalisation and one or several networks: what an exported graph computes, in torch.

    Several networks are an ensemble: mean score, mean probabilities (given back as their logarithm) and the standard
    deviation of the scores.
    """

    def __init__(self, networks: Sequence[SFAMNet], normalisation: Normalisation) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self._gain = normalisation.gain
        self._scale = normalisation.scale

    def forward(self, u: Tensor, v: Tensor, w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Maps as measured, each (N, 1, 42, 42) -> spot (N,), emotion logits (N, C), spread of spot (N,)."""
        maps = [self._normalised(x, i) for i, x in enumerate((u, v, w))]
        outputs = [network(*maps) for network in self.networks]
        if len(outputs) == 1:
            return outputs[0][0], outputs[0][1], torch.zeros_like(outputs[0][0])
        spots = torch.stack([spot for spot, _ in outputs])
        probabilities = torch.stack([torch.softmax(logits, dim=1) for _, logits in outputs]).mean(dim=0)
        logits = torch.log(probabilities.clamp_min(SMALLEST_PROBABILITY))
        return spots.mean(dim=0), logits, spots.std(dim=0, correction=0)

    def _normalised(self, x: Tensor, channel: int) -> Tensor:
        x = x * self._gain[channel]
        if self._scale is None:
            return x
        return torch.sign(x) * torch.log(1 + x.abs() / self._scale[channel])


def networks_from(weights: Weights, folds: Sequence[str]) -> list[SFAMNet]:
    """Networks from an artifact's weights; those of an ensemble are prefixed with their fold's name and a slash.

    Raises:
        RuntimeError: a weight is missing, unknown or of another shape.
        KeyError: a fold is not there.
    """
    networks = []
    for prefix in [""] if len(folds) == 1 else [f"{fold}/" for fold in folds]:
        part = {
            name[len(prefix) :]: torch.from_numpy(value) for name, value in weights.items() if name.startswith(prefix)
        }
        networks.append(load_weights(SFAMNet(len(part["fc_recog.bias"])), part))
    return networks


def weights_of(network: SFAMNet) -> dict[str, NDArray[np.float32]]:
    """A network's parameters as arrays."""
    return {name: value.detach().cpu().contiguous().numpy() for name, value in network.state_dict().items()}
