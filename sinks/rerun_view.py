"""A session as a Rerun recording: the only file that loads the rerun SDK.

    camera               Pinhole of the color camera; below it color, depth in metres by its meter, face boxes
    flow/<face>          arrows in 3-D: where each point of the skin lies and where it moved, in metres, enlarged
    camera/flow/<face>   the same motion on the picture
    score/<face>/spot    and the threshold beside it
    score/<face>/classes the class probabilities, a line for each
    event/<face>         1 from onset to offset
    events               a line for each state of each event

Timelines: `capture` (UTC where the session was live, else time in the recording) and `frame`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfam.capture.frame import DepthImage, Intrinsics
from sfam.stream.scene_flow import CROP_PX, SceneFlow

from .rerun_viewer import layout
from .sink_error import SinkError

APPLICATION = "sfam-live"
NOT_INSTALLED = "rerun needs its SDK, which is not installed; pip install 'sfam-live[rerun]'"
VIEWER = "viewer"
"""Instead of a file's name: open the viewer and send there."""
ARROW_STEP_PX = 8
ENLARGED = 10.0
"""Arrows are so much longer than the motion, which the eye would not see."""
FILE_CHUNK_S = 20.0
"""A killed process leaves what it logged up to so long before."""
FILE_CHUNK_BYTES = 8 * 2**20
BOX_COLOR, FLOW_COLOR = (120, 220, 120), (255, 170, 40)


def load_rerun() -> Any:
    """The module `rerun`.

    Raises:
        SinkError: it is not installed.
    """
    try:
        import rerun
    except ImportError as error:
        raise SinkError(NOT_INSTALLED) from error
    return rerun


def require_rerun() -> None:
    """Refuse before anything starts, without loading the SDK.

    Raises:
        SinkError: it is not installed.
    """
    if find_spec("rerun") is None:
        raise SinkError(NOT_INSTALLED)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a recording goes."""

    place: str
    """A file, `.rrd`, or `viewer`."""
    memory_limit: str = "1GiB"
    """Of the viewer; beyond it the oldest goes."""

    def refuse_existing(self) -> None:
        """Files are never overwritten.

        Raises:
            SinkError: it exists.
        """
        if self.place != VIEWER and Path(self.place).exists():
            raise SinkError(f"--rerun {self.place}: exists already and is never overwritten; choose another name")


class RerunView:
    """Logs one camera.

    Args:
        session: fields of its session message, or its session.json.
        target: where to.
        live: times are UTC; else they count from the recording's own zero.
        rate_hz: pictures, depth and flow a second at most; scores and events always go.
        viewer: address of the viewer, where the target is that.

    Raises:
        SinkError: rerun is not installed, or the file exists or cannot be written.
    """

    def __init__(
        self,
        session: Mapping[str, Any],
        target: Target,
        *,
        live: bool,
        rate_hz: float = 10.0,
        viewer: str = "",
    ) -> None:
        rerun = self._rerun = load_rerun()
        target.refuse_existing()
        self._camera = str(session["camera"])
        self._classes = list(session["classes"])
        self._live = live
        self._gap_ns = round(1e9 / rate_hz)
        self._due_ns: dict[str, int] = {}
        self._color = session["devices"].get("color") or {}
        self._has_camera = False
        self._named: set[int] = set()
        self._recording = rerun.RecordingStream(
            APPLICATION,
            recording_id=f"{session['session']}-{self._camera}",
            batcher_config=None if target.place == VIEWER else _file_chunks(rerun),
        )
        # Only our two timelines: when something was logged says nothing.
        self._recording.set_log_time_enabled(False)
        self._recording.set_log_tick_enabled(False)
        try:
            if target.place == VIEWER:
                self._recording.connect_grpc(viewer)
            else:
                Path(target.place).parent.mkdir(parents=True, exist_ok=True)
                self._recording.save(target.place)
        except (RuntimeError, OSError) as error:
            raise SinkError(f"--rerun {target.place}: {error}; name a file such as session.rrd, or viewer") from error
        self._recording.send_blueprint(layout(rerun))
        threshold = session.get("threshold")
        if threshold is not None:
            self._recording.log("score/threshold", rerun.Scalars(float(threshold)), static=True)
        self._recording.log("notice", rerun.TextDocument(str(session["notice"])), static=True)

    def due(self, name: str, t_ns: int) -> bool:
        """True where a picture, depth image or flow may go; takes the turn."""
        due_ns = self._due_ns.get(name, t_ns)
        if due_ns - self._gap_ns // 2 > t_ns > due_ns - 4 * self._gap_ns:
            return False
        self._due_ns[name] = max(due_ns, t_ns - self._gap_ns // 2) + self._gap_ns
        return True

    def pinhole(self, camera: Intrinsics) -> None:
        """The color camera; once."""
        rerun = self._rerun
        if not self._has_camera:
            self._has_camera = True
            self._recording.log(
                "camera",
                rerun.Pinhole(
                    focal_length=[camera.fx, camera.fy],
                    principal_point=[camera.ppx, camera.ppy],
                    resolution=[camera.width, camera.height],
                    camera_xyz=rerun.ViewCoordinates.RDF,
                ),
                static=True,
            )

    def picture(self, frame: int, t_ns: int, jpeg: bytes, width: int, height: int) -> None:
        """The color image as JPEG."""
        if self._color:
            fx, fy, ppx, ppy = (float(self._color[name]) for name in ("fx", "fy", "ppx", "ppy"))
            self.pinhole(Intrinsics(width, height, fx, fy, ppx, ppy))
        self._at(frame, t_ns)
        self._recording.log("camera/color", self._rerun.EncodedImage(contents=jpeg, media_type="image/jpeg"))

    def depth(self, frame: int, t_ns: int, depth: DepthImage, depth_scale_m: float) -> None:
        """Depth on the color camera's grid, (H, W) uint16, 0 = no data; rerun makes 3-D points of it."""
        self._at(frame, t_ns)
        self._recording.log("camera/depth", self._rerun.DepthImage(depth, meter=1.0 / depth_scale_m))

    def flow(
        self, t_ns: int, flow: SceneFlow, camera: Intrinsics | None = None, depth_m: NDArray[np.float32] | None = None
    ) -> None:
        """Motion of the skin on the picture, and in space where the depth at each point is known.

        Args:
            t_ns: time of the frame it ends at.
            flow: head motion removed.
            camera: of the color image.
            depth_m: (H, W) on the color camera's grid, 0 = no data.
        """
        rerun = self._rerun
        self._at(flow.to_frame, t_ns)
        origins, vectors, w_m = arrows_px(flow)
        self._recording.log(
            f"camera/flow/{flow.track_id}",
            rerun.Arrows2D(origins=origins, vectors=vectors * ENLARGED, colors=FLOW_COLOR),
        )
        if camera is None or depth_m is None:
            return
        points, moves = arrows_m(origins, vectors, w_m, camera, depth_m)
        self._recording.log(
            f"flow/{flow.track_id}", rerun.Arrows3D(origins=points, vectors=moves * ENLARGED, colors=FLOW_COLOR)
        )

    def score(self, t_ns: int, fields: Mapping[str, Any]) -> None:
        """A row: one face of one frame."""
        rerun, face = self._rerun, fields["face_id"]
        self._at(fields["frame"], t_ns)
        if fields["box"] is not None:
            caption = str(fields["cause"]) if fields["spot"] is None else f"face {face}: {fields['spot']:.2f}"
            self._recording.log(
                f"camera/face/{face}",
                rerun.Boxes2D(
                    array=[fields["box"]], array_format=rerun.Box2DFormat.XYWH, labels=[caption], colors=[BOX_COLOR]
                ),
            )
        if fields["spot"] is not None:
            self._recording.log(f"score/{face}/spot", rerun.Scalars(float(fields["spot"])))
            if face not in self._named:
                self._named.add(face)
                names = rerun.SeriesLines(names=[f"p {name}" for name in fields["emotion"]])
                self._recording.log(f"score/{face}/classes", names, static=True)
            self._recording.log(f"score/{face}/classes", rerun.Scalars(list(fields["emotion"].values())))

    def event(self, t_ns: int, fields: Mapping[str, Any], shift_ns: int = 0) -> None:
        """A state of an event.

        Args:
            t_ns: when it was told.
            fields: of its message.
            shift_ns: from capture times to times on the timeline.
        """
        onset, offset = fields["onset"], fields["offset"]
        text = (
            f"{fields['kind']} #{fields['id']} {fields['state']}: {fields['emotion']}, frames {onset['frame']} to "
            f"{offset['frame']}, score {fields['score']:.2f}"
        )
        self._at(None, t_ns)
        self._recording.log("events", self._rerun.TextLog(text, level="INFO"))
        if fields["state"] == "confirmed":
            for moment, value in ((onset, 1.0), (offset, 0.0)):
                self._at(moment["frame"], moment["t_capture_ns"] + shift_ns)
                self._recording.log(f"event/{fields['track_id']}", self._rerun.Scalars(value))

    def warning(self, t_ns: int, text: str) -> None:
        """Something that a viewer has to know about what is shown, or not shown any more."""
        self._at(None, t_ns)
        self._recording.log("warnings", self._rerun.TextLog(text, level="WARN"))

    def close(self) -> None:
        """Hand everything over and end. Safe to call twice."""
        self._recording.flush()
        self._recording.disconnect()

    def _at(self, frame: int | None, t_ns: int) -> None:
        seconds = t_ns / 1e9
        if self._live:
            self._recording.set_time("capture", timestamp=np.datetime64(t_ns, "ns"))
        else:
            self._recording.set_time("capture", duration=seconds)
        if frame is not None:
            self._recording.set_time("frame", sequence=frame)
        else:
            self._recording.disable_timeline("frame")


def _file_chunks(rerun: Any) -> Any:
    """Large chunks: the SDK keeps a line on each until the file ends, 80 MiB an hour at its own five a second."""
    return rerun.ChunkBatcherConfig(flush_tick=timedelta(seconds=FILE_CHUNK_S), flush_num_bytes=FILE_CHUNK_BYTES)


def arrows_px(flow: SceneFlow) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Every 8th vector both ways where it is valid: places (N, 2) and motions (N, 2) in color pixels, w (N,) in m."""
    grid = np.arange(ARROW_STEP_PX // 2, CROP_PX, ARROW_STEP_PX)
    rows, columns = (axis.ravel() for axis in np.meshgrid(grid, grid, indexing="ij"))
    valid = flow.valid[rows, columns]
    rows, columns = rows[valid], columns[valid]
    scale = flow.crop.size / CROP_PX
    places = np.stack([flow.crop.x + columns * scale, flow.crop.y + rows * scale], axis=1).astype(np.float32)
    moves = (np.stack([flow.u[rows, columns], flow.v[rows, columns]], axis=1) * scale).astype(np.float32)
    return places, moves, (flow.w[rows, columns] / 1e3).astype(np.float32)


def arrows_m(
    places_px: NDArray[np.float32],
    moves_px: NDArray[np.float32],
    w_m: NDArray[np.float32],
    camera: Intrinsics,
    depth_m: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Points and their motion in the color camera's space, metres; those without depth are left out."""
    columns = np.clip(np.rint(places_px[:, 0]).astype(int), 0, camera.width - 1)
    rows = np.clip(np.rint(places_px[:, 1]).astype(int), 0, camera.height - 1)
    z = depth_m[rows, columns]
    known = z > 0
    z, places, moves, w = z[known, None], places_px[known], moves_px[known], w_m[known, None]
    focal = np.array([camera.fx, camera.fy], dtype=np.float32)
    centre = np.array([camera.ppx, camera.ppy], dtype=np.float32)
    before = np.hstack([(places - centre) / focal * z, z])
    after_z = z + w
    after = np.hstack([(places + moves - centre) / focal * after_z, after_z])
    return before.astype(np.float32), (after - before).astype(np.float32)
