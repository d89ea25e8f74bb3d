"""A session's figures for Prometheus: a plain subscriber that serves them over HTTP. Runs in its own process."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .curve import SubscriberKeys
from .sink_error import SinkError
from .status import Status
from .subscriber import subscribe
from .wire import Kind, Message
from .wire_fields import parse_status

if TYPE_CHECKING:
    from prometheus_client.core import Metric

READ_KINDS: tuple[Kind, ...] = ("session", "status", "event")
LOOPBACK = "127.0.0.1"
AGAIN_S = 0.5
DEAD_S = 3.0
"""A camera whose session has not been heard for so long is down: heartbeats come once a second."""
QUANTILES = (("0.5", "p50_us"), ("0.95", "p95_us"), ("0.99", "p99_us"))


class CameraFigures:
    """What was last heard of one camera.

    Args:
        clock_s: wall clock that only runs forwards.
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._heard_s = -math.inf
        self.session: Mapping[str, Any] = {}
        self.status = Status(-1, 0.0, 0, 0, device="starting")
        self.events: Counter[tuple[str, str]] = Counter()
        """By kind and state."""
        self.lost = 0

    def take(self, message: Message) -> None:
        """Enter one message."""
        header = message.header
        self._heard_s = self._clock_s()
        self.lost = message.lost
        if message.kind == "session":
            if header["session"] != self.session.get("session"):
                self.events.clear()
                self.status = Status(-1, 0.0, 0, 0, device="starting")
            self.session = header
        elif message.kind == "status":
            self.status = parse_status(header)
        elif message.kind == "event":
            self.events[header["kind"], header["state"]] += 1

    @property
    def is_up(self) -> bool:
        """True while the session runs, is heard, and has its camera."""
        running = self.session.get("state") in ("started", "running")
        return running and self._clock_s() - self._heard_s < DEAD_S and self.status.device != "lost"


class SessionCollector:
    """Turns the figures of all cameras into metrics whenever Prometheus asks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cameras: dict[str, CameraFigures] = {}

    def take(self, message: Message) -> None:
        """Enter one message."""
        with self._lock:
            self._cameras.setdefault(str(message.header["camera"]), CameraFigures()).take(message)

    def collect(self) -> Iterator[Metric]:
        """All metrics; what is not known is left out."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

        def gauge(name: str, text: str, *labels: str) -> Any:
            return GaugeMetricFamily(f"sfam_{name}", text, labels=("camera", *labels))

        def counter(name: str, text: str, *labels: str) -> Any:
            return CounterMetricFamily(f"sfam_{name}", text, labels=("camera", *labels))

        info = InfoMetricFamily("sfam_session", "the session that runs", labels=("camera",))
        up = gauge("up", "1 while the session runs and its camera delivers")
        fps = gauge("frames_per_second", "frames analysed a second")
        faces = gauge("faces", "faces followed now")
        memory = gauge("memory_bytes", "resident memory of the session's processes")
        noise_px = gauge("noise_floor_px", "noise floor of the motion on the 128 px crop", "axis")
        noise_mm = gauge("noise_floor_depth_mm", "noise floor of the depth motion")
        latency = gauge("latency_seconds", "time per frame and stage; total = capture to score", "stage", "quantile")
        offered = counter("frames_offered", "frames captured")
        analysed = counter("frames_analysed", "frames analysed")
        dropped = counter("frames_dropped", "frames lost", "cause")
        unsent = counter("messages_unsent", "messages the bus could not take", "kind")
        lost = counter("messages_missed", "messages this reader missed")
        events = counter("events", "event messages", "kind", "state")
        with self._lock:
            for camera, found in self._cameras.items():
                status, model = found.status, found.session.get("model", {})
                info.add_metric(
                    [camera], {"session": str(found.session.get("session", "")), "model": str(model.get("name", ""))}
                )
                for metric, value in (
                    (up, float(found.is_up)),
                    (fps, status.fps),
                    (faces, status.faces),
                    (memory, status.memory_mb * 1e6),
                    (noise_mm, status.noise.w_mm),
                    (offered, status.offered),
                    (analysed, status.analysed),
                    (lost, found.lost),
                ):
                    _add(metric, [camera], value)
                for axis, value in (("u", status.noise.u_px), ("v", status.noise.v_px)):
                    _add(noise_px, [camera, axis], value)
                for stage, spread in status.stages.items():
                    for quantile, name in QUANTILES:
                        _add(latency, [camera, stage, quantile], getattr(spread, name) / 1e6)
                for cause, count in status.dropped.items():
                    _add(dropped, [camera, cause], count)
                for kind, count in status.lost_messages.items():
                    _add(unsent, [camera, kind], count)
                for (kind, state), count in found.events.items():
                    _add(events, [camera, kind, state], count)
        yield from (info, up, fps, faces, memory, noise_px, noise_mm, latency)
        yield from (offered, analysed, dropped, unsent, lost, events)


def _add(metric: Any, labels: list[str], value: float) -> None:
    if math.isfinite(value):
        metric.add_metric(labels, value)


def serve_metrics(
    address: str,
    port: int,
    *,
    running: Callable[[], bool] = lambda: True,
    ready: Callable[[str], None] = lambda url: None,
    keys: SubscriberKeys | None = None,
) -> None:
    """Serve the figures on `http://127.0.0.1:port/metrics` until `running` says no.

    Args:
        address: of the bus.
        port: on loopback; 0 = any free one.
        running: asked twice a second at least.
        ready: called with the address once it can be read.
        keys: for a bus that lets only listed keys in.

    Raises:
        SinkError: prometheus-client is not installed, the port is taken, or the bus address is malformed.
        WireError: something else publishes there.
    """
    try:
        from prometheus_client import CollectorRegistry, start_http_server
    except ImportError as error:
        raise SinkError(
            "--metrics needs prometheus-client, which is not installed; pip install 'sfam-live[metrics]'"
        ) from error
    collector, registry = SessionCollector(), CollectorRegistry()
    registry.register(collector)
    try:
        server, thread = start_http_server(port, LOOPBACK, registry)
    except OSError as error:
        raise SinkError(
            f"cannot serve metrics on {LOOPBACK}:{port}: {error.strerror or error}; choose another --metrics PORT"
        ) from error
    try:
        ready(f"http://{LOOPBACK}:{server.server_port}/metrics")
        while running():
            for message in subscribe(address, READ_KINDS, keys=keys, running=running):
                collector.take(message)
            time.sleep(AGAIN_S)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
