"""The overlay window: shows what the bus says, and pictures from the ring on this machine. Runs in its own process."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2

from .bus_listener import BusListener
from .curve import SubscriberKeys
from .overlay_cameras import OverlayCameras
from .overlay_picture import render_overlay
from .sink_error import SinkError

TITLE = "sfam-live"
REFRESH_MS = 30
CLOSING_KEYS = (27, ord("q"))
X_PORT = 6000
X_SOCKETS = Path("/tmp/.X11-unix")
X_WAIT_S = 1.0


def display_available(environment: Mapping[str, str] = os.environ, platform: str = sys.platform) -> bool:
    """Whether a window can be opened here.

    OpenCV aborts the whole process when it cannot reach a display, so on Linux the display is tried by hand first.
    """
    if not platform.startswith("linux"):
        return True
    connection = _connected(environment.get("DISPLAY", ""))
    if connection is not None:
        connection.close()
    return connection is not None


def _connected(display: str) -> socket.socket | None:
    """A connection to an X display (`:0`, `host:10.0`); None where nobody answers.

    The wheel's window system speaks X only; a Wayland desktop serves it through the X display it sets.
    """
    host, colon, rest = display.rpartition(":")
    number = rest.partition(".")[0]
    if not colon or not number.isdecimal():
        return None
    if host not in ("", "unix"):
        try:
            return socket.create_connection((host, X_PORT + int(number)), X_WAIT_S)
        except OSError:
            return None
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        probe.settimeout(X_WAIT_S)
        probe.connect(str(X_SOCKETS / f"X{number}"))
    except OSError:
        probe.close()
        return None
    return probe


def show_overlay(
    address: str,
    camera: str | None = None,
    running: Callable[[], bool] = lambda: True,
    keys: SubscriberKeys | None = None,
    rings: Callable[[], Mapping[str, str]] = dict,
) -> None:
    """Show a session until it ends, the window is closed (or q or Esc pressed), or `running` says no.

    Of several cameras one is shown; a number, or Tab, shows another.

    Args:
        address: of the bus.
        camera: name in the topics; None = whoever publishes there.
        running: asked about 30 times a second.
        keys: for a bus that lets only listed keys in.
        rings: names of the rings that frames of cameras of this machine can be had from, by camera.

    Raises:
        SinkError: there is no display.
    """
    on_linux = sys.platform.startswith("linux")
    probe = _connected(os.environ.get("DISPLAY", "")) if on_linux else None
    if on_linux and probe is None:
        raise SinkError(
            f"cannot open the overlay window: no display answers (DISPLAY={os.environ.get('DISPLAY', '')!r}); "
            "use --overlay none, or ssh -X to a machine with a screen"
        )
    cv2.namedWindow(TITLE, cv2.WINDOW_AUTOSIZE | cv2.WINDOW_GUI_NORMAL)
    if probe is not None:
        probe.close()  # only now: an X server whose last client leaves starts anew, and refuses the window meanwhile
    try:
        _follow(address, camera, running, keys, rings)
    finally:
        cv2.destroyAllWindows()
        cv2.waitKey(1)


def _follow(
    address: str,
    camera: str | None,
    running: Callable[[], bool],
    keys: SubscriberKeys | None,
    rings: Callable[[], Mapping[str, str]],
) -> None:
    cameras, window = OverlayCameras(rings), _Window()
    listener = BusListener(address, keys, camera, one_session=True)
    listener.start()
    try:
        while running():
            alive = listener.is_alive()
            for message in listener.news():
                cameras.take(message)
            if not window.show(cameras) or not alive:
                break
    finally:
        listener.leave()
        cameras.leave()
    if listener.failure is not None:
        raise listener.failure


class _Window:
    """The window itself."""

    def __init__(self) -> None:
        self._was_visible = False

    def show(self, cameras: OverlayCameras) -> bool:
        """Draw and show, and obey keys; False once the user has closed the window."""
        cv2.imshow(TITLE, render_overlay(cameras.shown(), cameras.names))
        key = cv2.waitKey(REFRESH_MS) & 0xFF
        cameras.press(key)
        visible = cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) >= 1
        self._was_visible |= visible
        # A window that a busy desktop has not shown yet is invisible too, but not closed.
        return key not in CLOSING_KEYS and (visible or not self._was_visible)
