from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sfam.engine.plan_cache import PlanKey, cached_plan

KEY = PlanKey("m", "a" * 64, "NVIDIA RTX 4090", "8.9", "tensorrt_rtx 1.7", "fp32")


class Builder:
    """Counts how often it is asked."""

    def __init__(self, data: bytes = b"plan") -> None:
        self.builds = 0
        self._data = data

    def __call__(self) -> bytes:
        self.builds += 1
        return self._data


def test_a_plan_is_built_once_and_then_found(tmp_path: Path) -> None:
    build = Builder()
    assert [cached_plan(KEY, build, tmp_path).action for _ in range(3)] == ["built", "cached", "cached"]
    assert build.builds == 1
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".plan"]


@pytest.mark.parametrize("change", [{"model_sha256": "b" * 64}, {"library": "tensorrt_rtx 1.8"}])
def test_a_stale_plan_is_rebuilt_with_one_line(
    tmp_path: Path, change: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    build = Builder()
    cached_plan(KEY, build, tmp_path)
    plan = cached_plan(replace(KEY, **change), build, tmp_path)
    assert (plan.action, build.builds) == ("rebuilt", 2)
    assert next(iter(change.values())) in plan.reason
    assert len(caplog.records) == 1


def test_another_gpu_or_precision_has_its_own_plan(tmp_path: Path) -> None:
    build = Builder()
    for key in (KEY, replace(KEY, gpu="NVIDIA L4"), replace(KEY, precision="fp16"), KEY):
        cached_plan(key, build, tmp_path)
    assert build.builds == 3


def test_a_damaged_cache_is_rebuilt(tmp_path: Path) -> None:
    build = Builder()
    cached_plan(KEY, build, tmp_path)
    plan, description = tmp_path / f"{KEY.stem}.plan", tmp_path / f"{KEY.stem}.json"
    for number, (path, damage) in enumerate(((plan, b"pl"), (plan, b""), (description, b"{")), 2):
        path.write_bytes(damage)
        assert cached_plan(KEY, build, tmp_path).action == "rebuilt"
        assert build.builds == number
    plan.unlink()
    assert cached_plan(KEY, build, tmp_path).data == b"plan"


def test_a_build_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail() -> bytes:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        cached_plan(KEY, fail, tmp_path)
    assert list(tmp_path.iterdir()) == []
