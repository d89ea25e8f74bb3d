from __future__ import annotations

import csv
import dataclasses
import json
import os
from pathlib import Path

import pytest

from sfam.sinks import folder_hold, subject_tables
from sfam.sinks.erasure import AUDIT, erase, of_expired, of_subject
from sfam.sinks.folder_hold import FolderHold
from sfam.sinks.report import write_report
from sfam.sinks.session_folder import SessionFolder
from sfam.sinks.sink_error import SinkError
from tests.sinks.session_parts import event, frame_result, session_info


def session(folder: Path, subject: str, retain_until: str | None = None) -> Path:
    info = dataclasses.replace(session_info(folder.name), subject=subject, retain_until=retain_until)
    with SessionFolder(folder, info) as writer:
        for number in range(40):
            writer.row(frame_result(number))
        writer.event(event(0, "confirmed", 20))
    write_report(folder)
    return folder


def everything(root: Path) -> str:
    return "".join(
        path.read_text(encoding="utf-8") for path in root.rglob("*") if path.is_file() and path.name != AUDIT
    )


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """Two participants, three sessions, one of them inside another's folder, and a table over all."""
    session(tmp_path / "monday", "s07")
    session(tmp_path / "tuesday", "s08")
    session(tmp_path / "tuesday" / "again", "s07")
    (tmp_path / "tuesday" / "export").mkdir()
    (tmp_path / "tuesday" / "export" / "megc.csv").write_text("subject,video\ns08,v\n", encoding="utf-8")
    (tmp_path / "all.csv").write_text('subject,video,note\ns07,a,"x, y"\ns08,b,z\ns07,c,\n', encoding="utf-8")
    (tmp_path / "people.tsv").write_text("subject\tage\ns07\t30\ns08\t31\n", encoding="utf-8")
    (tmp_path / "other.csv").write_text("name\ns07 is not a subject here\n", encoding="utf-8")
    return tmp_path


def test_nothing_of_the_participant_is_left_and_all_of_the_others(lab: Path) -> None:
    before = {path: path.read_bytes() for path in (lab / "tuesday").rglob("*") if path.is_file()}
    found = of_subject(lab, "s07")
    assert {one.session for one in found.sessions} == {"monday", "again"}
    assert [(one.path.name, one.rows) for one in found.tables] == [("all.csv", 2), ("people.tsv", 1)]
    erase(found, "s07")
    assert not (lab / "monday").exists()
    assert not (lab / "tuesday" / "again").exists()
    assert (lab / "all.csv").read_text(encoding="utf-8") == "subject,video,note\ns08,b,z\n"
    assert (lab / "people.tsv").read_text(encoding="utf-8") == "subject\tage\ns08\t31\n"
    for path, content in before.items():
        assert not path.exists() if "again" in path.parts else path.read_bytes() == content
    assert everything(lab).count("s07") == 1, "other.csv names no subject and stays"
    assert of_subject(lab, "s07").sessions == ()


def test_a_session_inside_another_stays_when_the_outer_one_goes(lab: Path) -> None:
    erase(of_subject(lab, "s08"), "s08")
    assert (lab / "tuesday" / "again" / "scores.csv").exists()
    assert not (lab / "tuesday" / "scores.csv").exists()
    assert not (lab / "tuesday" / "export").exists()


def test_a_line_says_what_was_erased_and_when(lab: Path) -> None:
    audit = erase(of_subject(lab, "s07"), "s07", utc_s=lambda: 1_772_360_100.0)
    assert audit == lab / AUDIT
    line = json.loads(audit.read_text(encoding="utf-8"))
    assert line["t_utc"] == "2026-03-01T10:15:00+00:00"
    assert (line["reason"], line["subjects"], line["complete"]) == ("subject s07", ["s07"], True)
    assert sorted(line["sessions"]) == ["again", "monday"]
    assert (line["files"], line["table_rows"]) == (12, 3)
    erase(of_subject(lab, "s08"), "s08")
    assert len(audit.read_text(encoding="utf-8").splitlines()) == 2


def test_the_line_about_a_single_session_stands_beside_it(lab: Path) -> None:
    assert erase(of_subject(lab / "monday", "s07"), "s07") == lab / AUDIT


def test_what_is_past_its_last_day_goes_and_nothing_else(tmp_path: Path) -> None:
    for name, day in (("old", "2026-02-28"), ("today", "2026-03-01"), ("open", None)):
        session(tmp_path / name, "s01", day)
    erase(of_expired(tmp_path, "2026-03-01"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [AUDIT, "open", "today"]


def test_a_running_session_is_not_touched(tmp_path: Path) -> None:
    with SessionFolder(tmp_path / "s", session_info()), pytest.raises(SinkError, match="is running"):
        erase(of_subject(tmp_path, "s01"), "s01")
    assert (tmp_path / "s" / "scores.csv").exists()


def test_one_that_was_killed_long_ago_is_not_running(tmp_path: Path) -> None:
    path = session(tmp_path / "s", "s01") / "session.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"ended"', '"running"'), encoding="utf-8")
    os.utime(path, (1_700_000_000, 1_700_000_000))
    erase(of_subject(tmp_path, "s01"), "s01")
    assert not (tmp_path / "s").exists()


def test_links_are_removed_and_what_they_point_to_stays(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept.txt").write_text("kept", encoding="utf-8")
    folder = session(tmp_path / "lab" / "s", "s01")
    (folder / "link").symlink_to(outside)
    erase(of_subject(tmp_path / "lab", "s01"), "s01")
    assert (outside / "kept.txt").exists()
    assert not folder.exists()


def test_what_cannot_be_removed_is_said_and_noted(tmp_path: Path) -> None:
    table = session(tmp_path / "s", "s01") / "events.csv"
    found = of_subject(tmp_path, "s01")
    table.unlink()
    table.mkdir()  # cannot be unlinked
    with pytest.raises(SinkError, match="cannot erase all"):
        erase(found, "s01")
    assert json.loads((tmp_path / AUDIT).read_text(encoding="utf-8"))["complete"] is False


@pytest.mark.parametrize("state", ["running", "paused"])
def test_a_session_runs_while_its_folder_is_held_however_long_ago_it_wrote(tmp_path: Path, state: str) -> None:
    path = session(tmp_path / "s", "s01") / "session.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"ended"', f'"{state}"'), encoding="utf-8")
    os.utime(path, (1_700_000_000, 1_700_000_000))
    (tmp_path / "s" / "paused").touch()
    holder = FolderHold(tmp_path / "s")
    holder.take()
    with pytest.raises(SinkError, match="is running"):
        erase(of_subject(tmp_path, "s01"), "s01")
    holder.release()  # as a kill does
    erase(of_subject(tmp_path, "s01"), "s01")
    assert not (tmp_path / "s").exists()


def test_without_locks_a_paused_session_runs_while_its_request_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_hold, "is_held", lambda _: None)
    path = session(tmp_path / "s", "s01") / "session.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"ended"', '"paused"'), encoding="utf-8")
    os.utime(path, (1_700_000_000, 1_700_000_000))
    (tmp_path / "s" / "paused").touch()
    with pytest.raises(SinkError, match="is running"):
        erase(of_subject(tmp_path, "s01"), "s01")
    (tmp_path / "s" / "paused").unlink()
    erase(of_subject(tmp_path, "s01"), "s01")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_tables_that_a_spreadsheet_saved_keep_their_form(tmp_path: Path, encoding: str, delimiter: str) -> None:
    def table(*rows: tuple[str, ...]) -> bytes:
        return "".join(delimiter.join(row) + "\n" for row in rows).encode(encoding)

    head, theirs, other = ("subject", "Gefühl"), ("s01", "größer"), ("s02", "kühl", "one cell too many")
    path = tmp_path / "megc.csv"
    path.write_bytes(table(head, theirs, other, theirs))
    found = of_subject(tmp_path, "s01")
    assert [(one.path, one.rows) for one in found.tables] == [(path, 2)]
    erase(found, "s01")
    assert path.read_bytes() == table(head, other)


def test_what_is_no_table_is_named(tmp_path: Path) -> None:
    session(tmp_path / "s", "s01")
    (tmp_path / "odd.csv").write_text('subject,text\ns01,"' + "x" * 300 + '"\n', encoding="utf-8")
    (tmp_path / "long.csv").write_text("x" * 200_000, encoding="utf-8")
    limit = csv.field_size_limit()
    try:
        assert [one.path.name for one in of_subject(tmp_path, "s01").tables] == ["odd.csv"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(subject_tables, "LARGEST_FIELD", 100)
            found = of_subject(tmp_path, "s01")
    finally:
        csv.field_size_limit(limit)
    assert sorted(path.name for path in found.unread) == ["long.csv", "odd.csv"]
    assert found.tables == ()
