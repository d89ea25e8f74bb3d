"""The pages of docs/ build without a warning, and speak of commands and options that exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from sfam.app.cli import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
SPOKEN = re.compile(r"(?:^    |`|&& )sfam ([a-z][a-z-]+(?: [a-z]+)?)([^`\n]*)", re.MULTILINE)


def commands() -> dict[str, Any]:
    """Every command by its words, such as 'model show'."""
    found: dict[str, Any] = {}
    root: Any = typer.main.get_command(app)
    for name, command in root.commands.items():
        found[name] = command
        found |= {f"{name} {below}": inner for below, inner in getattr(command, "commands", {}).items()}
    return found


def test_the_site_builds_strictly(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "wire" / "index.html").exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_speaks_of_commands_and_options_that_exist(page: Path) -> None:
    known = commands()
    for words, rest in SPOKEN.findall(page.read_text(encoding="utf-8")):
        name = words if words in known else words.split()[0]
        assert name in known, f"{page.name}: sfam {words}"
        options = {option for parameter in known[name].params for option in parameter.opts}
        for option in re.findall(r"(?<=\s)--[a-z][a-z-]+", rest.split("#")[0]):
            assert option in options or option == "--help", f"{page.name}: sfam {name} {option}"
