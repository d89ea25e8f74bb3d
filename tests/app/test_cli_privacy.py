from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from sfam.app.config import Config, load_config
from sfam.app.notice import Language, participant_notice
from sfam.engine.model import load_model
from tests.app.command import run
from tests.sinks.test_erasure import session


def notice(language: Language, *assignments: str) -> str:
    return participant_notice(load_config(assignments=assignments), load_model("synthetic-4"), language)


@pytest.mark.parametrize("language", ["en", "de"])
def test_the_notice_is_filled_from_the_settings(language: Language) -> None:
    text = notice(
        language,
        *("sinks.privacy=flow", "sinks.retention_days=365", "sinks.contact=lab@example.org", "app.subject=s07"),
        *("sinks.consent=form 12", "sinks.landmarks=true"),
    )
    for words in ("`flow`", "365", "lab@example.org", "**s07**", "form 12", "synthetic-4", "68"):
        assert words in text
    for limit in load_model("synthetic-4").limits:
        assert limit in text
    assert not re.search(r"\$\w", text), "a place was left open"


def test_both_languages_have_the_same_parts() -> None:
    parts = [re.findall(r"^(#+ |- )", notice(language), re.MULTILINE) for language in ("en", "de")]
    assert parts[0] == parts[1]


@pytest.mark.parametrize(
    ("assignments", "said", "unsaid"),
    [
        (
            (),
            ("No picture of your face is stored", "this computer only", "No date was set"),
            ("Motion fields", "video"),
        ),
        (("sinks.privacy=blurred",), ("coarse mosaic", "No picture of your face"), ("may be stored",)),
        (("sinks.privacy=full", "capture.record=all"), ("The whole session is stored",), ("No picture",)),
        (("sinks.privacy=full", "capture.record=events"), ("around each marked moment",), ("No picture",)),
        (("sinks.privacy=full",), ("around each marked moment",), ("No picture",)),
        (("sinks.privacy=full", "sinks.clips=false"), ("No picture",), ("around each marked moment",)),
        (("sinks.publish=none",), ("not passed on",), ("this computer only",)),
        (("sinks.publish=tcp://0.0.0.0:5571", "sinks.insecure=true"), ("unencrypted",), ("this computer only",)),
        (("sinks.publish=tcp://0.0.0.0:5571", "sinks.keys=keys"), ("encrypted, to computers",), ("unencrypted",)),
        (("sinks.overlay=web",), ("live picture on a screen",), ("from other computers", "Lab Streaming")),
        (("sinks.overlay=web", "sinks.web_address=0.0.0.0:5572"), ("opened from other computers",), ()),
        (("sinks.overlay=window",), ("under any account, can also read the motion",), ()),
        (("sinks.overlay=window", "sinks.privacy=flow"), ("how the skin moved",), ("under any account",)),
        (("sinks.overlay=window", "sinks.blind=true"), ("live picture on a screen",), ("under any account",)),
        (("sinks.lsl=true",), ("unencrypted, to programs in the local network",), ()),
    ],
)
def test_the_notice_says_what_the_settings_mean(
    assignments: tuple[str, ...], said: tuple[str, ...], unsaid: tuple[str, ...]
) -> None:
    text = notice("en", *assignments)
    assert all(words in text for words in said)
    assert not any(words in text for words in unsaid)


def test_what_is_not_set_is_left_to_be_filled_in() -> None:
    assert "(to be filled in)" in notice("en")
    assert Config().sinks.contact == ""


def test_notice_and_erase_work_from_the_command_line(tmp_path: Path) -> None:
    sheet = tmp_path / "notice.md"
    done = run("sfam", "notice", "--lang", "de", "--privacy", "flow", "--contact", "Dr. X", "--out", sheet)
    assert done.returncode == 0, done.stderr
    assert "Dr. X" in sheet.read_text(encoding="utf-8")
    session(tmp_path / "lab" / "s", "s07")
    looked = run("sfam", "erase", tmp_path / "lab", "--subject", "s07", "--dry-run")
    assert looked.returncode == 0
    assert "scores.csv" in looked.stdout
    assert (tmp_path / "lab" / "s" / "scores.csv").exists()
    for wrong in (["--subject", "s99"], [], ["--subject", "s07", "--expired"]):
        assert run("sfam", "erase", tmp_path / "lab", *wrong, "--yes").returncode == 2
    page = tmp_path / "s07.html"
    assert run("sfam", "report", tmp_path / "lab" / "s", "--out", page).returncode == 0
    assert run("sfam", "export", tmp_path / "lab" / "s", "--format", "elan", "--out", tmp_path).returncode == 0
    (tmp_path / "elan.eaf").write_text("corrected by a coder", encoding="utf-8")
    looked = run("sfam", "erase", tmp_path / "lab", "--subject", "s07", "--dry-run")
    assert f"report {page}: stays; --copies removes it" in looked.stdout
    assert f"elan export {tmp_path / 'elan.eaf'}: stays, for it was changed" in looked.stdout
    erased = run("sfam", "erase", tmp_path / "lab", "--subject", "s07", "--copies", "--yes")
    assert erased.returncode == 0, erased.stderr
    assert (page.exists(), (tmp_path / "elan.eaf").exists()) == (False, True)
    assert json.loads((tmp_path / "lab" / "erasures.jsonl").read_text(encoding="utf-8"))["subjects"] == ["s07"]
    assert not (tmp_path / "lab" / "s").exists()
