"""Sinks that watch a session from processes of their own: plain subscribers of its bus."""

from __future__ import annotations

import secrets
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass

from sfam.sinks.config import SinksConfig
from sfam.sinks.overlay_web import WebOverlay, all_addresses, is_loopback
from sfam.sinks.overlay_window import display_available
from sfam.sinks.sink_error import SinkError

from .role_link import RoleLink
from .roles import overlay_role
from .supervisor import Role

PAGE_OPEN = "page"
"""Kind of message: the address under which the page can be opened."""
METRICS_OPEN = "metrics"


@dataclass(frozen=True, slots=True)
class MetricsPlan:
    """What the metrics process needs."""

    address: str
    """Of the bus."""
    port: int


def require_sinks(config: SinksConfig) -> None:
    """Refuse an overlay or metrics that cannot work, before anything starts.

    Raises:
        SinkError: no display for the window, or no bus to subscribe to.
    """
    if config.overlay == "window" and not display_available():
        raise SinkError("--overlay window: no display answers here; run with --overlay web or none, or set DISPLAY")
    overlay = f"--overlay {config.overlay}"
    for asked, name in ((config.overlay != "none", overlay), (config.metrics_port is not None, "--metrics")):
        if asked and config.publish == "none":
            raise SinkError(f"{name} shows what is published; leave --publish none out")


def sink_roles(config: SinksConfig) -> list[Role]:
    """The processes that the settings ask for; none of them is essential."""
    roles = []
    if config.overlay == "window":
        roles.append(Role("overlay", overlay_role, config.publish, essential=False))
    elif config.overlay == "web":
        roles.append(Role("overlay", web_overlay_role, web_overlay(config), essential=False))
    if config.metrics_port is not None:
        roles.append(Role("metrics", metrics_role, MetricsPlan(config.publish, config.metrics_port), essential=False))
    return roles


def web_overlay(config: SinksConfig) -> WebOverlay:
    """What the web overlay serves; beyond loopback with a token that nobody knows yet."""
    host, _, port = config.web_address.rpartition(":")
    host = host.strip("[]")
    token = "" if is_loopback(host) else secrets.token_urlsafe(24)
    return WebOverlay(all_addresses(config.publish, config.web_also), host, int(port), token)


def web_overlay_role(overlay: WebOverlay, link: RoleLink) -> None:
    """Process 'overlay': the page of the session, served until asked to stop; tells its address."""
    from sfam.sinks.overlay_web import serve_overlay

    serve_overlay(overlay, running=lambda: not link.stopping(), ready=lambda address: link.tell(PAGE_OPEN, address))


def metrics_role(plan: MetricsPlan, link: RoleLink) -> None:
    """Process 'metrics': the session's figures for Prometheus, served until asked to stop."""
    from sfam.sinks.metrics import serve_metrics

    serve_metrics(
        plan.address,
        plan.port,
        running=lambda: not link.stopping(),
        ready=lambda address: link.tell(METRICS_OPEN, address),
    )


def announce(kind: str, address: str, say: Callable[[str], None]) -> None:
    """Name a page or metrics address to the operator, and open the page where there is a display."""
    if kind == METRICS_OPEN:
        say(f"metrics: {address}")
        return
    say(f"overlay: {address}")
    if display_available():
        webbrowser.open(address)
