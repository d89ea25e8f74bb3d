"""The doctor's lines about the machine: cameras, rights, GPU, display, ports, memory, disk and clock."""

from __future__ import annotations

import datetime
from pathlib import Path
from urllib.parse import urlsplit

from .config import Config
from .doctor_line import Line, fail, ok, warn
from .doctor_machine import Machine
from .doctor_software import camera_kind

USB_VENDORS = {"realsense": "8086", "kinect": "045e", "orbbec": "2bc5"}
"""USB vendor of each kind of camera."""
USB_DEVICES = Path("sys/bus/usb/devices")
RULES = (Path("etc/udev/rules.d"), Path("lib/udev/rules.d"), Path("usr/lib/udev/rules.d"))
USB3_MBIT = 5000
FRAME_BYTES = {"640x480": 640 * 480 * 5, "1280x720": 1280 * 720 * 5}
"""Color and depth of one frame."""
NEEDED_DISK_BYTES, PLENTY_DISK_BYTES = 200 * 2**20, 5 * 2**30
"""An hour of results takes some 40 MB; a recording up to 60 GB."""
FIRST_PLAUSIBLE_YEAR = 2025


def camera(machine: Machine, config: Config) -> Line:
    """The configured camera is plugged in, and at a port fast enough for it."""
    kind = camera_kind(config)
    if kind not in USB_VENDORS:
        if kind == "demo" or Path(config.capture.camera).exists():
            return ok("camera", f"{config.capture.camera} needs none")
        return fail("camera", f"{config.capture.camera} does not exist", "name a recording, or --camera demo")
    if machine.system != "Linux":
        return warn("camera", f"not looked for on {machine.system}", "sfam cameras")
    speeds = [_number(path.parent / "speed") for path in _devices(machine, USB_VENDORS[kind])]
    if not speeds:
        return fail(
            "camera", f"no {kind} camera on any USB port", "plug it in, straight into the machine; then sfam cameras"
        )
    if max(speeds) < USB3_MBIT:
        return fail("camera", f"{kind} camera on USB 2 ({max(speeds):g} Mbit/s): full color and depth do not fit",
                    "use a USB 3 port (blue) and cable")  # fmt: skip
    return ok("camera", f"{len(speeds)} {kind}, {max(speeds):g} Mbit/s")


def _devices(machine: Machine, vendor: str) -> list[Path]:
    return [path for path in sorted((machine.root / USB_DEVICES).glob("*/idVendor")) if _text(path) == vendor]


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace").strip()


def _number(path: Path) -> float:
    return float(_text(path)) if path.exists() else 0.0


def udev(machine: Machine, config: Config) -> Line:
    """Rights of ordinary users on the camera."""
    kind = camera_kind(config)
    if machine.system != "Linux" or kind not in USB_VENDORS:
        return ok("udev rules", "not needed for this source")
    rules = [path for folder in RULES for path in sorted((machine.root / folder).glob("*.rules"))]
    mine = [path.name for path in rules if f'="{USB_VENDORS[kind]}"' in _text(path)]
    if mine:
        return ok("udev rules", ", ".join(dict.fromkeys(mine)))
    remedy = (
        "sudo cp packaging/99-sfam-cameras.rules /etc/udev/rules.d/ && "
        "sudo udevadm control --reload-rules && sudo udevadm trigger"
    )
    found = f"no rule for {kind} cameras"
    return (
        warn("udev rules", f"{found}; this user is root", remedy)
        if machine.is_root
        else fail("udev rules", found, remedy)
    )


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


def port(machine: Machine, config: Config) -> Line:
    """The bus address is free."""
    address = config.sinks.publish
    place = urlsplit(address)
    if place.scheme != "tcp" or address.endswith(":*"):
        return ok("port", f"publishing to {address}: none has to be free")
    host = place.hostname or "127.0.0.1"
    if machine.port_is_free("" if host == "*" else host, place.port or 0):
        return ok("port", f"{address} is free")
    return fail("port", f"{address} is taken, perhaps by a running session",
                "end that one, or use --publish tcp://127.0.0.1:PORT")  # fmt: skip


def shared_memory(machine: Machine, config: Config) -> Line:
    """Room for the ring of frames."""
    folder = machine.root / "dev/shm"
    if config.app.single_process or not folder.is_dir():
        return ok("shared memory", "none needed" if config.app.single_process else "no /dev/shm: ordinary files do it")
    free = machine.free_bytes(folder)
    small, large = (config.app.ring_slots * size for size in FRAME_BYTES.values())
    found = f"{free >> 20} MiB free, the ring takes {small >> 20} (640x480) to {large >> 20} (1280x720)"
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
