from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from sfam.sinks.copies import COPIES, CopyList, copies_of
from sfam.sinks.erasure import AUDIT, erase, of_expired, of_subject
from sfam.sinks.sink_error import SinkError
from tests.sinks.test_erasure import session


def listed(folder: Path, subject: str = "s07") -> CopyList:
    return CopyList(folder, subject, lambda: 1_772_360_100.0)


def exported(folder: Path, path: Path, subject: str = "s07") -> Path:
    """A copy that was made and entered in the list."""
    copies = listed(folder, subject)
    copies.begun("elan export", path.parent)
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"of {subject}", encoding="utf-8")
    copies.made("elan export", path.parent, [path])
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return session(tmp_path / "lab" / "monday", "s07")


def test_a_copy_is_known_from_before_it_is_made(folder: Path, tmp_path: Path) -> None:
    copies = listed(folder)
    copies.begun("mcap sink", tmp_path / "out.mcap")
    assert [(one.path, one.what, one.state) for one in copies_of(folder)] == [
        (tmp_path / "out.mcap", "mcap sink", "gone")
    ]
    (tmp_path / "out.mcap").write_bytes(b"half")
    assert [one.state for one in copies_of(folder)] == ["unfinished"]
    (tmp_path / "out.mcap").write_bytes(b"half and half")
    copies.made("mcap sink", tmp_path / "out.mcap", [tmp_path / "out.mcap"])
    found = copies_of(folder)
    assert [(one.path, one.state, one.subject) for one in found] == [(tmp_path / "out.mcap", "whole", "s07")]
    assert found[0].t_utc == "2026-03-01T10:15:00+00:00"
    (tmp_path / "out.mcap").write_bytes(b"somebody else")
    assert [one.state for one in copies_of(folder)] == ["changed"]


def test_what_lies_in_the_folder_itself_is_not_listed(folder: Path) -> None:
    exported(folder, folder / "export" / "elan.eaf")
    assert not (folder / COPIES).exists()
    assert copies_of(folder) == ()


def test_an_entry_that_was_cut_off_spoils_none_before_or_after_it(folder: Path, tmp_path: Path) -> None:
    first = exported(folder, tmp_path / "a" / "elan.eaf")
    whole = (folder / COPIES).read_bytes()
    for cut in range(1, len(whole.splitlines()[0]), 7):
        (folder / COPIES).write_bytes(whole[:-1] + b"\n" + whole.splitlines()[0][:cut])
        second = exported(folder, tmp_path / "b" / "elan.eaf")
        assert {one.path for one in copies_of(folder) if one.state == "whole"} == {first, second}


def test_a_list_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="sfam erase will not know of it"):
        listed(tmp_path / "nowhere").begun("report", tmp_path / "page.html")


def test_copies_are_named_and_removed_only_where_asked(folder: Path, tmp_path: Path) -> None:
    path = exported(folder, tmp_path / "elsewhere" / "elan.eaf")
    found = of_subject(tmp_path / "lab", "s07")
    assert [one.path for one in found.copies] == [path]
    audit = erase(found, "s07")
    assert path.exists()
    line = json.loads(audit.read_text(encoding="utf-8"))
    assert (line["copies"], line["copies_left"]) == (0, [{"path": str(path), "what": "elan export"}])

    again = session(tmp_path / "lab" / "tuesday", "s07")
    exported(again, path)
    line = json.loads(erase(of_subject(tmp_path / "lab", "s07"), "s07", copies=True).read_text().splitlines()[-1])
    assert not path.exists()
    assert (line["copies"], line["copies_left"]) == (1, [])


def test_what_changed_or_belongs_to_another_by_now_is_never_removed(folder: Path, tmp_path: Path) -> None:
    """Another participant's export took the place of this one's, and a coder has worked in the other."""
    replaced, edited = tmp_path / "megc.csv", exported(folder, tmp_path / "b" / "elan.eaf")
    exported(folder, replaced)
    other = session(tmp_path / "lab" / "tuesday", "s08")
    os.utime(exported(other, replaced, "s08"), ns=(1, 1))
    edited.write_text("of s07, corrected", encoding="utf-8")
    audit = erase(of_subject(tmp_path / "lab", "s07"), "s07", copies=True)
    assert replaced.read_text(encoding="utf-8") == "of s08"
    assert edited.exists()
    left = json.loads(audit.read_text(encoding="utf-8"))["copies_left"]
    assert {one["path"] for one in left} == {str(replaced), str(edited)}


def test_copies_of_a_session_that_was_overwritten_are_still_found(folder: Path, tmp_path: Path) -> None:
    path = exported(folder, tmp_path / "elan.eaf")
    summary = folder / "session.json"
    summary.write_text(summary.read_text(encoding="utf-8").replace('"s07"', '"s08"'), encoding="utf-8")
    found = of_subject(tmp_path / "lab", "s07")
    assert ([one.path for one in found.copies], found.sessions) == ([path], ())
    assert of_subject(tmp_path / "lab", "s08").copies == ()


def test_a_table_that_is_cleaned_and_a_file_of_the_session_are_no_copies(folder: Path, tmp_path: Path) -> None:
    table = exported(folder, tmp_path / "lab" / "megc.csv")
    table.write_text("subject,video\ns07,v\ns08,v\n", encoding="utf-8")
    inner = session(tmp_path / "lab" / "tuesday", "s07")
    exported(folder, inner / "elan.eaf")
    outside = exported(folder, tmp_path / "out" / "elan.eaf")
    (inner / "link").symlink_to(outside)
    found = of_subject(tmp_path / "lab", "s07")
    assert [one.path for one in found.copies] == [outside], "a link into the session does not make it a part of it"
    erase(found, "s07", copies=True)
    assert table.read_text(encoding="utf-8") == "subject,video\ns08,v\n"
    assert not outside.exists()


def test_copies_of_expired_sessions_are_named_too(tmp_path: Path) -> None:
    old = session(tmp_path / "lab" / "old", "s01", "2026-02-28")
    path = exported(old, tmp_path / "elan.eaf", "s01")
    erase(of_expired(tmp_path / "lab", "2026-03-01"), copies=True)
    assert not path.exists()
    assert [one.name for one in (tmp_path / "lab").iterdir()] == [AUDIT]
