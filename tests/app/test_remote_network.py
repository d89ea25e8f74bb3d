"""Frames over a network that loses and delays packets: a short form of benchmarks/remote_link.py."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks.network_link import ADDRESSES, Impairment, available, network_link
from benchmarks.remote_link import Case, run_case

LINK = Impairment(delay_ms=10.0, jitter_ms=1.0, loss=0.005)


@pytest.fixture(autouse=True, scope="module")
def _namespaces() -> None:
    if not available():
        pytest.skip("needs Linux, root, iproute2 and leave to make network namespaces")


def test_the_link_between_two_hosts_delays_and_loses_packets() -> None:
    echo = "import socket,sys; s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.bind((sys.argv[1],9)); print(flush=True)\nwhile 1: s.sendto(*s.recvfrom(99))"  # noqa: E501
    ask = (
        "import socket,sys,time; s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.settimeout(1); lost=0; took=[]\n"
        "for n in range(20):\n t=time.monotonic(); s.sendto(b'%d'%n,(sys.argv[1],9))\n try: s.recv(99); "
        "took.append(time.monotonic()-t)\n except TimeoutError: lost+=1\nprint(min(took), lost)"
    )
    with network_link(Impairment(delay_ms=20.0, loss=0.05), seed=3) as link:
        other = subprocess.Popen([*link.inside(0), sys.executable, "-c", echo, ADDRESSES[0]], stdout=subprocess.PIPE)
        assert other.stdout is not None
        other.stdout.readline()
        done = subprocess.run([*link.inside(1), sys.executable, "-c", ask, ADDRESSES[0]], capture_output=True,
                              text=True, timeout=60, check=True)  # fmt: skip
        other.kill()
        other.communicate()
    quickest_s, lost = map(float, done.stdout.split())
    assert quickest_s >= 0.04
    assert lost < 20


@pytest.mark.slow  # a camera host and an analysing host, in namespaces of their own, for two seconds
def test_frames_cross_a_network_with_loss_and_delay_and_every_one_is_accounted_for() -> None:
    got = run_case(Case("lossy", LINK), "demo", 2.0)
    assert got.error == ""
    assert got.frames > 1
    assert got.delay_p50_ms >= 9.0
    assert got.clock_error_ms <= got.clock_within_ms + 0.01
    assert set(got.lost) <= {"lost_on_link", "lost_on_camera_host"}
