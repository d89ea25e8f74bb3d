from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sfam.app.cli import app
from sfam.capture import webcam
from tests.capture import fake_depthai

RUNNER = CliRunner()


@pytest.fixture(autouse=True)
def only_an_oak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webcam, "DEVICES", tmp_path)
    monkeypatch.setitem(sys.modules, "depthai", fake_depthai)
    for absent in ("pyk4a", "pyorbbecsdk", "pyrealsense2"):
        monkeypatch.setitem(sys.modules, absent, None)


def test_a_camera_is_shown_as_it_is_named_on_the_command_line() -> None:
    result = RUNNER.invoke(app, ["cameras"])
    assert result.exit_code == 0
    assert f"oak:{fake_depthai.SERIAL}  OAK" in result.output
    assert "    color 640x480@30" in result.output
    assert "realsense: cannot be asked: pyrealsense2 cannot be loaded" in result.output


def test_json_holds_serial_firmware_connection_and_modes() -> None:
    content = json.loads(RUNNER.invoke(app, ["cameras", "--json"]).output)
    (camera,) = content["cameras"]
    assert camera.keys() == {"kind", "serial", "name", "firmware", "connection", "modes"}
    assert camera["serial"] == fake_depthai.SERIAL
    assert content["unusable"].keys() - {"webcam"} == {"realsense", "kinect", "orbbec"}


def test_none_at_all_points_to_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_depthai, "present", False)
    assert "--camera demo` runs without one" in RUNNER.invoke(app, ["cameras"]).output


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists cameras without opening them")
def test_a_webcam_is_said_to_have_no_depth(tmp_path: Path) -> None:
    (tmp_path / "video4").mkdir()
    (tmp_path / "video4" / "name").write_text("Desk cam")
    output = RUNNER.invoke(app, ["cameras"]).output
    assert "webcam:4  Desk cam: no depth, needs --color-only" in output
