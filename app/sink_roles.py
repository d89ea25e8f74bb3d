"""Sinks that watch a session from processes of their own: plain subscribers of its bus."""

from __future__ import annotations

import secrets
import time
import webbrowser
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sfam.sinks.bus_address import PUBLISH_NOTHING, require_private, seen_from_here
from sfam.sinks.config import SinksConfig
from sfam.sinks.curve import PUBLIC, SECRET, SERVER, SubscriberKeys
from sfam.sinks.lsl_out import require_lsl
from sfam.sinks.overlay_web import WebOverlay, all_addresses, is_loopback
from sfam.sinks.overlay_window import display_available
from sfam.sinks.rerun_view import VIEWER, Target, require_rerun
from sfam.sinks.results_mcap import PICTURE_TIERS
from sfam.sinks.sink_error import SinkError

from .config import ConfigError
from .copies_made import WRITES
from .role import Role
from .role_link import RoleLink

PAGE_OPEN = "page"
"""Kind of message: the address under which the page can be opened."""
METRICS_OPEN = "metrics"
RERUN = "rerun"
"""Name of the process that feeds Rerun."""
RING = "ring"
"""Command to it: (camera, ring) that pictures and depth can be had from."""
JOINED = "joined"
"""Kind of message: the sink follows the bus."""
OVERLAY = "overlay"
"""Name of the process that shows a session."""
LOOK = "look"
"""Command to an overlay: (camera, ring) whose frames the operator may see, whatever leaves by bus."""
AWAITED = frozenset({"lsl", "mcap", "rerun"})
"""Sinks that keep what they get, so the first frame waits for them."""
MOST_PARTS = 100
DRAIN_S = 5.0
"""How long a sink goes on after it was asked to stop, to get the end of the session from the bus."""


OVERLAY_KEY = "overlay"
"""Name of the subscriber that overlay and metrics are, on a bus with keys."""


@dataclass(frozen=True, slots=True)
class BusWatch:
    """What a process needs to watch the session's bus."""

    address: str
    keys: SubscriberKeys | None = None
    port: int = 0
    """To serve on, where it serves something."""


@dataclass(frozen=True, slots=True)
class FileWatch:
    """What a process needs to keep what the bus says."""

    bus: BusWatch
    path: Path
    pictures: bool
    """The privacy tier lets pictures be stored."""


@dataclass(frozen=True, slots=True)
class RerunWatch:
    """What the process that feeds rerun needs."""

    bus: BusWatch
    target: Target
    rate_hz: float


def require_sinks(config: SinksConfig) -> None:
    """Refuse a bus, an overlay or metrics that cannot work, before anything starts.

    Raises:
        SinkError: a public address without keys, no display for the window, no bus to subscribe to, or no key for it.
    """
    if config.publish != PUBLISH_NOTHING:
        require_private(config.publish, config.insecure or config.keys is not None)
    if config.overlay == "window" and not display_available():
        raise SinkError("--overlay window: no display answers here; run with --overlay web or none, or set DISPLAY")
    for asked, name in (
        (config.overlay != "none", f"--overlay {config.overlay}"),
        (config.metrics_port is not None, "--metrics"),
        (config.lsl, "--lsl"),
        (config.mcap is not None, "--mcap"),
        (config.rerun is not None, "--rerun"),
    ):
        if asked and config.publish == PUBLISH_NOTHING:
            raise SinkError(f"{name} shows what is published; leave --publish none out")
        if asked:
            bus_watch(config)
    if config.lsl:
        require_lsl()
    if config.mcap is not None and Path(config.mcap).exists():
        raise SinkError(f"--mcap {config.mcap}: exists already and is never overwritten; choose another name")
    if config.rerun is not None:
        require_rerun()
        Target(config.rerun).refuse_existing()


def require_no_sinks(config: SinksConfig) -> None:
    """Refuse what one process cannot hold.

    Raises:
        ConfigError: there is something that watches the bus.
    """
    if sink_roles(config):
        raise ConfigError("overlays and other sinks need processes of their own; leave --single-process out")


def sink_roles(config: SinksConfig) -> list[Role]:
    """The processes that the settings ask for; none of them is essential."""
    roles = []
    if config.overlay == "window":
        roles.append(Role(OVERLAY, window_role, bus_watch(config), essential=False, yields=True))
    elif config.overlay == "web":
        roles.append(Role(OVERLAY, web_overlay_role, web_overlay(config), essential=False, yields=True))
    if config.metrics_port is not None:
        roles.append(Role("metrics", metrics_role, bus_watch(config, config.metrics_port), essential=False))
    if config.lsl:
        roles.append(Role("lsl", lsl_role, bus_watch(config), essential=False))
    if config.mcap is not None:
        mcap = FileWatch(bus_watch(config), Path(config.mcap), config.privacy in PICTURE_TIERS)
        roles.append(Role("mcap", mcap_role, mcap, essential=False, yields=True))
    if config.rerun is not None:
        rerun = RerunWatch(bus_watch(config), Target(config.rerun, config.rerun_memory), config.rerun_rate_hz)
        roles.append(Role(RERUN, rerun_role, rerun, essential=False, yields=True))
    return roles


def bus_watch(config: SinksConfig, port: int = 0) -> BusWatch:
    """Where the bus is found from this machine, with the key that lets our own processes in.

    Raises:
        SinkError: the bus has keys, and none is for us.
    """
    address = seen_from_here(config.publish)
    if config.keys is None:
        return BusWatch(address, None, port)
    folder = Path(config.keys)
    try:
        keys = SubscriberKeys.load(folder / f"{OVERLAY_KEY}{SECRET}", folder / f"{SERVER}{PUBLIC}")
    except SinkError as error:
        raise SinkError(
            f"overlay and metrics subscribe to the bus like anybody else, and it has keys: run sfam keys new {folder} "
            f"--client {OVERLAY_KEY} ({error})"
        ) from error
    return BusWatch(address, keys, port)


def web_overlay(config: SinksConfig) -> WebOverlay:
    """What the web overlay serves; beyond loopback with a token that nobody knows yet."""
    host, _, port = config.web_address.rpartition(":")
    host = host.strip("[]")
    token = "" if is_loopback(host) else secrets.token_urlsafe(24)
    watch = bus_watch(config)
    return WebOverlay(all_addresses(watch.address, config.web_also), host, int(port), token, watch.keys)


def window_role(watch: BusWatch, link: RoleLink) -> None:
    """Process 'overlay': a window that subscribes to the session's bus until it is closed or asked to stop."""
    from sfam.sinks.overlay_window import show_overlay

    rings = _rings(link)
    show_overlay(watch.address, running=lambda: not link.stopping(), keys=watch.keys, rings=lambda: rings)


def _rings(link: RoleLink) -> dict[str, str]:
    """The rings that the supervisor names, by camera; filled as it does."""
    rings: dict[str, str] = {}
    link.on(LOOK, lambda named: rings.update([named]))
    return rings


def web_overlay_role(overlay: WebOverlay, link: RoleLink) -> None:
    """Process 'overlay': the page of the session, served until asked to stop; tells its address."""
    from sfam.sinks.overlay_web import serve_overlay

    rings = _rings(link)
    serve_overlay(
        overlay,
        running=lambda: not link.stopping(),
        ready=lambda address: link.tell(PAGE_OPEN, address),
        rings=lambda: rings,
    )


def metrics_role(watch: BusWatch, link: RoleLink) -> None:
    """Process 'metrics': the session's figures for Prometheus, served until asked to stop."""
    from sfam.sinks.metrics import serve_metrics

    serve_metrics(
        watch.address,
        watch.port,
        running=lambda: not link.stopping(),
        ready=lambda address: link.tell(METRICS_OPEN, address),
        keys=watch.keys,
    )


def lsl_role(watch: BusWatch, link: RoleLink) -> Mapping[str, int]:
    """Process 'lsl': sends results on as streams of Lab Streaming Layer; returns what was sent and held back."""
    from sfam.sinks.lsl_out import serve_lsl

    counts = serve_lsl(
        watch.address, running=until_drained(link), joined=lambda: link.tell(JOINED, ""), keys=watch.keys
    )
    held_back = ", ".join(f"{count} {cause}" for cause, count in counts.items() if cause not in ("score", "event"))
    if held_back:
        link.tell("warning", f"lsl: {held_back}")
    return counts


def mcap_role(watch: FileWatch, link: RoleLink) -> Mapping[str, int]:
    """Process 'mcap': writes results, and pictures by tier, into a file; returns its messages by channel."""
    from sfam.sinks.mcap_sink import write_mcap

    return write_mcap(
        watch.bus.address,
        free_name(watch.path),
        pictures=watch.pictures,
        running=until_drained(link),
        joined=lambda: link.tell(JOINED, ""),
        writes=lambda camera, path: link.tell(WRITES, (camera, path)),
        keys=watch.bus.keys,
    )


def rerun_role(watch: RerunWatch, link: RoleLink) -> Mapping[str, int]:
    """Process 'rerun': logs results, and pictures and flow by tier; returns its messages by kind."""
    from sfam.sinks.rerun_sink import send_to_rerun

    rings: dict[str, str] = {}
    link.on(RING, lambda named: rings.update([named]))
    target = watch.target
    if target.place != VIEWER:
        target = replace(target, place=str(free_name(Path(target.place))))
    return send_to_rerun(
        watch.bus.address,
        target,
        rate_hz=watch.rate_hz,
        running=until_drained(link),
        joined=lambda: link.tell(JOINED, ""),
        writes=lambda camera, path: link.tell(WRITES, (camera, path)),
        keys=watch.bus.keys,
        rings=lambda: dict(rings),
    )


def free_name(path: Path) -> Path:
    """The path itself, or for a sink that is started again its first numbered sister that does not exist yet."""
    names = (path if number == 1 else path.with_stem(f"{path.stem}_{number}") for number in range(1, MOST_PARTS))
    return next((name for name in names if not name.exists()), path)


def until_drained(link: RoleLink) -> Callable[[], bool]:
    """True until the stop, and for `DRAIN_S` after it: the session's last messages are still on their way then."""
    stopped_s: list[float] = []

    def running() -> bool:
        if link.stopping() and not stopped_s:
            stopped_s.append(time.monotonic())
        return not stopped_s or time.monotonic() - stopped_s[0] < DRAIN_S

    return running


def on_port(settings: Any, page: str) -> Any:
    """The settings of a sink that is started again: where it served before, so that open pages find it."""
    port = urlsplit(page).port if page else None
    return settings if port is None else replace(settings, port=port)


def announce(kind: str, address: str, say: Callable[[str], None], *, again: bool = False) -> None:
    """Name a page or metrics address to the operator, and open the page where there is a display and it is new."""
    if kind == METRICS_OPEN:
        say(f"metrics: {address}")
        return
    say(f"overlay: {address}")
    if display_available() and not again:
        webbrowser.open(address)
