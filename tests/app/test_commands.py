"""Every command that scripts rely on exists under its exact name, with help that shows how it is used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from sfam.app.cli import app
from tests.app.command import run

COMMANDS = (
    "live", "cameras", "record", "repair", "convert", "inspect", "batch", "verify", "tail", "log", "export", "report",
    "notice", "keys new", "pause", "resume", "sync-test", "serve", "features", "synth", "train", "evaluate",
    "calibrate", "selftest", "rehearse", "bench", "doctor",
    *(f"model {name}" for name in ("list", "show", "import", "export", "distill", "compile", "check")),
)  # fmt: skip
OPTIONS = {
    "live": "--camera --speed --duration --out --publish --overlay --engine --model --record --privacy --policy "
    "--subject --video --single-process --config --set --dry-run --from --to --color-only",
    "bench": "--json --truth --mode --save",
    "inspect": "--json --deep",
    "doctor": "--json",
    "tail": "--kind --json",
    "log": "--out",
    "export": "--format",
    "model check": "--json",
    "model import": "--name --out",
    "verify": "--json",
    "batch": "--out --workers --color-only",
}
"""Options that scripts rely on."""


def command(words: str) -> Any:
    found: Any = typer.main.get_command(app)
    for word in words.split():
        found = found.commands[word]
    return found


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_has_its_exact_name_and_help(words: str) -> None:
    shown = CliRunner().invoke(app, [*words.split(), "--help"])
    assert shown.exit_code == 0, shown.output
    assert command(words).help, words


@pytest.mark.parametrize("words", OPTIONS)
def test_a_command_has_the_options_that_scripts_use(words: str) -> None:
    known = {option for parameter in command(words).params for option in parameter.opts}
    assert set(OPTIONS[words].split()) <= known


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_one_sentence_and_exit_5() -> None:
    done = run("sfam", "notice", "--out", "/dev/full")
    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr == "sfam: [Errno 28] No space left on device\n"


@pytest.mark.parametrize("form", ["megc", "bids", "boris", "elan", "openface", "rerun", "mcap"])
def test_an_export_form_is_known(form: str) -> None:
    shown = CliRunner().invoke(app, ["export", "--help"], env={"COLUMNS": "200"})
    assert form in shown.output
