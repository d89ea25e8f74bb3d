"""The house: who may import whom, what the wheel carries, no file named after nothing."""

from __future__ import annotations

import ast
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
UPSTREAM = {
    "capture": set(),
    "stream": {"capture"},
    "engine": {"capture", "stream"},
    "sinks": {"capture", "stream", "engine"},
    "training": {"capture", "stream", "engine", "sinks"},
    "app": {"capture", "stream", "engine", "sinks", "training"},
}
NAMELESS = {"utils", "util", "helpers", "helper", "common", "core", "misc", "manager"}
HEAVY = {
    "pyrealsense2": {"capture/realsense.py"},
    "pyk4a": {"capture/kinect.py"},
    "depthai": {"capture/oak.py"},
    "pyorbbecsdk": {"capture/orbbec.py"},
    "av": {"capture/video_container.py"},
    "dlib": {"stream/face_dlib.py"},
    "onnxruntime": {"engine/onnx_backend.py"},
    "onnx": {"engine/graph.py", "engine/half_graph.py"},
    "mediapipe": {"stream/face_mediapipe.py"},
    "aiohttp": {"sinks/overlay_web.py"},
    "prometheus_client": {"sinks/metrics.py"},
    "tensorrt": {"engine/tensorrt_plan.py"},
    "tensorrt_rtx": {"engine/tensorrt_plan.py"},
    "cuda": {"engine/cuda_buffers.py"},
    "openpyxl": {"training/casme3_annotation.py"},
    "python_calamine": {"training/casme3_annotation.py"},
    "pympi": {"training/corrections.py"},
    "ray": {"training/ray_executor.py"},
    "torch": {
        "engine/checkpoint.py",
        "engine/export.py",
        "engine/network.py",
        "engine/torch_backend.py",
        "stream/flow_torch.py",
        "stream/head_motion_torch.py",
        *(f"training/{path.name}" for path in (ROOT / "training").glob("*.py")),
    },
}
MODULES = sorted(path for room in UPSTREAM for path in (ROOT / room).rglob("*.py"))


def imported_names(path: Path) -> list[tuple[str, int]]:
    """Absolute module names a file imports, with the relative level (0 = absolute)."""
    names: list[tuple[str, int]] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [(alias.name, 0) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.module == "sfam":
                names += [(f"sfam.{alias.name}", node.level) for alias in node.names]
            else:
                names.append((node.module or "", node.level))
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_upstream(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    for name, level in imported_names(path):
        if level:
            assert level <= len(path.relative_to(ROOT).parts) - 1, f"{path}: relative import leaves the room"
            continue
        parts = name.split(".")
        assert parts[0] not in UPSTREAM, f"{path}: write sfam.{name}"
        if parts[0] == "sfam" and len(parts) > 1:
            assert parts[1] != room, f"{path}: import siblings relatively"
            assert parts[1] in UPSTREAM[room], f"{path}: {room} must not import {parts[1]}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_heavy_libraries_have_one_door(path: Path) -> None:
    inside = str(path.relative_to(ROOT))
    for name, level in imported_names(path):
        doors = HEAVY.get(name.split(".")[0])
        if level == 0 and doors is not None:
            assert inside in doors, f"{inside} imports {name}; only {sorted(doors)} may"


def test_files_are_named_after_something() -> None:
    nameless = [path for path in MODULES if path.stem in NAMELESS]
    assert not nameless


def test_every_room_is_packaged_and_typed() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {path.parent.relative_to(ROOT) for path in MODULES if path.name == "__init__.py"}
    assert {f"sfam.{'.'.join(folder.parts)}" for folder in folders} == set(settings["packages"])
    assert settings["package-dir"] == {f"sfam.{room}": room for room in UPSTREAM}
    assert all((ROOT / room / "py.typed").exists() for room in UPSTREAM)


def test_init_files_hold_a_docstring_only() -> None:
    for path in MODULES:
        if path.name == "__init__.py":
            body = ast.parse(path.read_text()).body
            assert len(body) == 1, f"{path} holds more than its docstring"
            assert isinstance(body[0], ast.Expr)


def test_exactly_one_opencv_wheel_is_installed() -> None:
    wheels = {dist.name.lower() for dist in distributions() if dist.name.lower().startswith("opencv")}
    assert wheels == {"opencv-contrib-python"}
