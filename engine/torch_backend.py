"""torch on the CPU: the reference. Rebuilds the network from the artifact's weights, not from its graph.

So its parity check is independent of the ONNX file: both must reproduce the stored outputs by different roads.
"""

from __future__ import annotations

import hashlib

from .backend import Backend, Float32, MissingBackendError, Outputs
from .model import ModelArtifact, ModelError
from .weights import WeightsError, read_weights

try:
    import torch

    from .network import Judge, networks_from
except ImportError as error:
    raise MissingBackendError(f"torch cannot be imported ({error}); pip install sfam-live[train]") from error


class TorchBackend(Backend):
    """Eager execution in inference mode."""

    name = "torch"

    def __init__(self, artifact: ModelArtifact, threads: int = 1) -> None:
        super().__init__(artifact)
        if not artifact.weights_path.is_file():
            raise ModelError(f"model {artifact.name!r} has no {artifact.weights_path.name}, which torch needs")
        digest = hashlib.sha256(artifact.weights_path.read_bytes()).hexdigest()
        if digest != artifact.description.get("weights_sha256", digest):
            raise ModelError(
                f"{artifact.weights_path}: changed or damaged (sha256 {digest[:12]}); install the model again"
            )
        try:
            networks = networks_from(read_weights(artifact.weights_path), artifact.folds)
        except (WeightsError, RuntimeError, KeyError) as error:
            raise ModelError(f"model {artifact.name!r}: {error}") from error
        torch.set_num_threads(threads)
        self._judge = Judge(networks, artifact.normalisation).eval()

    def outputs(self, maps: Float32) -> Outputs:
        """See `Backend.outputs`."""
        x = torch.from_numpy(maps)
        with torch.inference_mode():
            spot, logits, spread = self._judge(x[:, 0:1], x[:, 1:2], x[:, 2:3])
        return Outputs(spot.numpy(), logits.numpy(), spread.numpy() if len(self.artifact.folds) > 1 else None)
