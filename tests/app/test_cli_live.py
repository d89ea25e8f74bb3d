"""Flags of `sfam-live` that stand for settings."""

from __future__ import annotations

import pytest

from tests.app.command import run


def test_a_face_box_means_that_nobody_searches_for_faces() -> None:
    done = run("sfam-live", "--face-box", "210,120,200, 220", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "  face_backend: manual  #" in done.stdout
    assert "  face_box: [210, 120, 200, 220]  #" in done.stdout


@pytest.mark.parametrize("text", ["210,120,200", "a,b,c,d", "210,120,-5,20"])
def test_a_wrong_box_says_how_to_write_one(text: str) -> None:
    done = run("sfam-live", "--face-box", text, "--dry-run")
    assert done.returncode == 2
    assert "write x,y,width,height" in done.stderr
