"""One address for several cameras of a session: each has topics of its own."""

from __future__ import annotations

from collections.abc import Sequence

from .bus_address import require_private
from .curve import PublisherKeys
from .greeting_socket import CameraTopics, GreetingSocket
from .sink_error import SinkError
from .wire import KINDS, topic_of


class SharedBus:
    """A socket that the publishers of all cameras use; the last one to end closes it.

    Args:
        address: as of `Publisher`.
        cameras: names of all, as they will stand in topics.
        high_water_mark: messages kept per subscriber.
        insecure: allow an address that other machines can reach without keys.
        keys: encrypt, and let only listed subscribers in.

    Raises:
        SinkError: when the address is malformed, taken, or open to other machines without `insecure`.
    """

    def __init__(
        self,
        address: str,
        cameras: Sequence[str],
        high_water_mark: int = 1000,
        *,
        insecure: bool = False,
        keys: PublisherKeys | None = None,
    ) -> None:
        require_private(address, insecure or keys is not None)
        self._cameras = {
            name: CameraTopics({kind: topic_of(name, kind).encode() for kind in KINDS}) for name in cameras
        }
        self.socket = GreetingSocket(address, list(self._cameras.values()), high_water_mark, keys)

    def camera(self, name: str) -> CameraTopics:
        """The topics of one camera.

        Raises:
            SinkError: it was not named at the start.
        """
        if name not in self._cameras:
            raise SinkError(f"camera {name!r} cannot publish on a bus made for {', '.join(self._cameras)}")
        return self._cameras[name]

    def leave(self, name: str) -> None:
        """A camera will not publish, or not any more; safe to call twice."""
        with self.socket.lock:
            self.socket.leave(self._cameras[name])
