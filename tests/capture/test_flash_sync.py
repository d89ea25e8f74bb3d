from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from sfam.capture.flash_sync import FEWEST_FLASHES, SyncResult, keep_sync, last_sync, measure_sync, sync_file
from sfam.capture.source import SourceError

FRAME_NS = 33_333_333
LIT_NS = 250_000_000


def seen(
    delay_ms: float, noise: float = 0.4, rise: float = 30.0, seed: int = 1
) -> tuple[list[int], list[float], list[int]]:
    """A camera at 30 fps that shows the screen as it was `delay_ms` before each picture's stamp."""
    rng = np.random.default_rng(seed)
    flashes = np.cumsum(rng.uniform(1.1e9, 1.6e9, 25)).astype(np.int64)
    times = np.arange(0, flashes[-1] + 10**9, FRAME_NS)
    shown = times - round(delay_ms * 1e6)
    lit = ((shown[:, None] >= flashes) & (shown[:, None] < flashes + LIT_NS)).any(axis=1)
    levels = 60 + rise * lit + rng.normal(0, noise, times.size)
    return times.tolist(), levels.tolist(), flashes.tolist()


@pytest.mark.parametrize("delay_ms", [0.0, 12.0, 80.0, 300.0, -50.0])
def test_a_known_delay_is_found_to_half_a_frame(delay_ms: float) -> None:
    result = measure_sync("test", *seen(delay_ms))
    assert (result.n, result.shown) == (25, 25)
    assert result.offset_us / 1e3 == pytest.approx(delay_ms + 16.7, abs=8)
    assert delay_ms - 0.1 <= result.smallest_us / 1e3 <= result.largest_us / 1e3 <= delay_ms + 33.4
    assert result.t_error_us == max(abs(result.smallest_us), abs(result.largest_us))
    assert 0 < result.jitter_us < 17_000
    assert result.frame_us == pytest.approx(33_333, abs=1)


def test_flashes_that_do_not_stand_out_are_not_counted() -> None:
    times, levels, flashes = seen(40.0)
    covered = [60.0 if flashes[3] <= t_ns < flashes[8] else level for t_ns, level in zip(times, levels, strict=True)]
    result = measure_sync("test", times, covered, flashes)
    assert (result.n, result.shown) == (20, 25)


@pytest.mark.parametrize(("rise", "noise"), [(0.0, 0.4), (2.0, 0.1), (5.0, 6.0)])
def test_without_enough_flashes_nothing_is_said(rise: float, noise: float) -> None:
    with pytest.raises(SourceError, match=rf"of 25 flashes, {FEWEST_FLASHES} are needed; turn the camera"):
        measure_sync("test", *seen(40.0, noise, rise))


def test_a_result_is_kept_for_its_camera_and_nothing_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("XDG_DATA_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    result = measure_sync("12345", *seen(40.0))
    assert last_sync("12345") is None
    keep_sync(result)
    assert last_sync("12345") == result
    assert last_sync("other") is None
    sync_file("12345").write_text("{}")
    with pytest.raises(SourceError, match="make it anew with sfam sync-test"):
        last_sync("12345")


def test_the_sentence_names_offset_jitter_and_n() -> None:
    result = SyncResult("cam", 20, 25, 41_000.0, 9_600.0, 30_100.0, 55_000.0, 55_000.0, 33_333.0)
    assert result.in_words() == (
        "cam: capture times are +41.0 ms off (median of n = 20 flashes of 25), jitter 9.6 ms, from +30.1 to +55.0 ms; "
        "one frame takes 33.3 ms"
    )
    assert dataclasses.asdict(result)["t_error_us"] == 55_000.0
