from __future__ import annotations

from pathlib import Path

from sfam.training.program import program_hash, sources_hash


def test_the_program_is_its_version_and_the_source_of_the_rooms_asked_for(tmp_path: Path) -> None:
    for name in ("stream/flow.py", "stream/kernels/change.c", "sinks/report.py", "stream/__pycache__/flow.pyc"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("a")

    def now(said: str = "1.0") -> str:
        return sources_hash(tmp_path, ("capture", "stream"), said)

    first = now()
    for name in ("sinks/report.py", "stream/__pycache__/flow.pyc"):
        (tmp_path / name).write_text("b")
    assert now() == first != now("1.1")
    seen = {first}
    for name in ("stream/flow.py", "stream/kernels/change.c"):
        (tmp_path / name).write_text("b")
        seen.add(now())
    (tmp_path / "stream" / "new.py").touch()
    assert len(seen | {now()}) == 4


def test_rooms_of_this_program_are_found() -> None:
    assert len({program_hash(), program_hash("capture"), program_hash("stream"), program_hash("training")}) == 4
