from __future__ import annotations

import numpy as np
import pytest
import torch

from sfam.engine.network import SFAMNet, load_weights
from tests.engine.checkpoints import GOLDEN, golden_forward, published, seeded


@pytest.mark.parametrize(("kind", "subject"), GOLDEN)
def test_network_computes_what_the_authors_network_computes(kind: str, subject: int) -> None:
    x, spot, logits = golden_forward(kind, subject)
    u, v, w = torch.chunk(torch.from_numpy(x), 3, dim=1)
    with torch.inference_mode():
        found_spot, found_logits = published(kind, subject)(u, v, w)
    assert np.abs(found_spot.numpy() - spot).max() <= 1e-4
    assert (np.abs(found_logits.numpy() - logits) / (1 + np.abs(logits))).max() <= 1e-4


def test_network_holds_the_published_number_of_parameters() -> None:
    assert sum(p.numel() for p in SFAMNet(5).parameters()) == 7207


def test_batch_norm_entries_are_dropped_but_unknown_ones_refused() -> None:
    weights = dict(seeded(1).state_dict())
    weights["c1.0.bn1.weight"] = torch.ones(3)
    load_weights(SFAMNet(5), weights)
    with pytest.raises(RuntimeError, match="conv9"):
        load_weights(SFAMNet(5), {**weights, "conv9.weight": torch.ones(1)})


def test_logits_are_the_score_before_its_sigmoid() -> None:
    network, maps = seeded(2), torch.randn(3, 1, 42, 42)
    with torch.inference_mode():
        assert torch.equal(torch.sigmoid(network.logits(maps, maps, maps)[0]), network(maps, maps, maps)[0])
