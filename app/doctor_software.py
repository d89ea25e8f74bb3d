"""The doctor's lines about software: Python, packages, system libraries, SDKs, engines, models and their licences."""

from __future__ import annotations

import re
from pathlib import Path

from .config import Config
from .doctor_line import Line, fail, ok, warn
from .doctor_machine import Machine

OLDEST_PYTHON = (3, 11)
OPENCV = "opencv-contrib-python"
SDKS = {
    "realsense": ("pyrealsense2", "pip install 'sfam-live[realsense]'"),
    "kinect": ("pyk4a-bundle", "pip install 'sfam-live[kinect]'"),
    "orbbec": ("pyorbbecsdk2", "pip install 'sfam-live[orbbec]' && pip install --no-deps pyorbbecsdk2"),
    "oak": ("depthai", "pip install 'sfam-live[oak]'"),
}
"""Camera -> its package and how to get it."""
TENSORRT = ("tensorrt", "tensorrt_rtx_cu13", "tensorrt_rtx")
"""Packages that bring it, whole or for RTX."""
DEBIAN_LIBRARIES = {"GL": "libgl1", "glib-2.0": "libglib2.0-0"}
"""Libraries that OpenCV's wheel links to, and Debian's packages of them."""
EXTRAS = {"lsl": "pylsl", "rerun": "rerun-sdk", "metrics": "prometheus-client", "files": "av"}
"""Extra -> its package."""
FILMS = (".mkv", ".mp4", ".avi", ".mov", ".webm")
"""Recordings that PyAV reads."""
FACE_LICENCES = {
    "dlib": "dlib code BSL-1.0; its landmark model was trained on data for research use only",
    "mediapipe": "Apache-2.0, code and face_landmarker.task",
    "manual": "no model",
}


def cameras(config: Config) -> tuple[str, ...]:
    """Every camera of the session, as `--camera` names it."""
    return (config.capture.camera, *config.app.cameras)


def camera_kinds(config: Config) -> tuple[str, ...]:
    """What kinds they are, each once: 'realsense' of 'realsense:123'."""
    return tuple(dict.fromkeys(camera.partition(":")[0] for camera in cameras(config)))


def python(machine: Machine, _: Config) -> Line:
    """Version of Python."""
    found = ".".join(map(str, machine.python))
    if machine.python < OLDEST_PYTHON:
        return fail("python", found, "install Python 3.11 or newer and make the virtual environment anew")
    return ok("python", found)


def packages(machine: Machine, _: Config) -> Line:
    """Every package that the core needs, at the version it needs."""
    missing, old = [], []
    needed = [text for text in machine.requirements() if "extra ==" not in text]
    for text in needed:
        name, least = re.match(r"([\w.-]+)(?:\[.*\])?(?:>=([\d.]+))?", text).groups()  # type: ignore[union-attr]
        found = machine.version_of(name)
        if found is None:
            missing.append(name)
        elif least and _numbers(found) < _numbers(least):
            old.append(f"{name} {found} (needs {least})")
    if missing or old:
        wrong = "; ".join([*(f"{name} is missing" for name in missing), *(f"{text} is too old" for text in old)])
        return fail("packages", wrong, "pip install --upgrade sfam-live")
    if not needed:
        return fail("packages", "sfam-live itself is not installed", "pip install sfam-live, or pip install -e . here")
    if not machine.compiled():
        remedy = "install a C compiler (Debian: apt-get install gcc libc6-dev) and sfam-live once more"
        return warn("packages", "compiled loops were not built; NumPy does the same at twice the cost a frame", remedy)
    return ok("packages", f"{len(needed)} of {len(needed)}")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text.split("+")[0])[:3])


def opencv(machine: Machine, _: Config) -> Line:
    """Exactly one OpenCV wheel: several overwrite each other's files."""
    wheels = list(machine.opencv_wheels())
    if wheels != [OPENCV]:
        remove = " ".join(wheels) or OPENCV
        return fail(
            "opencv",
            f"installed: {', '.join(wheels) or 'none'}",
            f"pip uninstall -y {remove} && pip install {OPENCV}",
        )
    return ok("opencv", f"{OPENCV} {machine.version_of(OPENCV)}")


def libraries(machine: Machine, _: Config) -> Line:
    """What OpenCV's wheel links to and pip does not bring."""
    if machine.system != "Linux":
        return ok("system libraries", f"nothing more is needed on {machine.system}")
    missing = [package for library, package in DEBIAN_LIBRARIES.items() if machine.find_library(library) is None]
    if missing:
        return fail("system libraries", f"missing: {', '.join(missing)}", f"apt-get install {' '.join(missing)}")
    return ok("system libraries", ", ".join(DEBIAN_LIBRARIES.values()))


def camera_sdk(machine: Machine, config: Config) -> Line:
    """The vendors' SDKs of the configured cameras."""
    versions = {kind: machine.version_of(package) for kind, (package, _) in SDKS.items()}
    missing = [kind for kind in camera_kinds(config) if kind in SDKS and versions[kind] is None]
    if missing:
        lacking = ", ".join(f"{SDKS[kind][0]} is missing, which camera {kind} needs" for kind in missing)
        return fail("camera sdk", lacking, "; ".join(SDKS[kind][1] for kind in missing))
    there = [f"{SDKS[kind][0]} {found}" for kind, found in versions.items() if found]
    return ok("camera sdk", ", ".join(there) or "none; recordings and the demo need none")


def libusb(machine: Machine, config: Config) -> Line:
    """The RealSense wheel's one system library."""
    if machine.system != "Linux":
        return ok("libusb", f"comes with the SDK on {machine.system}")
    if machine.find_library("usb-1.0") is not None:
        return ok("libusb", "libusb-1.0")
    if "realsense" in camera_kinds(config) or machine.version_of("pyrealsense2") is not None:
        return fail("libusb", "libusb-1.0 is missing, without which pyrealsense2 cannot be imported",
                    "apt-get install libusb-1.0-0")  # fmt: skip
    return ok("libusb", "missing; only RealSense cameras need it")


def face(machine: Machine, config: Config) -> Line:
    """Who finds the face, and what it needs beyond the core."""
    backend, path = config.stream.face_backend, config.stream.face_model
    if backend == "dlib":
        return _landmarks(machine)
    if backend != "mediapipe":
        return ok("face", backend)
    found = machine.version_of("mediapipe")
    if found is None:
        return fail("face", "mediapipe is missing", "pip install 'sfam-live[mediapipe]', or stream.face_backend: dlib")
    if path is not None and not Path(path).expanduser().is_file():
        return fail("face", f"{path} does not exist", "set stream.face_model to face_landmarker.task, or to null")
    return ok("face", f"mediapipe {found}")


def _landmarks(machine: Machine) -> Line:
    from sfam.stream.face import FaceError

    try:
        machine.landmark_model()
    except FaceError as error:
        return fail("face", str(error), "pip install --force-reinstall --no-deps face_recognition_models")
    return ok("face", "dlib and its landmark model")


def torch(machine: Machine, config: Config) -> Line:
    """PyTorch, for training and for the torch backend."""
    found = machine.version_of("torch")
    if found is None and config.engine.backend == "torch":
        return fail("torch", "missing, which engine torch needs", "pip install torch, or --engine onnxruntime")
    return ok("torch", found or "not installed; only training and --engine torch need it")


def tensorrt(machine: Machine, config: Config) -> Line:
    """TensorRT in either form, and the GPU it needs."""
    there = [f"{name} {found}" for name in TENSORRT if (found := machine.version_of(name))]
    if there or config.engine.backend != "tensorrt":
        return ok("tensorrt", ", ".join(there) or "not installed; the CPU does it")
    return fail(
        "tensorrt",
        "missing, which engine tensorrt needs",
        "pip install tensorrt_rtx_cu13 (GeForce, RTX) or tensorrt, or use --engine auto",
    )


def web(machine: Machine, config: Config) -> Line:
    """The server of the web overlay."""
    found = machine.version_of("aiohttp")
    if found is None and config.sinks.overlay == "web":
        return fail("web overlay", "aiohttp is missing", "pip install 'sfam-live[web]', or --overlay none")
    return ok("web overlay", f"aiohttp {found}" if found else "aiohttp is not installed; only --overlay web needs it")


def extras(machine: Machine, config: Config) -> Line:
    """Packages of what the settings ask for beyond the core."""
    sinks = config.sinks
    markers = (config.app.markers or "").partition(":")[0]
    asked = {
        "lsl": sinks.lsl or markers == "lsl",
        "rerun": sinks.rerun is not None,
        "metrics": sinks.metrics_port is not None,
        "files": any(camera.lower().endswith(FILMS) for camera in cameras(config)),
    }
    missing = [name for name, wanted in asked.items() if wanted and machine.version_of(EXTRAS[name]) is None]
    if missing:
        lacking = ", ".join(f"{EXTRAS[name]} is missing" for name in missing)
        return fail("extras", lacking, f"pip install 'sfam-live[{','.join(missing)}]'")
    there = [f"{EXTRAS[name]} {machine.version_of(EXTRAS[name])}" for name, wanted in asked.items() if wanted]
    return ok("extras", ", ".join(there) or "none needed")


def model(machine: Machine, config: Config) -> Line:
    """The model computes, on the configured engine, what it is documented to."""
    from sfam.engine.model import ModelError

    try:
        check = machine.check_model(config)
    except (ModelError, ImportError, OSError) as error:
        return fail("model", str(error), "sfam model list; sfam model check NAME; choose another with --model")
    found = f"{check.name} on {check.backend}, off its stored outputs by {check.spot_error:.1g}"
    return ok("model", found)


def licences(machine: Machine, config: Config) -> Line:
    """Terms of the models in use."""
    from sfam.engine.model import ModelError

    faces = FACE_LICENCES.get(config.stream.face_backend, "see its documentation")
    try:
        check = machine.check_model(config)
    except (ModelError, ImportError, OSError) as error:
        return fail("licences", f"unknown: {error}", "repair the model first")
    found = f"{check.name}: {check.licence or 'not stated'}; face backend {config.stream.face_backend}: {faces}"
    if not check.licence:
        return fail("licences", found, "ask the model's author for its terms, and write them into model.json")
    if "research use only" in faces:
        return warn("licences", found, "for commercial use choose another stream.face_backend")
    return ok("licences", found)
