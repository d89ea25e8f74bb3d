"""`sfam doctor`: is this machine fit for a session with these settings, and what to do where it is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from . import doctor_software, doctor_system
from .config import Config
from .doctor_line import Line, fail
from .doctor_machine import Machine

Check = Callable[[Machine, Config], Line]
CHECKS: tuple[Check, ...] = (
    doctor_software.python,
    doctor_software.packages,
    doctor_software.opencv,
    doctor_software.libraries,
    doctor_software.camera_sdk,
    doctor_software.libusb,
    doctor_system.udev,
    doctor_system.camera,
    doctor_system.gpu,
    doctor_software.tensorrt,
    doctor_software.torch,
    doctor_software.face,
    doctor_software.model,
    doctor_software.licences,
    doctor_system.display,
    doctor_software.web,
    doctor_software.extras,
    doctor_system.ports,
    doctor_system.shared_memory,
    doctor_system.disk,
    doctor_system.clock,
)


def examine(config: Config, machine: Machine | None = None, checks: Sequence[Check] = CHECKS) -> list[Line]:
    """All lines, in order; a check that breaks is a failed line, not the end."""
    machine = machine or Machine()
    return [_look(check, machine, config) for check in checks]


def _look(check: Check, machine: Machine, config: Config) -> Line:
    try:
        return check(machine, config)
    except Exception as error:  # the worse the machine, the more the other lines are needed
        name = check.__name__.replace("_", " ")
        return fail(name, f"could not be examined: {type(error).__name__}: {error}", "report this line")


def fit(lines: Sequence[Line]) -> bool:
    """True where nothing failed; warnings do not count."""
    return all(line.state != "fail" for line in lines)
