from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sfam.capture.user_folders import cache_folder, data_folder


@pytest.mark.parametrize(
    ("platform", "variables", "cache", "data"),
    [
        ("linux", {}, ".cache", ".local/share"),
        ("linux", {"XDG_CACHE_HOME": "/c", "XDG_DATA_HOME": "/d"}, "/c", "/d"),
        ("darwin", {"XDG_CACHE_HOME": "/c"}, "Library/Caches", "Library/Application Support"),
        ("win32", {}, "AppData/Local", "AppData/Local"),
        ("win32", {"LOCALAPPDATA": "/l"}, "/l", "/l"),
    ],
)
def test_folders_are_those_of_the_platform(
    platform: str, variables: dict[str, str], cache: str, data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for variable in ("XDG_CACHE_HOME", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    assert cache_folder() == tmp_path / cache / "sfam-live"
    assert data_folder() == tmp_path / data / "sfam-live"
