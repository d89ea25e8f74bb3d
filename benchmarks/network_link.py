"""Two network namespaces and a link between them that loses, delays and narrows; needs Linux, root and iproute2.

Where the kernel has `sch_netem`, tc-netem does it between two veth ends. Where it was built without, as in many small
virtual machines, two TUN devices and a relay in this process do the same to every packet: TCP meets real loss and delay
either way.
"""

from __future__ import annotations

import ctypes
import heapq
import os
import random
import select
import shutil
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

DEVICE = "link0"
ADDRESSES = ("10.205.0.1", "10.205.0.2")
QUEUE_PACKETS = 1000
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_CLONE_NEWNET = 0x40000000


@dataclass(frozen=True, slots=True)
class Impairment:
    """What happens to packets in each direction."""

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    """Share of packets."""
    rate_mbit: float | None = None

    def netem(self) -> list[str]:
        """The same in tc's words."""
        words = ["delay", f"{self.delay_ms}ms", f"{self.jitter_ms}ms"] if self.delay_ms else []
        words += ["loss", f"{100 * self.loss}%"] if self.loss else []
        words += ["rate", f"{self.rate_mbit}mbit"] if self.rate_mbit else []
        return words


@dataclass(frozen=True, slots=True)
class NetworkLink:
    """Two namespaces; a command begins with `inside(0)` or `inside(1)` to run in one, its address is `ADDRESSES[i]`."""

    namespaces: tuple[str, str]
    by: str
    """'netem' or 'relay'."""

    def inside(self, end: int) -> list[str]:
        """Words in front of a command."""
        return ["ip", "netns", "exec", self.namespaces[end]]

    def cut(self) -> None:
        """No packet passes."""
        _ip("-n", self.namespaces[0], "link", "set", DEVICE, "down")

    def mend(self) -> None:
        """As before."""
        _ip("-n", self.namespaces[0], "link", "set", DEVICE, "up")


def available() -> bool:
    """True where this process may make namespaces and links."""
    if os.name != "posix" or os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("tc") is None:
        return False
    try:
        with network_link(Impairment(delay_ms=1.0)):
            return True
    except (subprocess.CalledProcessError, OSError):
        return False


@contextmanager
def network_link(impairment: Impairment, seed: int = 1) -> Iterator[NetworkLink]:
    """The link, up; everything is gone afterwards.

    Raises:
        CalledProcessError, OSError: not allowed here.
    """
    names = (f"sfam-a-{os.getpid()}", f"sfam-b-{os.getpid()}")
    relay: _Relay | None = None
    try:
        for name in names:
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        if _netem_works(names[0]):
            _veth(names, impairment)
            by = "netem"
        else:
            relay = _Relay([_tun(name) for name in names], impairment, random.Random(seed))
            by = "relay"
        for name, address in zip(names, ADDRESSES, strict=True):
            _ip("-n", name, "addr", "add", f"{address}/24", "dev", DEVICE)
            _ip("-n", name, "link", "set", DEVICE, "up")
        yield NetworkLink(names, by)
    finally:
        if relay is not None:
            relay.close()
        for name in names:
            with suppress(subprocess.CalledProcessError):
                _ip("netns", "del", name)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def _netem_works(namespace: str) -> bool:
    command = ["tc", "-n", namespace, "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        return False
    subprocess.run(["tc", "-n", namespace, "qdisc", "del", "dev", "lo", "root"], check=True, capture_output=True)
    return True


def _veth(names: tuple[str, str], impairment: Impairment) -> None:
    peer = ["type", "veth", "peer", "name", DEVICE, "netns", names[1]]
    _ip("link", "add", DEVICE, "netns", names[0], *peer)
    for name in names:
        if impairment.netem():
            command = ["tc", "-n", name, "qdisc", "add", "dev", DEVICE, "root", "netem", "limit", str(QUEUE_PACKETS)]
            subprocess.run([*command, *impairment.netem()], check=True, capture_output=True)


def _tun(namespace: str) -> int:
    """Descriptor of a TUN device made in a namespace."""
    made: list[int | OSError] = []

    def make() -> None:
        import fcntl

        try:
            libc = ctypes.CDLL(None, use_errno=True)
            with open(f"/run/netns/{namespace}") as place:
                if libc.setns(place.fileno(), _CLONE_NEWNET):  # of this thread only
                    raise OSError(ctypes.get_errno(), "setns")
            device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH", DEVICE.encode(), _IFF_TUN | _IFF_NO_PI))
            made.append(device)
        except OSError as error:
            made.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    (result,) = made
    if isinstance(result, OSError):
        raise result
    return result


class _Relay:
    """Carries packets from each TUN device to the other, impaired."""

    def __init__(self, devices: list[int], impairment: Impairment, chance: random.Random) -> None:
        self._devices = devices
        self._impairment = impairment
        self._chance = chance
        self._free_s = [0.0, 0.0]
        self._last_s = [0.0, 0.0]
        self._waiting: list[tuple[float, int, int, bytes]] = []
        self._held = [0, 0]
        self._count = 0
        self._closed = False
        self._thread = threading.Thread(target=self._carry, name="link", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop carrying."""
        self._closed = True
        self._thread.join()
        for device in self._devices:
            os.close(device)

    def _carry(self) -> None:
        while not self._closed:
            now_s = time.monotonic()
            wait_s = 0.1 if not self._waiting else max(0.0, min(0.1, self._waiting[0][0] - now_s))
            ready, _, _ = select.select(self._devices, [], [], wait_s)
            for device in ready:
                self._take(self._devices.index(device))
            now_s = time.monotonic()
            while self._waiting and self._waiting[0][0] <= now_s:
                _, _, end, packet = heapq.heappop(self._waiting)
                self._held[end] -= 1
                with suppress(OSError):  # the other end is down: cut
                    os.write(self._devices[1 - end], packet)

    def _take(self, end: int) -> None:
        for _ in range(64):
            try:
                packet = os.read(self._devices[end], 65536)
            except OSError:
                return
            what, now_s = self._impairment, time.monotonic()
            if self._chance.random() < what.loss or self._held[end] >= QUEUE_PACKETS:
                continue
            sent_s = now_s
            if what.rate_mbit is not None:
                sent_s = max(now_s, self._free_s[end]) + len(packet) * 8e-6 / what.rate_mbit
                self._free_s[end] = sent_s
            due_s = sent_s + (what.delay_ms + self._chance.gauss(0.0, what.jitter_ms)) / 1e3
            self._last_s[end] = due_s = max(due_s, self._last_s[end])  # a link delays, it does not reorder
            self._count += 1
            self._held[end] += 1
            heapq.heappush(self._waiting, (due_s, self._count, end, packet))
