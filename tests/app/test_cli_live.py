"""Flags of `sfam-live` that stand for settings."""

from __future__ import annotations

import pytest

from sfam.app.config import Config, render_yaml
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


def test_options_stand_for_settings_and_a_repeated_camera_for_a_session_of_several() -> None:
    given = (
        "--camera",
        "a.bag",
        "--camera",
        "b.bag",
        "--blind",
        "--metrics",
        "0",
        "--overlay",
        "web",
        "--speed",
        "max",
    )
    done = run("sfam-live", *given, "--dry-run")
    assert done.returncode == 0, done.stderr
    for line in ("camera: a.bag", "cameras: [b.bag]", "blind: true", "metrics_port: 0", "overlay: web", "speed: max"):
        assert f"  {line}  #" in done.stdout
    plain = run("sfam-live", "--dry-run")
    assert plain.stdout == render_yaml(Config())
