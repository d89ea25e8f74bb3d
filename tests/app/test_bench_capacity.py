from __future__ import annotations

from sfam.app.bench_capacity import TOGETHER, bench_capacity


def test_capacity_is_measured_alone_and_with_a_shared_network() -> None:
    found = bench_capacity(0.7)
    ratios = found["ratios"]
    assert isinstance(ratios, dict)
    assert set(ratios) == {"cameras_per_core_at_30_fps", f"cameras_per_core_at_30_fps_{TOGETHER}_together"}
    assert all(value > 0 for value in ratios.values())
