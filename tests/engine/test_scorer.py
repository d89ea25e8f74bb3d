from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sfam.engine.auto_backend import AutoBackend, open_auto
from sfam.engine.backend import Backend, Float32, Outputs, open_backend
from sfam.engine.config import EngineConfig
from sfam.engine.events import Score
from sfam.engine.fields import smooth_fields
from sfam.engine.model import ModelArtifact, ModelError
from sfam.engine.scorer import Scorer
from sfam.stream.flow_window import FlowWindow
from tests.engine.checkpoints import artifact, seeded

WAIT_S = 60.0


def windows(count: int, track: int = 0, seed: int = 0) -> list[FlowWindow]:
    maps = smooth_fields(count, seed)
    return [FlowWindow(track, i, i + 6, i * 10, i * 10 + 60, maps[i]) for i in range(count)]


def opened(model: ModelArtifact, name: str = "onnxruntime") -> Backend:
    return open_backend(EngineConfig.model_validate({"backend": name}), model)


class InEights(Backend):
    """onnxruntime as an engine is that must be fed eight windows at a time."""

    name = "in-eights"
    steady_batch = 8

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner.artifact)
        self.inner = inner
        self.sizes: list[int] = []

    def outputs(self, maps: Float32) -> Outputs:
        self.sizes.append(len(maps))
        return self.inner.outputs(maps)


def test_a_window_scores_the_same_bits_whatever_is_judged_beside_it(tmp_path: Path) -> None:
    model = artifact(tmp_path, {str(k): seeded(k) for k in range(3)})
    given = windows(21)
    for backend in (opened(model), InEights(opened(model))):
        scorer = Scorer(backend, "m")
        together = scorer.score_batch(given)
        assert together == [score for window in given for score in scorer.score_batch([window])]
        assert together == [score for k in range(0, 21, 5) for score in scorer.score_batch(given[k : k + 5])]
        assert all(score.spread is not None and score.spread >= 0 for score in together)
        assert scorer.summary["windows"] == {backend.name: 63}
    assert set(backend.sizes) == {8}  # type: ignore[attr-defined]


def test_scores_carry_what_their_windows_say(tmp_path: Path) -> None:
    model = artifact(tmp_path)
    window = replace(windows(1, track=4)[0], flags=("blink",))
    (score,) = Scorer(opened(model), model.model_id).score_batch([window])
    assert (score.track_id, score.frame, score.from_frame, score.flags) == (4, 6, 0, ("blink",))
    assert score.model_id == model.model_id
    assert score.spread is None
    assert sum(score.emotion) == pytest.approx(1, abs=1e-6)
    assert Scorer(opened(model), "m").score_batch([]) == []


def run_cameras(scorer: Scorer, streams: list[list[FlowWindow]]) -> list[list[Score]]:
    """Each stream in a thread of its own, window by window, as cameras in one process are judged."""
    found: list[list[Score]] = [[] for _ in streams]
    failures: list[Exception] = []

    def camera(k: int) -> None:
        try:
            for window in streams[k]:
                found[k] += scorer.score_batch([window])
        except Exception as error:
            failures.append(error)
        finally:
            scorer.leave()

    for _ in streams:
        scorer.join()
    threads = [threading.Thread(target=camera, args=(k,)) for k in range(len(streams))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive()
    if failures:
        raise failures[0]
    return found


def test_cameras_judged_together_get_the_scores_they_get_alone(tmp_path: Path) -> None:
    backend = InEights(opened(artifact(tmp_path)))
    streams = [windows(30, track, seed=track) for track in range(3)] + [windows(3, 9)]
    alone = [Scorer(backend, "m").score_batch(stream) for stream in streams]
    scorer = Scorer(backend, "m", max_batch_delay_ms=WAIT_S * 1e3)
    assert run_cameras(scorer, streams) == alone
    # Nobody runs out of patience here, so every batch holds all cameras that are still there.
    assert scorer.batches == 30
    assert scorer.shared_batches == 30


def test_a_camera_that_waits_in_vain_is_judged_after_the_delay(tmp_path: Path) -> None:
    scorer = Scorer(opened(artifact(tmp_path)), "m", max_batch_delay_ms=20.0)
    for _ in range(2):
        scorer.join()
    assert len(scorer.score_batch(windows(1))) == 1
    assert (scorer.batches, scorer.shared_batches) == (1, 0)


def test_a_failing_engine_fails_every_camera_that_waits(tmp_path: Path) -> None:
    scorer = Scorer(InEights(opened(artifact(tmp_path))), "m", max_batch_delay_ms=1000.0)
    broken = replace(windows(1)[0], maps=np.zeros((3, 41, 42), np.float32))
    with pytest.raises(ValueError):
        run_cameras(scorer, [[broken], [broken]])


# --- auto: another engine takes over -----------------------------------------------------------------------------


def taken_over(auto: AutoBackend, scorer: Scorer, given: list[FlowWindow], ready: threading.Event) -> list[Score]:
    """Judge half of the windows, let the other engine become ready, judge the rest."""
    half = len(given) // 2
    scores = [score for window in given[:half] for score in scorer.score_batch([window])]
    assert auto.name == "onnxruntime"
    ready.set()
    auto._builder.join(WAIT_S)
    assert not auto.is_building
    return scores + [score for window in given[half:] for score in scorer.score_batch([window])]


@pytest.mark.parametrize("size", [1, 8])
def test_another_engine_takes_over_between_windows_and_none_is_lost(tmp_path: Path, size: int) -> None:
    model, ready, said = artifact(tmp_path), threading.Event(), list[str]()

    def slowly() -> Backend:
        ready.wait(WAIT_S)
        torch = opened(model, "torch")
        return torch if size == 1 else InEights(torch)

    auto = AutoBackend(model, opened(model), slowly, said.append)
    scorer = Scorer(auto, "m")
    given = windows(20)
    scores = taken_over(auto, scorer, given, ready)
    assert [score.frame for score in scores] == [window.frame for window in given]
    after = "torch" if size == 1 else "in-eights"
    assert scorer.summary["windows"] == {"onnxruntime": 10, after: 10}
    assert (auto.swaps, auto.name, len(said)) == (1, after, 1)
    assert auto.parity is not None
    before, later = Scorer(opened(model), "m"), Scorer(opened(model, "torch"), "m")
    assert scores[:10] == before.score_batch(given[:10])
    assert [s.spot for s in scores[10:]] == pytest.approx([s.spot for s in later.score_batch(given[10:])], abs=1e-6)
    auto.close()


def test_an_engine_that_computes_something_else_stops_the_run_when_it_takes_over(tmp_path: Path) -> None:
    model, ready = artifact(tmp_path / "a", seeded(1)), threading.Event()
    other = artifact(tmp_path / "b", seeded(2))
    auto = AutoBackend(model, opened(model), lambda: opened(other, "torch"), lambda text: None)
    with pytest.raises(ModelError, match="off its stored outputs"):
        taken_over(auto, Scorer(auto, "m"), windows(4), ready)


def test_auto_says_why_it_takes_what_it_takes(tmp_path: Path) -> None:
    model, said = artifact(tmp_path), list[str]()
    replay = open_auto(EngineConfig(), model, may_swap=False, say=said.append)
    assert replay.name == "onnxruntime"
    assert "replay" in str(replay.summary["why"])
    assert not said
    live = open_auto(EngineConfig(), model, may_swap=True, say=said.append)
    assert live.name == "onnxruntime"
    # On a machine with a GPU TensorRT is on its way instead, and nothing is said before it is there.
    assert isinstance(live, AutoBackend) or len(said) == 1
    live.close()


@pytest.mark.parametrize("error", [ModelError("no GPU here"), RuntimeError("out of memory")])
def test_an_engine_that_cannot_be_built_leaves_the_first_one_in_place(tmp_path: Path, error: Exception) -> None:
    model, ready, said = artifact(tmp_path), threading.Event(), list[str]()

    def fail() -> Backend:
        raise error

    auto = AutoBackend(model, opened(model), fail, said.append)
    scorer = Scorer(auto, "m")
    assert len(taken_over(auto, scorer, windows(6), ready)) == 6
    assert scorer.summary["windows"] == {"onnxruntime": 6}
    assert len(said) == 1
    assert str(error) in said[0]
    auto.close()
