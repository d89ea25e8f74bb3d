"""The web overlay: a small server that subscribes to the bus and shows it as a page. Runs in its own process.

Pages of other sites that happen to be open in the same browser must not read the camera: a request has to name this
server as its host, and a socket has to come from this server's own page. Beyond loopback a token is asked for too.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .bus_listener import BusListener
from .curve import SubscriberKeys
from .live_frames import LiveFrames
from .overlay_feed import CameraFeed
from .sink_error import SinkError
from .turns import Turns

if TYPE_CHECKING:
    from aiohttp import web

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

RATE_HZ = 15.0
LOOK_HZ = 30.0
"""Looks at buses and rings a second: twice as many as pictures, lest one that comes a little late be passed over."""
HEARTBEAT_S = 0.5
"""A page hears from the server at least this often; it calls itself dead when it does not."""
SEND_TIMEOUT_S = 5.0
LONGEST_REQUEST = 1024
COOKIE = "sfam_token"
PAGE_FILES = {
    "/": ("overlay.html", "text/html"),
    **{f"/{name}.js": (f"{name}.js", "text/javascript") for name in ("overlay", "strip", "view")},
    "/overlay.css": ("overlay.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class WebOverlay:
    """What to serve and where."""

    addresses: tuple[str, ...]
    """Of the buses; every camera on them becomes a tab."""
    host: str = "127.0.0.1"
    port: int = 5580
    """0 = any free one."""
    token: str = ""
    """Asked for with every request where not empty; must not be empty beyond loopback."""
    keys: SubscriberKeys | None = None
    """For buses that let only listed keys in."""
    rate_hz: float = RATE_HZ
    """Pictures a second at most."""


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server bound to `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def serve_overlay(
    overlay: WebOverlay,
    *,
    running: Callable[[], bool] = lambda: True,
    ready: Callable[[str], None] = lambda url: None,
    rings: Callable[[], Mapping[str, str]] = dict,
) -> None:
    """Serve the page until `running` says no.

    Args:
        overlay: what and where.
        running: asked 30 times a second.
        ready: called with the page's address once it can be opened.
        rings: names of the rings that frames of cameras of this machine can be had from, by camera; looked at often.

    Raises:
        SinkError: aiohttp is not installed, the address cannot be bound or would show faces to anybody, or a bus
            address is malformed.
        WireError: something else publishes there, or another major version.
    """
    if not is_loopback(overlay.host) and not overlay.token:
        raise SinkError(f"the web overlay on {overlay.host} shows faces to the whole network; it needs a token")
    try:
        import aiohttp  # noqa: F401
    except ImportError as error:
        raise SinkError(
            "the web overlay needs aiohttp, which is not installed; pip install 'sfam-live[web]', or --overlay none"
        ) from error
    asyncio.run(_Server(overlay, ready, rings).run(running))


@dataclass(slots=True)
class _Reader:
    """How far one open page has been told, by camera."""

    turns: Turns
    """Of its pictures."""
    words: Turns
    """Of everything else."""
    serial: dict[str, int] = field(default_factory=dict)
    told_s: dict[str, float] = field(default_factory=dict)
    chosen: str = ""
    shown: int = 0


class _Server:
    """The page, its socket, and the feeds behind them."""

    def __init__(
        self, overlay: WebOverlay, ready: Callable[[str], None], rings: Callable[[], Mapping[str, str]]
    ) -> None:
        self._overlay = overlay
        self._ready = ready
        self._rings = rings
        self._live: dict[str, LiveFrames] = {}
        self._feeds: dict[str, CameraFeed] = {}
        self._listeners = [BusListener(address, overlay.keys) for address in overlay.addresses]
        self._closing = False
        self._looked = asyncio.Condition()
        """Notified after each look at the buses."""
        page = files("sfam.sinks").joinpath("page")
        self._pages = {path: (page.joinpath(name).read_bytes(), kind) for path, (name, kind) in PAGE_FILES.items()}

    async def run(self, running: Callable[[], bool]) -> None:
        """Listen and serve."""
        from aiohttp import web

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._guarded(request, handler)

        app = web.Application(middlewares=[guard], client_max_size=LONGEST_REQUEST)
        app.router.add_get("/feed", self._feed)
        for path in self._pages:
            app.router.add_get(path, self._page)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await self._bind(web.TCPSite(runner, self._overlay.host, self._overlay.port), runner)
            for listener in self._listeners:
                listener.start()
            looks = Turns(LOOK_HZ)
            while running():
                await self._look()
                await asyncio.sleep(looks.wait_s(time.monotonic_ns()))
            await self._look()
        finally:
            self._closing = True
            await self._wake_pages()
            await asyncio.sleep(2 / RATE_HZ)
            await runner.cleanup()
            for listener in self._listeners:
                if listener.ident is not None:
                    listener.leave()
            for frames in self._live.values():
                frames.leave()

    async def _bind(self, site: web.TCPSite, runner: web.AppRunner) -> None:
        host, port = self._overlay.host, self._overlay.port
        try:
            await site.start()
        except OSError as error:
            raise SinkError(
                f"cannot serve the overlay on {host}:{port}: {error.strerror or error}; choose another with "
                "--set sinks.web_address=127.0.0.1:0 (0 = any free port)"
            ) from error
        bound = runner.addresses[0][1]
        name = socket.gethostname() if host in ("0.0.0.0", "::") else host
        shown = f"[{name}]" if ":" in name else name
        token = f"?token={self._overlay.token}" if self._overlay.token else ""
        self._ready(f"http://{shown}:{bound}/{token}")

    async def _look(self) -> None:
        self._collect()
        await self._wake_pages()

    async def _wake_pages(self) -> None:
        async with self._looked:
            self._looked.notify_all()

    def _collect(self) -> None:
        """Enter what the buses said."""
        here = is_loopback(self._overlay.host)
        for listener in self._listeners:
            for message in listener.news():
                camera = str(message.header["camera"])
                if camera not in self._feeds:
                    self._feeds[camera] = CameraFeed(here)
                self._feeds[camera].take(message)
            if listener.failure is not None:
                raise listener.failure
        for camera, ring in list(self._rings().items()):
            if camera not in self._live:
                self._live[camera] = LiveFrames(ring, self._overlay.rate_hz)
                self._live[camera].start()
            frames = self._live[camera].news()
            if camera in self._feeds:
                for frame in frames:
                    self._feeds[camera].take_live(frame)

    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse strangers: a host name that is not ours, a page of another site, no token."""
        from aiohttp import web

        host = urlsplit(f"//{request.headers.get('Host', '')}").hostname or ""
        if is_loopback(self._overlay.host) and not is_loopback(host):
            raise web.HTTPForbidden(text="this page answers to 127.0.0.1 and localhost only")
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("Host"):
            raise web.HTTPForbidden(text="this page answers to itself only")
        token, given = self._overlay.token, request.query.get("token", "")
        if token and given and hmac.compare_digest(token.encode(), given.encode()):
            answer: web.StreamResponse = web.HTTPSeeOther("/")
            answer.set_cookie(COOKIE, token, httponly=True, samesite="Strict")
            return answer
        if token and not hmac.compare_digest(token.encode(), request.cookies.get(COOKIE, "").encode()):
            raise web.HTTPForbidden(text="open the address that sfam-live printed, with its token")
        return await handler(request)

    async def _page(self, request: web.Request) -> web.Response:
        from aiohttp import web

        body, kind = self._pages[request.path]
        return web.Response(body=body, content_type=kind, charset="utf-8", headers=HEADERS)

    async def _feed(self, request: web.Request) -> web.StreamResponse:
        """One open page: tell it the news after each look, until it leaves."""
        from aiohttp import web

        page = web.WebSocketResponse(heartbeat=5.0, max_msg_size=LONGEST_REQUEST, compress=False)
        await page.prepare(request)
        reader = _Reader(Turns(self._overlay.rate_hz), Turns(self._overlay.rate_hz))
        choosing = asyncio.create_task(_choices(page, reader))
        try:
            while not page.closed:
                last = self._closing
                await asyncio.wait_for(self._tell(page, reader), SEND_TIMEOUT_S)
                if last:
                    break
                async with self._looked:
                    if not self._closing:
                        await self._looked.wait()
        except (ConnectionError, TimeoutError):
            pass  # the page is gone or does not read: it opens a new socket when it comes back
        finally:
            choosing.cancel()
            await page.close()
        return page

    async def _tell(self, page: web.WebSocketResponse, reader: _Reader) -> None:
        now_ns = time.monotonic_ns()
        chosen = reader.chosen or next(iter(self._feeds), "")
        picture = self._feeds[chosen].picture(reader.shown) if chosen in self._feeds else None
        if picture is not None and not reader.turns.due(now_ns):
            picture = None
        if reader.words.due(now_ns) or picture is not None or self._closing:
            await self._tell_words(page, reader, now_ns / 1e9)  # the score of a picture goes before it
        if picture is not None:
            reader.shown = picture[0]
            await page.send_bytes(picture[1])

    async def _tell_words(self, page: web.WebSocketResponse, reader: _Reader, now_s: float) -> None:
        if not self._feeds and now_s - reader.told_s.get("", 0.0) >= HEARTBEAT_S:
            reader.told_s[""] = now_s
            await page.send_str("{}")
        for camera, feed in list(self._feeds.items()):
            since = reader.serial.get(camera, 0)
            serial, news = feed.news(since)
            if serial == since and now_s - reader.told_s.get(camera, 0.0) < HEARTBEAT_S:
                continue
            reader.serial[camera], reader.told_s[camera] = serial, now_s
            await page.send_str(json.dumps(news, separators=(",", ":")))


async def _choices(page: web.WebSocketResponse, reader: _Reader) -> None:
    """What the page asks for: the camera whose picture it shows."""
    from aiohttp import WSMsgType

    async for message in page:
        if message.type == WSMsgType.TEXT:
            reader.chosen, reader.shown = str(message.data), 0


def all_addresses(first: str, others: Sequence[str]) -> tuple[str, ...]:
    """Addresses of the buses to show, each once."""
    return tuple(dict.fromkeys((first, *others)))
