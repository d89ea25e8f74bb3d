"""Each line of the doctor is shown a broken machine and must say `fail` and what to do."""

from __future__ import annotations

import json
import socket
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sfam.app.config import Config, load_config
from sfam.app.doctor import CHECKS, examine, fit
from sfam.app.doctor_line import Line
from sfam.app.doctor_machine import Machine, ModelCheck, answers, free_bytes, port_is_free, program_output
from sfam.app.doctor_software import SDKS
from sfam.app.doctor_system import UDEV_RULES, USB_VENDORS
from sfam.capture.camera_list import CameraListing
from sfam.capture.source import SOURCES, SourceError
from sfam.engine.model import ModelError
from sfam.stream.face import FaceError
from tests.app.command import run

ROOT = Path(__file__).resolve().parents[2]
GOOD_MODEL = ModelCheck("synthetic-4", "Apache-2.0", "onnxruntime", 1e-7)
VERSIONS = {"numpy": "2.1.0", "opencv-contrib-python": "5.0.0.93", "pyrealsense2": "2.59.1", "torch": "2.13.0+cpu"}
RULE = 'SUBSYSTEMS=="usb", ATTRS{idVendor}=="8086", ATTRS{idProduct}=="0b3a", MODE:="0666"\n'


def refuse(_: Config) -> ModelCheck:
    raise ModelError("model 'synthetic-4' is off its stored outputs")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with a RealSense camera, on which everything is well."""
    for folder in ("etc/udev/rules.d", "dev/shm", "sys/bus/usb/devices/2-1"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "etc/udev/rules.d/99-camera.rules").write_text(RULE)
    (tmp_path / "sys/bus/usb/devices/2-1/idVendor").write_text("8086\n")
    (tmp_path / "sys/bus/usb/devices/2-1/speed").write_text("5000\n")
    return Machine(
        python=(3, 12),
        system="Linux",
        root=tmp_path,
        is_root=False,
        now_s=lambda: 1.8e9,
        requirements=lambda: ("numpy>=1.26", "opencv-contrib-python>=4.10", 'torch>=2; extra == "train"'),
        version_of=VERSIONS.get,
        opencv_wheels=lambda: ["opencv-contrib-python"],
        find_library=lambda name: f"lib{name}.so",
        output_of=lambda command: "yes\n" if command[0] == "timedatectl" else None,
        free_bytes=lambda path: 2**40,
        port_is_free=lambda host, port: True,
        answers=lambda host, port: True,
        display=lambda: True,
        compiled=lambda: True,
        check_model=lambda config: GOOD_MODEL,
        landmark_model=lambda: tmp_path / "landmarks.dat",
        environment={"DISPLAY": ":0"},
    )


def settings(**flags: object) -> Config:
    return load_config(flags={"capture.camera": "realsense", **{k.replace("__", "."): v for k, v in flags.items()}})


def lines(machine: Machine, config: Config | None = None) -> dict[str, Line]:
    return {line.name: line for line in examine(config or settings(), machine)}


def test_a_good_machine_is_fit_and_every_line_has_a_name_of_its_own(machine: Machine) -> None:
    found = lines(machine, settings(stream__face_backend="manual", stream__face_box=(0, 0, 9, 9)))
    assert {line.state for line in found.values()} == {"ok"}, found
    assert len(found) == len(CHECKS)
    assert fit(list(found.values()))


def without(library: str) -> Callable[[str], str | None]:
    return lambda name: None if name == library else f"lib{name}.so"


def lacking(package: str) -> Callable[[str], str | None]:
    return lambda name: None if name == package else VERSIONS.get(name)


def plugged_in(*serials: str, usb: str = "3.2") -> Callable[[str], list[CameraListing]]:
    return lambda kind: [CameraListing(kind, serial, "D435", "5.16", usb, ()) for serial in serials]


def no_landmarks() -> Path:
    raise FaceError("face backend dlib looked for x.dat and found no file; reinstall face_recognition_models")


BROKEN: list[tuple[str, dict[str, object], dict[str, object], str, str]] = [
    ("python", {"python": (3, 10)}, {}, "3.10", "install Python 3.11"),
    ("packages", {"version_of": lacking("numpy")}, {}, "numpy is missing", "pip install"),
    ("packages", {"version_of": {**VERSIONS, "numpy": "1.25.2"}.get}, {}, "numpy 1.25.2 (needs 1.26)", "pip install"),
    ("packages", {"requirements": lambda: ()}, {}, "not installed", "pip install"),
    ("opencv", {"opencv_wheels": lambda: ["opencv-contrib-python", "opencv-python"]}, {}, "opencv-python",
     "pip uninstall -y opencv-contrib-python opencv-python && pip install opencv-contrib-python"),
    ("opencv", {"opencv_wheels": list}, {}, "none", "pip install opencv-contrib-python"),
    ("system libraries", {"find_library": without("GL")}, {}, "libgl1", "apt-get install libgl1"),
    ("system libraries", {"find_library": without("glib-2.0")}, {}, "libglib2.0-0", "apt-get install libglib2.0-0"),
    ("camera sdk", {"version_of": lacking("pyrealsense2")}, {}, "pyrealsense2", "sfam-live[realsense]"),
    ("camera sdk", {}, {"capture__camera": "orbbec"}, "pyorbbecsdk2", "sfam-live[orbbec]"),
    ("camera sdk", {}, {"capture__camera": "kinect"}, "pyk4a-bundle", "sfam-live[kinect]"),
    ("camera sdk", {}, {"capture__camera": "oak"}, "depthai", "sfam-live[oak]"),
    ("camera sdk", {}, {"capture__camera": "demo", "app__cameras": ("oak",)}, "camera oak", "sfam-live[oak]"),
    ("libusb", {"find_library": without("usb-1.0")}, {}, "libusb-1.0", "apt-get install libusb-1.0-0"),
    ("camera", {}, {"capture__camera": "gone.bag"}, "gone.bag does not exist", "--camera demo"),
    ("camera", {}, {"capture__camera": "kinect"}, "no kinect camera", "plug it in"),
    ("camera", {}, {"app__cameras": ("gone.bag",)}, "gone.bag does not exist", "--camera demo"),
    ("camera", {"list_cameras": plugged_in("B")}, {"capture__camera": "realsense:B", "app__cameras": ("realsense:A",)},
     "realsense:A does not answer; of its kind there: B", "sfam cameras"),
    ("camera", {"list_cameras": plugged_in("B")}, {"capture__serial_no": "A"}, "realsense:A does not", "plug it in"),
    ("camera", {"list_cameras": plugged_in("A", usb="2.1")}, {"capture__camera": "realsense:A"}, "USB 2", "USB 3 port"),
    ("camera", {}, {"app__cameras": ("realsense",)}, "more than once", "--camera realsense:SERIAL"),
    ("camera", {}, {"capture__camera": "webcam:3"}, "no /dev/video3", "ls /dev/video*"),
    ("camera", {"answers": lambda host, port: (host, port) != ("10.0.0.7", 5572)},
     {"capture__camera": "tcp://10.0.0.7:5572"}, "nothing answers", "sfam serve"),
    ("camera", {}, {"capture__camera": "tcp://10.0.0.7"}, "no host and port", "tcp://HOST:PORT"),
    ("udev rules", {}, {"capture__camera": "kinect"}, "no rule", "99-sfam-cameras.rules"),
    ("udev rules", {}, {"capture__camera": "demo", "app__cameras": ("oak",)}, "no rule for oak", "udevadm trigger"),
    ("gpu", {}, {"engine__backend": "tensorrt"}, "nvidia-smi", "--engine auto"),
    ("tensorrt", {}, {"engine__backend": "tensorrt"}, "missing", "tensorrt_rtx_cu13"),
    ("face", {"landmark_model": no_landmarks}, {}, "found no file", "--force-reinstall"),
    ("face", {}, {"stream__face_backend": "mediapipe"}, "mediapipe is missing", "sfam-live[mediapipe]"),
    ("face", {"version_of": {**VERSIONS, "mediapipe": "0.10.35"}.get},
     {"stream__face_backend": "mediapipe", "stream__face_model": "gone.task"}, "gone.task", "stream.face_model"),
    ("extras", {}, {"sinks__lsl": True}, "pylsl is missing", "sfam-live[lsl]"),
    ("extras", {}, {"app__markers": "lsl:Trials"}, "pylsl is missing", "sfam-live[lsl]"),
    ("extras", {}, {"sinks__rerun": "viewer", "sinks__metrics_port": 0}, "rerun-sdk", "sfam-live[rerun,metrics]"),
    ("extras", {}, {"capture__camera": "a.MKV"}, "av is missing", "sfam-live[files]"),
    ("torch", {"version_of": lacking("torch")}, {"engine__backend": "torch"}, "missing", "--engine onnxruntime"),
    ("model", {"check_model": refuse}, {}, "off its stored outputs", "--model"),
    ("licences", {"check_model": refuse}, {}, "unknown", "repair the model"),
    ("licences", {"check_model": lambda config: replace(GOOD_MODEL, licence="")}, {}, "not stated", "model.json"),
    ("display", {"display": lambda: False}, {"sinks__overlay": "window"}, "none answers", "--overlay none"),
    ("web overlay", {}, {"sinks__overlay": "web"}, "aiohttp", "sfam-live[web]"),
    ("ports", {"port_is_free": lambda host, port: port != 5571}, {}, "127.0.0.1:5571 (--publish)", "--publish"),
    ("ports", {"port_is_free": lambda host, port: port != 5580}, {"sinks__overlay": "web"}, "5580", "choose others"),
    ("ports", {"port_is_free": lambda host, port: port != 9200}, {"sinks__metrics_port": 9200}, "--metrics", "end"),
    ("shared memory", {"free_bytes": lambda path: 2**20}, {}, "1 MiB free", "--shm-size"),
    ("shared memory", {"free_bytes": lambda path: 60 * 2**20}, {"app__cameras": ("a", "b")}, "3 rings",
     "--shm-size"),
    ("disk", {"free_bytes": lambda path: 2**20}, {}, "0.0 GiB free", "--out"),
    ("clock", {"now_s": lambda: 0.0}, {}, "1970", "timedatectl set-ntp true"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "damage", "config", "found", "remedy"), BROKEN)
def test_what_is_broken_fails_with_its_remedy(
    machine: Machine, name: str, damage: dict[str, object], config: dict[str, object], found: str, remedy: str
) -> None:
    line = lines(replace(machine, **damage), settings(**config))[name]  # type: ignore[arg-type]
    assert line.state == "fail", line
    assert found in line.found
    assert remedy in line.remedy


def test_every_check_is_seen_failing_here(machine: Machine) -> None:
    assert {case[0] for case in BROKEN} == set(lines(machine))


def test_sdks_are_those_that_the_extras_bring() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for kind, (package, remedy) in SDKS.items():
        assert f"sfam-live[{kind}]" in remedy
        assert any(one.startswith(package) for one in extras[kind]) or f"--no-deps {package}" in remedy, kind
    assert set(USB_VENDORS) == set(SDKS) <= set(SOURCES)


def test_the_rules_that_doctor_names_are_there_for_every_camera() -> None:
    assert UDEV_RULES.is_file()
    rules = UDEV_RULES.read_text()
    assert all(f'ATTRS{{idVendor}}=="{vendor}"' in rules for vendor in USB_VENDORS.values())


@pytest.mark.parametrize("camera", ["tcp://10.0.0.7:5572", "webcam", "demo"])
def test_cameras_that_need_no_sdk_are_fine_where_they_answer(machine: Machine, camera: str) -> None:
    (machine.root / "dev/video0").touch()
    found = lines(machine, settings(capture__camera=camera))
    assert {found[name].state for name in ("camera", "camera sdk", "udev rules", "libusb")} == {"ok"}


def test_usb_2_is_too_slow_for_a_depth_camera(machine: Machine) -> None:
    (machine.root / "sys/bus/usb/devices/2-1/speed").write_text("480\n")
    line = lines(machine)["camera"]
    assert (line.state, "USB 2" in line.found) == ("fail", True)
    assert "USB 3" in line.remedy


def test_a_fast_port_does_not_hide_a_camera_at_a_slow_one(machine: Machine) -> None:
    for vendor, kind in (("8086", "realsense"), ("045e", "kinect")):
        second = machine.root / "sys/bus/usb/devices" / kind
        second.mkdir()
        (second / "idVendor").write_text(f"{vendor}\n")
        (second / "speed").write_text("480\n")
    (machine.root / "sys/bus/usb/devices/2-2").mkdir()
    (machine.root / "sys/bus/usb/devices/2-2/idVendor").write_text("045e\n")
    (machine.root / "sys/bus/usb/devices/2-2/speed").write_text("5000\n")
    assert lines(machine)["camera"].state == "fail"
    assert lines(machine, settings(capture__camera="kinect"))["camera"].state == "ok", "its microphones are on USB 2"


def test_a_camera_that_is_named_is_asked_for_by_its_sdk(machine: Machine) -> None:
    both = settings(capture__camera="realsense:A", app__cameras=("realsense:B",))
    found = lines(replace(machine, list_cameras=plugged_in("A", "B", "C")), both)["camera"]
    assert (found.state, found.found) == ("ok", "realsense:A answers; realsense:B answers")

    def no_sdk(kind: str) -> list[CameraListing]:
        raise SourceError(f"{kind}: pyrealsense2 cannot be loaded")

    line = lines(replace(machine, list_cameras=no_sdk), both)["camera"]
    assert (line.state, "pyrealsense2 cannot be loaded" in line.found) == ("warn", True)

    def third_refuses(kind: str) -> Iterator[CameraListing]:
        yield from plugged_in("A", "B")(kind)
        raise SourceError(f"{kind}: a camera is plugged in but does not answer")

    assert lines(replace(machine, list_cameras=third_refuses), both)["camera"].state == "ok"


def test_what_merely_hurts_is_a_warning(machine: Machine) -> None:
    cramped = replace(
        machine,
        free_bytes=lambda path: 2**30,
        output_of=lambda command: "no\n",
        is_root=True,
        version_of=VERSIONS.get,
        compiled=lambda: False,
    )
    (machine.root / "etc/udev/rules.d/99-camera.rules").unlink()
    found = lines(cramped)
    assert {name for name, line in found.items() if line.state == "warn"} == {
        "udev rules",
        "licences",
        "disk",
        "clock",
        "packages",
    }
    assert fit(list(found.values()))


def test_little_shared_memory_is_a_warning_as_long_as_vga_fits(machine: Machine) -> None:
    assert lines(replace(machine, free_bytes=lambda path: 64 * 2**20))["shared memory"].state == "warn"


def test_what_these_settings_do_not_need_does_not_fail(machine: Machine) -> None:
    bare = replace(
        machine,
        version_of={key: VERSIONS[key] for key in ("numpy", "opencv-contrib-python")}.get,
        find_library=without("usb-1.0"),
        display=lambda: False,
        port_is_free=lambda host, port: False,
    )
    found = examine(load_config(flags={"capture.camera": "demo", "sinks.publish": "none"}), bare)
    assert fit(found), [line for line in found if line.state == "fail"]


def test_a_check_that_breaks_is_a_line_and_not_the_end(machine: Machine) -> None:
    def explode(path: Path) -> int:
        raise OSError("stale file handle")

    line = lines(replace(machine, free_bytes=explode))["disk"]
    assert (line.state, "stale file handle" in line.found) == ("fail", True)


def test_the_real_probes_see_the_real_machine(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        assert not answers("127.0.0.1", port)
        holder.listen()
        assert answers("127.0.0.1", port)
        assert not port_is_free("127.0.0.1", port)
    assert free_bytes(tmp_path / "not" / "there") > 0
    assert program_output(["sfam-no-such-program"]) is None
    assert program_output(["python3", "-c", "raise SystemExit(3)"]) is None


def test_the_command_says_the_same_to_scripts_and_people(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        address = f"tcp://127.0.0.1:{holder.getsockname()[1]}"
        done = run("sfam", "doctor", "--set", f"sinks.publish={address}", "--json")
        report = json.loads(done.stdout)
        assert done.returncode == 6
        assert report["ok"] is False
        failed = [line for line in report["lines"] if line["state"] == "fail"]
        assert failed[-1]["name"] == "ports"
        assert address.removeprefix("tcp://") in failed[-1]["found"]
        words = run("sfam", "doctor", "--set", f"sinks.publish={address}")
        assert words.returncode == 6
        assert failed[-1]["remedy"] in words.stdout
