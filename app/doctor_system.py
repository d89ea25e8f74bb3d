"""The doctor's lines about the machine: cameras, rights, GPU, display, ports, memory, disk and clock."""

from __future__ import annotations

import datetime
from pathlib import Path
from urllib.parse import urlsplit

from sfam.capture import source as sources
from sfam.capture.camera_list import CameraListing, wanted_serial
from sfam.capture.source import SourceError

from .config import Config
from .doctor_line import Line, fail, ok, warn
from .doctor_machine import Machine
from .doctor_software import camera_kinds, cameras

USB_VENDORS = {"realsense": "8086", "kinect": "045e", "orbbec": "2bc5", "oak": "03e7"}
"""USB vendor of each kind of camera."""
USB_DEVICES = Path("sys/bus/usb/devices")
UDEV_RULES = Path(sources.__file__).parent / "data" / "99-sfam-cameras.rules"
"""The file of rules that comes with the program."""
RULES = (Path("etc/udev/rules.d"), Path("lib/udev/rules.d"), Path("usr/lib/udev/rules.d"))
USB3_MBIT = 5000
SPEAKS_USB2_FIRST = ("oak",)
"""Kinds of camera that speak USB 2 until they have loaded their program."""
FRAME_BYTES = {"640x480": 640 * 480 * 5, "1280x720": 1280 * 720 * 5}
"""Color and depth of one frame."""
NEEDED_DISK_BYTES, PLENTY_DISK_BYTES = 200 * 2**20, 5 * 2**30
"""An hour of results takes some 40 MB; a recording up to 60 GB."""
FIRST_PLAUSIBLE_YEAR = 2025


def camera(machine: Machine, config: Config) -> Line:
    """The configured cameras are plugged in, and at ports fast enough for them; the first trouble is told."""
    lines = [_one_camera(machine, name, config) for name in cameras(config)]
    worst = sorted(lines, key=lambda line: ("fail", "warn", "ok").index(line.state))[0]
    return worst if worst.state != "ok" else ok("camera", "; ".join(line.found for line in lines))


def _one_camera(machine: Machine, name: str, config: Config) -> Line:
    kind = name.partition(":")[0]
    if kind == "tcp":
        return _camera_host(machine, name)
    if kind == "webcam":
        return _webcam(machine, name)
    if kind not in USB_VENDORS:
        if kind == "demo" or Path(name).exists():
            return ok("camera", f"{name} needs none")
        return fail("camera", f"{name} does not exist", "name a recording, or --camera demo")
    if machine.system != "Linux":
        return warn("camera", f"not looked for on {machine.system}", "sfam cameras")
    serial = wanted_serial(name, config.capture.serial_no)
    if serial is None and sum(other.partition(":")[0] == kind for other in cameras(config)) > 1:
        return fail("camera", f"{kind} is asked for more than once, and not each time by its serial number",
                    f"--camera {kind}:SERIAL for each; sfam cameras lists them")  # fmt: skip
    return _usb_camera(machine, kind, serial)


def _usb_camera(machine: Machine, kind: str, serial: str | None) -> Line:
    speeds = [_number(path.parent / "speed") for path in _devices(machine, USB_VENDORS[kind])]
    if not speeds:
        return fail(
            "camera", f"no {kind} camera on any USB port", "plug it in, straight into the machine; then sfam cameras"
        )
    if serial is not None:
        return _named_camera(machine, kind, serial)
    # parts of the others are on USB 2 at any port
    speed = min(speeds) if kind == "realsense" else max(speeds)
    if speed < USB3_MBIT and kind not in SPEAKS_USB2_FIRST:
        return _on_usb2(f"{kind} camera ({speed:g} Mbit/s)")
    return ok("camera", f"{len(speeds)} {kind}, {speed:g} Mbit/s")


def _named_camera(machine: Machine, kind: str, serial: str) -> Line:
    """The serial number that USB tells may be another than the SDK's, so the SDK is asked."""
    name = f"{kind}:{serial}"
    listed: dict[str, CameraListing] = {}
    try:
        for camera in machine.list_cameras(kind):
            listed[camera.serial] = camera
    except SourceError as error:  # of another one, where this one has answered
        if serial not in listed:
            return warn("camera", f"cannot tell whether {name} is plugged in: {error}", "mend that, then sfam cameras")
    if serial not in listed:
        return fail("camera", f"{name} does not answer; of its kind there: {', '.join(listed) or 'none'}",
                    "plug it in, straight into the machine; then sfam cameras")  # fmt: skip
    if listed[serial].connection.startswith("2") and kind not in SPEAKS_USB2_FIRST:
        return _on_usb2(name)
    return ok("camera", f"{name} answers")


def _on_usb2(what: str) -> Line:
    return fail("camera", f"{what} on USB 2: full color and depth do not fit", "use a USB 3 port (blue) and cable")


def _camera_host(machine: Machine, name: str) -> Line:
    host, _, port_text = name.removeprefix("tcp://").rpartition(":")
    if not host or not port_text.isdigit():
        return fail("camera", f"{name} names no host and port", "write tcp://HOST:PORT, such as tcp://10.0.0.7:5572")
    if machine.answers(host.strip("[]"), int(port_text)):
        return ok("camera", f"something answers on {name}")
    return fail("camera", f"nothing answers on {name}", "start sfam serve there, and let the port through firewalls")


def _webcam(machine: Machine, name: str) -> Line:
    number = name.partition(":")[2] or "0"
    if machine.system != "Linux" or (machine.root / f"dev/video{number}").exists():
        return ok("camera", f"{name}")
    return fail("camera", f"{name}: there is no /dev/video{number}", "plug it in; ls /dev/video* shows the numbers")


def _devices(machine: Machine, vendor: str) -> list[Path]:
    return [path for path in sorted((machine.root / USB_DEVICES).glob("*/idVendor")) if _text(path) == vendor]


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace").strip()


def _number(path: Path) -> float:
    return float(_text(path)) if path.exists() else 0.0


def udev(machine: Machine, config: Config) -> Line:
    """Rights of ordinary users on the cameras."""
    kinds = [kind for kind in camera_kinds(config) if kind in USB_VENDORS]
    if machine.system != "Linux" or not kinds:
        return ok("udev rules", f"not needed for this source; the rules for cameras are in {UDEV_RULES}")
    rules = [path for folder in RULES for path in sorted((machine.root / folder).glob("*.rules"))]
    mine = {kind: [path.name for path in rules if f'="{USB_VENDORS[kind]}"' in _text(path)] for kind in kinds}
    missing = [kind for kind in kinds if not mine[kind]]
    if not missing:
        return ok("udev rules", ", ".join(dict.fromkeys(name for names in mine.values() for name in names)))
    found = f"no rule for {' and '.join(missing)} cameras"
    remedy = f"sudo cp {UDEV_RULES} /etc/udev/rules.d/ && sudo udevadm control --reload-rules && sudo udevadm trigger"
    if machine.is_root:
        return warn("udev rules", f"{found}; this user is root", remedy)
    return fail("udev rules", found, remedy)


def gpu(machine: Machine, config: Config) -> Line:
    """An NVIDIA GPU and its driver."""
    listed = machine.output_of(["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"])
    if listed and listed.strip():
        return ok("gpu", "; ".join(listed.strip().splitlines()))
    if config.engine.backend == "tensorrt":
        return fail("gpu", "none answers nvidia-smi, which engine tensorrt needs",
                    "install the NVIDIA driver, give the container --gpus all, or use --engine auto")  # fmt: skip
    return ok("gpu", "none; the CPU does it")


def display(machine: Machine, config: Config) -> Line:
    """A display, where a window is asked for."""
    if machine.display():
        return ok("display", machine.environment.get("DISPLAY") or "there")
    if config.sinks.overlay == "window":
        return fail("display", "none answers", "set DISPLAY, or use --overlay none")
    return ok("display", "none; only --overlay window needs one")


def ports(machine: Machine, config: Config) -> Line:
    """The addresses of bus, web overlay and metrics are free."""
    wanted = {"--publish": _place(config.sinks.publish)}
    if config.sinks.overlay == "web":
        wanted["sinks.web_address"] = _place(f"tcp://{config.sinks.web_address}")
    if config.sinks.metrics_port:
        wanted["--metrics"] = ("127.0.0.1", config.sinks.metrics_port)
    taken = [
        f"{host or '*'}:{number} ({option})"
        for option, (host, number) in wanted.items()
        if number and not machine.port_is_free(host, number)
    ]
    if taken:
        return fail("ports", f"taken, perhaps by a running session: {', '.join(taken)}",
                    "end that one, or choose others, such as --publish tcp://127.0.0.1:5573")  # fmt: skip
    free = [str(number) for _, number in wanted.values() if number]
    return ok("ports", f"free: {', '.join(free)}" if free else f"publishing to {config.sinks.publish}: none needed")


def _place(address: str) -> tuple[str, int]:
    """Host and port to listen on; port 0 where none has to be free."""
    place = urlsplit(address)
    if place.scheme != "tcp" or address.endswith(":*"):
        return "", 0
    host = place.hostname or "127.0.0.1"
    return ("" if host == "*" else host), place.port or 0


def shared_memory(machine: Machine, config: Config) -> Line:
    """Room for the rings of frames, one a camera."""
    folder = machine.root / "dev/shm"
    if config.app.single_process or not folder.is_dir():
        return ok("shared memory", "none needed" if config.app.single_process else "no /dev/shm: ordinary files do it")
    free = machine.free_bytes(folder)
    rings = len(cameras(config))
    small, large = (rings * config.app.ring_slots * size for size in FRAME_BYTES.values())
    what = "the ring takes" if rings == 1 else f"{rings} rings take"
    found = f"{free >> 20} MiB free, {what} {small >> 20} (640x480) to {large >> 20} (1280x720)"
    remedy = "give the container --shm-size=256m, free /dev/shm, or lower app.ring_slots"
    if free < small:
        return fail("shared memory", found, remedy)
    return ok("shared memory", found) if free >= large else warn("shared memory", found, remedy)


def disk(machine: Machine, config: Config) -> Line:
    """Room for results."""
    out = Path(config.sinks.out or "sessions")
    free = machine.free_bytes(out)
    found = f"{free / 2**30:.1f} GiB free for {out}"
    remedy = "free some, or choose another --out; sfam rehearse tells what an hour needs"
    if free < NEEDED_DISK_BYTES:
        return fail("disk", found, remedy)
    return ok("disk", found) if free >= PLENTY_DISK_BYTES else warn("disk", found, remedy)


def clock(machine: Machine, _: Config) -> Line:
    """UTC stamps are right, and stay right."""
    year = datetime.datetime.fromtimestamp(machine.now_s(), datetime.UTC).year
    if year < FIRST_PLAUSIBLE_YEAR:
        return fail("clock", f"the clock says {year}", "set it: timedatectl set-ntp true")
    answer = machine.output_of(["timedatectl", "show", "--property=NTPSynchronized", "--value"])
    if answer is not None and answer.strip() == "yes":
        return ok("clock", "synchronised")
    found = (
        "not synchronised"
        if answer is not None and answer.strip() == "no"
        else "cannot tell whether it is synchronised"
    )
    return warn("clock", found, "timedatectl set-ntp true; matters where stamps meet those of other machines")
