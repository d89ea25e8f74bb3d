"""The fakes of camera SDKs against the real wheels, each installed in an environment of its own."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.capture import fake_depthai, fake_pyk4a, fake_pyorbbecsdk, sdk_names

WHEELS = {
    "pyk4a": ("pyk4a-bundle", fake_pyk4a),
    "depthai": ("depthai>=3", fake_depthai),
    "pyorbbecsdk": ("pyorbbecsdk2", fake_pyorbbecsdk),
}
FOLDER = "SFAM_SDK_ENVIRONMENTS"
"""Environment variable: a folder where the environments are kept between runs."""
OF_THE_FAKE = {"lost", "never", "late", "busy", "silent", "present", "started", "sent", "rebooted", "SERIAL"}
BUILT_BY_THE_SDK = {"PyK4ACapture", "ImgFrame", "MessageQueue", "DeviceList", "StreamProfileList", "VideoStreamProfile"}
"""Classes whose objects the SDK hands out: how the fake makes them is its own business."""
BUILT_BY_THE_SDK |= {"DepthFrame", "FrameSet", "Node.Output", "OBCameraIntrinsic", "Device@pyorbbecsdk"}


def used(fake: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names of everything the fake stands in for, with its own object."""
    for name, value in vars(fake).items():
        own = name == "__init__" or not name.startswith("_")
        if not own or (not prefix and name in OF_THE_FAKE) or isinstance(value, ModuleType):
            continue
        if inspect.isclass(value) or inspect.isfunction(value):
            if value.__module__ != (fake.__module__ if prefix else fake.__name__):
                continue
            yield prefix + name, value
        elif prefix:
            yield prefix + name, value
        if inspect.isclass(value):
            yield from used(value, f"{prefix}{name}.")


def ours(target: Any) -> sdk_names.Parameters:
    """Parameters of a fake's function."""
    return sdk_names.overloads(target)[0]


def fits(fake: sdk_names.Parameters, real: list[list[Any]]) -> bool:
    """True where the fake takes nothing that one overload does not, in its order, and leaves out only defaults."""
    for overload in ([(str(name), bool(default)) for name, default in one] for one in real):
        taken = overload[: len(fake)]
        if [name for name, _ in taken] == [name for name, _ in fake] and all(d for _, d in overload[len(fake) :]):
            return True
    return False


def environment(wheel: str, name: str, folder: Path) -> Path:
    """Python of an environment that holds the wheel (without what it asks for) and numpy 1."""
    python = folder / name / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    if not python.exists():
        venv.create(folder / name, with_pip=True)
        for arguments in (["--no-deps", wheel], ["numpy<2"]):
            subprocess.run([python, "-m", "pip", "install", "-q", "--no-compile", *arguments], check=True, timeout=300)
    return python


@pytest.mark.slow  # installs a wheel of up to 100 MB
@pytest.mark.skipif(FOLDER not in os.environ, reason=f"set {FOLDER} to a folder for the SDKs' environments")
@pytest.mark.parametrize("name", WHEELS)
def test_the_fake_has_the_signatures_of_the_real_wheel(name: str) -> None:
    wheel, fake = WHEELS[name]
    folder = Path(os.environ[FOLDER])
    folder.mkdir(parents=True, exist_ok=True)
    python = environment(wheel, name, folder)
    mine = dict(used(fake))
    asked = subprocess.run(
        [python, sdk_names.__file__, name, *mine], check=True, capture_output=True, text=True, timeout=60
    )
    real = json.loads(asked.stdout.splitlines()[-1])
    assert len(mine) > 30
    absent = [one for one, found in real.items() if found is None and not one.endswith("__init__")]
    assert absent == [], f"the real {name} has no {absent}"
    for one, target in mine.items():
        owner = one.removesuffix(".__init__")
        made_by_sdk = owner in BUILT_BY_THE_SDK or f"{owner}@{name}" in BUILT_BY_THE_SDK
        if inspect.isfunction(target) and not (one.endswith("__init__") and made_by_sdk):
            assert fits(ours(target), real[one]), f"{one}: the fake takes {ours(target)}, the real one {real[one]}"


def test_the_comparison_notices_another_name_order_or_a_missing_default() -> None:
    real = [[["a", False], ["b", True]], [["x", False]]]
    assert fits([("a", False)], real)
    assert fits([("a", False), ("b", True)], real)
    assert fits([("x", False)], real)
    assert not fits([("c", False)], real)
    assert not fits([("b", True), ("a", False)], real)
    assert not fits([], real)


def test_pybind_docstrings_are_read_with_their_overloads() -> None:
    def target() -> None:
        pass

    class Bound:
        __doc__ = (
            "build(*args, **kwargs)\nOverloaded function.\n\n"
            "1. build(self: a.B, size: tuple[int, int], fps: Optional[float] = None) -> a.C\n\nText (in brackets)\n\n"
            "2. build(self: a.B, corner: P = <a.P object at 0x7f>, keep: bool = True) -> a.C\n"
        )

    assert sdk_names.overloads(Bound()) == [
        [("size", False), ("fps", True)],
        [("corner", True), ("keep", True)],
    ]
    assert sdk_names.overloads(target) == [[]]
