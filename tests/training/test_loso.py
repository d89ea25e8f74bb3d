from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from openpyxl import load_workbook  # noqa: E402

from sfam.engine.network import SFAMNet  # noqa: E402
from sfam.training.batched_folds import run_folds_batched  # noqa: E402
from sfam.training.clip_windows import ClipWindows, no_maps  # noqa: E402
from sfam.training.dataset import AnnotatedInterval, DataSetError  # noqa: E402
from sfam.training.loso import (  # noqa: E402
    GAINS,
    FoldResult,
    FoldTask,
    fold_gain,
    fold_network,
    load_clips,
    run_fold,
    run_folds,
    score_subject,
)
from sfam.training.published import PublishedRecipe, Samples, draw_samples, fit_published  # noqa: E402
from tests.shared_data import shared  # noqa: E402
from tests.training.stand_in import InThisProcess, write_processed  # noqa: E402

EMOTIONS = ("happy", "sad", "surprise", "others")
SHORT = PublishedRecipe(steps=3, batch=32)


def clip(seed: int, subject: str = "spNO.1", windows: int = 60) -> ClipWindows:
    """Two micros whose rise shows as a larger u; every frame has a window."""
    rng = np.random.default_rng(seed)
    maps = rng.normal(0, 0.1, (windows, 3, 42, 42)).astype(np.float32)
    intervals = tuple(AnnotatedInterval("micro", at, at + 8, at + 14, EMOTIONS[(seed + at) % 4]) for at in (10, 36))
    for one in intervals:
        maps[one.onset + 4 : one.apex + 1, 0] += 1.0
    apex = rng.normal(0, 0.1, (2, 3, 42, 42)).astype(np.float32) + 1.0
    frames = np.arange(windows, dtype=np.int64)
    return ClipWindows(subject, "a", maps, frames, windows, intervals, apex, tuple(one.emotion for one in intervals))


def test_samples_are_balanced_one_to_one() -> None:
    samples = draw_samples([clip(0), clip(1)], 4, PublishedRecipe(), 0)
    assert samples.spot.sum() * 2 == len(samples.spot)
    rising = 2 * 2 * 3
    assert len(samples.spot) == 2 * (rising + 4)
    assert ((samples.emotion == 4) == (samples.spot == 0)).all()


def test_weights_are_balanced_and_neutral_has_none() -> None:
    emotion = np.array([0, 0, 0, 1, 2, 2, 4, 4, 4])
    weights = Samples(np.zeros((9, 3, 42, 42), np.float32), np.zeros(9, np.float32), emotion, 4).weights()
    assert weights == pytest.approx([6 / (4 * 3), 6 / 4, 6 / (4 * 2), 0.0, 0.0])


def test_the_recipe_learns_and_repeats_itself() -> None:
    samples = draw_samples([clip(seed) for seed in range(3)], 4, SHORT, 0)
    recipe = replace(SHORT, steps=30, rate=3e-3)

    def run() -> tuple[list[float], SFAMNet]:
        torch.manual_seed(0)
        network = SFAMNet(5)
        return fit_published(network, samples, recipe, 0), network

    losses, network = run()
    assert len(losses) == 30
    assert np.mean(losses[-5:]) < 0.7 * losses[0]
    assert run()[0] == losses
    result = score_subject(network, "x", [clip(9)], 4)
    trace = np.array(result.traces[0].spot)
    assert trace[7:10].mean() > trace[12:17].mean()


def test_a_first_step_is_what_the_published_formula_gives() -> None:
    samples = draw_samples([clip(0)], 4, SHORT, 0)
    recipe = PublishedRecipe(steps=1, scale_percent=(100, 100))
    torch.manual_seed(0)
    network = SFAMNet(5)
    with torch.no_grad():
        spot, logits = network(*torch.chunk(torch.from_numpy(samples.maps), 3, dim=1))
    mse = float(((spot.numpy() - samples.spot) ** 2).mean())
    picked = torch.log_softmax(logits, 1).numpy()[np.arange(len(samples.emotion)), samples.emotion]
    weights = samples.weights()[samples.emotion]
    expected = 0.9 * mse + 0.1 * float(-(weights * picked).sum() / weights.sum())
    assert fit_published(network, samples, recipe, 0)[0] == pytest.approx(expected, rel=1e-4)


def test_a_batch_without_emotions_does_not_poison_the_weights() -> None:
    samples = draw_samples([clip(0)], 4, SHORT, 0)
    only_rest = Samples(samples.maps, samples.spot * 0, np.full_like(samples.emotion, 4), 4)
    assert np.isfinite(fit_published(SFAMNet(5), only_rest, SHORT, 0)).all()


def test_non_finite_data_stops_the_fold() -> None:
    samples = draw_samples([clip(0)], 4, SHORT, 0)
    samples.maps[0] = np.inf
    with pytest.raises(FloatingPointError, match="after step"):
        fit_published(SFAMNet(5), samples, replace(SHORT, batch=1024), 0)


def test_nothing_annotated_is_said() -> None:
    empty = replace(clip(0), intervals=(), apex_maps=no_maps(), apex_emotions=())
    with pytest.raises(DataSetError, match="nothing to learn from"):
        draw_samples([empty], 4, SHORT, 0)


@pytest.fixture
def processed(tmp_path: Path) -> Path:
    """Subjects 1, 2, 3: the set of four NaN folds holds 3."""
    return write_processed(tmp_path, ("spNO.1", "spNO.2", "spNO.3"))


@pytest.fixture
def patients_and_controls(tmp_path: Path) -> Path:
    """Three people with one number."""
    return write_processed(tmp_path, ("P01", "C01", "spNO.1"))


@pytest.mark.parametrize("classes", [4, 7])
def test_imported_folds_score_only_their_own_subject(processed: Path, tmp_path: Path, classes: int) -> None:
    annotation, weights = shared("sfamnet/annotation"), shared("sfamnet/pretrained_weights")
    results = run_folds(processed, tmp_path / "out", classes, InThisProcess(), annotation=annotation, weights=weights)
    assert [(one.subject, one.status) for one in results] == [
        ("spNO.1", "scored"), ("spNO.2", "scored"), ("spNO.3", "non_finite")
    ]  # fmt: skip
    assert "subject_3.pkl" in results[2].reason
    own = [one for one in load_clips(processed, annotation) if one.subject == "spNO.1"]
    from sfam.engine.checkpoint import read_checkpoint

    network = read_checkpoint(weights / f"{classes}emo" / "subject_1.pkl")
    expected = score_subject(network, "spNO.1", own, classes)
    assert results[0].traces == expected.traces
    assert len(results[0].traces[0].spot) == 400


def test_folds_train_without_their_subject_and_resume(processed: Path, tmp_path: Path) -> None:
    annotation, out = shared("sfamnet/annotation"), tmp_path / "out"
    told: list[tuple[int, int, FoldResult]] = []
    first = run_folds(
        processed, out, 4, InThisProcess(), annotation=annotation, recipe=SHORT, tell=lambda *one: told.append(one)
    )
    assert [one.status for one in first] == ["scored"] * 3
    assert told == [(1, 3, first[0]), (2, 3, first[1]), (3, 3, first[2])]
    stamp = (out / "weights" / "subject_1.pkl").stat().st_mtime_ns
    (out / "folds" / "2.json").write_text("{ cut off")
    again = run_folds(processed, out, 4, InThisProcess(), annotation=annotation, recipe=SHORT)
    assert [one.traces for one in again] == [one.traces for one in first]
    assert (out / "weights" / "subject_1.pkl").stat().st_mtime_ns == stamp
    scored = run_folds(processed, tmp_path / "s", 4, InThisProcess(), annotation=annotation, weights=out / "weights")
    assert [one.predicted for one in scored] == [one.predicted for one in first]
    assert json.loads((out / "folds" / "1.json").read_text())["result"]["subject"] == "spNO.1"


def test_two_people_with_one_number_are_two_folds_each_scored_by_the_network_that_never_saw_them(
    patients_and_controls: Path, tmp_path: Path
) -> None:
    annotation, out = shared("sfamnet/annotation"), tmp_path / "out"
    trained = run_folds(patients_and_controls, out, 4, InThisProcess(), annotation=annotation, recipe=SHORT)
    assert [one.subject for one in trained] == ["C01", "P01", "spNO.1"]
    assert {path.name for path in (out / "weights").glob("*.pkl")} == {
        "subject_1.pkl", "subject_c01.pkl", "subject_p01.pkl"
    }  # fmt: skip
    scored = run_folds(
        patients_and_controls, tmp_path / "s", 4, InThisProcess(), annotation=annotation, weights=out / "weights"
    )
    for one, other in zip(scored, trained, strict=True):
        np.testing.assert_allclose(one.traces[0].spot, other.traces[0].spot, atol=1e-6)


@pytest.mark.parametrize("other", ["1", "spno.1", "sub-01"])
def test_one_person_under_two_names_is_refused(tmp_path: Path, other: str) -> None:
    data = write_processed(tmp_path, ("spNO.1", other))
    with pytest.raises(DataSetError, match=f"'{other}'.*would both be kept in subject_1.pkl"):
        run_folds(data, tmp_path / "out", 4, InThisProcess(), annotation=shared("sfamnet/annotation"), recipe=SHORT)
    assert not (tmp_path / "out").exists()


def test_folds_in_one_graph_give_what_folds_alone_give_and_resume(processed: Path, tmp_path: Path) -> None:
    annotation = shared("sfamnet/annotation")
    alone = run_folds(processed, tmp_path / "a", 4, InThisProcess(), annotation=annotation, recipe=SHORT)
    told: list[tuple[int, int]] = []
    out = tmp_path / "b"
    both = [
        run_folds_batched(
            processed, out, 4, annotation=annotation, recipe=SHORT, folds_at_once=2,
            tell=lambda done, total, _: told.append((done, total)),
        )
        for _ in range(2)
    ]  # fmt: skip
    assert both[0] == both[1]
    assert told == [(1, 3), (2, 3), (3, 3)], "finished folds are not trained again"
    for one, other in zip(alone, both[0], strict=True):
        assert (one.subject, one.status, one.predicted) == (other.subject, other.status, other.predicted)
        np.testing.assert_allclose(one.traces[0].spot, other.traces[0].spot, atol=1e-4)
    assert (out / "weights" / "subject_1.pkl").exists()


def test_a_gain_is_fitted_for_each_fold_from_the_other_subjects_alone(processed: Path, tmp_path: Path) -> None:
    annotation, weights = shared("sfamnet/annotation"), shared("sfamnet/pretrained_weights")
    results = run_folds(
        processed, tmp_path / "out", 4, InThisProcess(), annotation=annotation, weights=weights, gain=None
    )
    clips = load_clips(processed, annotation)
    network = fold_network(weights, "spNO.1", 4)
    others = [clip for clip in clips if clip.subject != "spNO.1"]
    assert results[0].gain == fold_gain(network, others, 0)
    assert results[0].gain in (1.0, *GAINS)
    own = [clip for clip in clips if clip.subject == "spNO.1"]
    expected = score_subject(network, "spNO.1", own, 4, gain=results[0].gain)
    assert results[0].traces == expected.traces
    plain = run_folds(processed, tmp_path / "out", 4, InThisProcess(), annotation=annotation, weights=weights)
    assert plain[0].gain == 1.0, "a run with another gain is another run"


def test_a_fold_without_weights_is_named(processed: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "out" / "folds").mkdir(parents=True)
    task = FoldTask("spNO.1", processed, shared("sfamnet/annotation"), 4, tmp_path / "out", tmp_path / "empty")
    assert run_fold(task).status == "no_weights"


def test_folds_are_scored_again_when_their_weights_change(processed: Path, tmp_path: Path) -> None:
    published, weights = shared("sfamnet/pretrained_weights/4emo"), tmp_path / "weights"
    weights.mkdir()

    def scored() -> FoldResult:
        out, annotation = tmp_path / "out", shared("sfamnet/annotation")
        return run_folds(processed, out, 4, InThisProcess(), annotation=annotation, weights=weights)[0]

    assert scored().status == "no_weights"
    shutil.copyfile(published / "subject_1.pkl", weights / "subject_1.pkl")
    first = scored()
    assert first.status == "scored"
    shutil.copyfile(published / "subject_2.pkl", weights / "subject_1.pkl")
    assert scored().traces != first.traces


def test_folds_are_trained_again_when_the_tables_change(processed: Path, tmp_path: Path) -> None:
    annotation = tmp_path / "tables"
    annotation.mkdir()
    for table in shared("sfamnet/annotation").iterdir():
        shutil.copyfile(table, annotation / table.name)
    first = run_folds(processed, tmp_path / "out", 4, InThisProcess(), annotation=annotation, recipe=SHORT)
    (labels,) = annotation.glob("*ME_label*.xlsx")
    book = load_workbook(labels)
    column = [cell.value for cell in book.worksheets[0][1]].index("emotion") + 1
    for row in range(2, book.worksheets[0].max_row + 1):
        book.worksheets[0].cell(row, column, "happy")
    book.save(labels)
    load_clips.cache_clear()
    again = run_folds(processed, tmp_path / "out", 4, InThisProcess(), annotation=annotation, recipe=SHORT)
    assert [one.loss for one in again] != [one.loss for one in first]


def test_missing_processed_data_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match=r"processed_data.*CASME_cube_spot_rgbd-flow.pkl is missing: .* hidden"):
        load_clips(tmp_path, None)
