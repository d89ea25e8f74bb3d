"""Motion of one face: from its past frames to scene flow, head motion removed, and to the network's window."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, replace
from statistics import median

import cv2
import numpy as np

from sfam.capture.frame import Intrinsics, RGBDFrame

from .config import StreamConfig
from .depth_change import depth_change
from .face_follower import FollowedFace
from .flags import MotionFlags
from .flow import FlowField, FlowProducts, FlowSolver
from .flow_window import FlowWindow
from .grey_frame import GreyFrame
from .head_motion import CropCamera, HeadMotionFit, rigid_mask
from .noise_floor import DepthTrust, NoiseMeter
from .past_frames import DepthRegion, PastFrame, PastFrames, depth_box, region_box
from .roi import CropBox, RegionFinder, Regions, cut_maps, to_crop
from .scene_flow import Crop, FloatMap, HeadMotion, Mask, SceneFlow
from .window import Span, find_span

COLD_RESIDUAL = 1.5
"""A warm field whose photometric residual exceeds this multiple of its running lower quartile is solved again, cold:
the median would take half a second of something over the face for usual, and keep the field that was wrong by then."""
RESIDUALS_KEPT = 31
OCCLUSION_RESIDUAL = 3.5
"""From this multiple of its running median on, what was seen is not there any more: something moves over the face.
Measured 5 to 9 for a board, 3 for a blink."""
DEPTH_SHARE_MIN = 0.5
"""Share of valid depth that each network region needs; below it w says nothing and is zeroed."""
WHITE_GREY = 250
"""Grey level from which a pixel holds no texture any more."""
WHITE_SHARE_MAX = 0.5
"""Share of such pixels in a network region from which its motion cannot be seen."""
LIGHT_RATIO = 1.06
"""Change of the skin's brightness within a window from which its motion is doubtful: a jump of the exposure by 10 %
looks like 0.1 px of motion, one of 3 % is lost in noise."""
PRODUCTS_SPARE = 1.5
"""Flow products are kept for this many windows."""


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """What one frame gave for one face."""

    flow: SceneFlow | None = None
    window: FlowWindow | None = None
    cause: str = ""
    """Why there is no window: 'warm_up', 'gap', 'moved' (the face left what is kept of the earlier frame), 'saturated'
    (most of brows or mouth is white), ''."""


@dataclass(frozen=True, slots=True, eq=False)
class _Warm:
    """The previous window, to begin the next one with."""

    crop: Crop
    field: FlowField
    shift_px: tuple[float, float]


class FaceMotion:
    """Everything that motion needs to remember of one face."""

    def __init__(self, track_id: int, config: StreamConfig, solver: FlowSolver) -> None:
        self._track_id = track_id
        self._config = config
        self._solver = solver
        self._window_ns = round(config.window_ms * 1e6)
        self._past = PastFrames(
            solver,
            max(round(config.buffer_s * 1e9), 2 * self._window_ns),
            round(PRODUCTS_SPARE * self._window_ns),
            config.depth_mean_frames,
        )
        self._head, self._head_between = HeadMotionFit(), HeadMotionFit()
        self._regions = RegionFinder()
        self._noise = NoiseMeter()
        self._trust = DepthTrust(config.depth_noise_max_mm)
        self._flags = MotionFlags()
        self._mask: tuple[Regions, Mask] | None = None
        self._face: FollowedFace | None = None
        self._view: tuple[Crop, Intrinsics] | None = None
        self.t_ns = 0
        self._warm: _Warm | None = None
        self._residuals: deque[float] = deque(maxlen=RESIDUALS_KEPT)
        self.stage_ns: dict[str, int] = {}

    def restart(self) -> None:
        """Forget past frames (new segment, face lost); the noise floor stays."""
        self._past.clear()
        self._flags.reset()
        self._warm = None

    def push(self, frame: RGBDFrame, grey: GreyFrame, face: FollowedFace, depth: DepthRegion, period_ns: int) -> Motion:
        """Take the next frame of this face.

        Args:
            frame: the frame, for its number, time and calibration.
            grey: the whole frame.
            face: where the face is in it.
            depth: (side, side) uint16 on the color grid of `depth_box(face.crop)`.
            period_ns: current frame period.
        """
        self.stage_ns = {"flow": 0, "depth": 0, "head_motion": 0, "window": 0}
        if face is not self._face:
            self.restart()
        self._face, self._view, self.t_ns = face, (face.crop, frame.calibration.color), frame.t_capture_ns
        box = region_box(face.crop)
        self._past.add(
            PastFrame(
                frame.sequence,
                frame.t_capture_ns,
                face.landmarks,
                face.way,
                box,
                grey.region(*box),
                depth_box(face.crop),
                depth,
                frame.depth_scale_m,
            )
        )
        span = find_span(self._past.times_ns, self._window_ns, period_ns)
        if span.cause:
            self._warm = None
            return Motion(cause=span.cause)
        field = self._window_field(span.begin, face.crop)
        if field is None:
            self._warm = None
            return Motion(cause="moved")
        last = len(self._past.frames) - 1
        regions = self._regions.regions(self._past.frames[span.begin].landmarks_px, face.crop)
        light = [self._light(index, face.crop, regions) for index in (span.begin, last)]
        if not all(light):
            return Motion(cause="saturated")
        mask = self._rigid_mask(span.begin, face.crop, regions)
        flow, moved_px = self._scene_flow(span.begin, last, field, mask, self._head)
        changed = max(light) > LIGHT_RATIO * min(light)
        return self._window(flow, regions, moved_px, span, frame.segment, changed)

    def between(self, sequence_a: int, sequence_b: int) -> SceneFlow | None:
        """Direct flow from one past frame to another (either order), None when one of them is no longer held.

        Leaves the windows as they are: neither their regions nor their warm start know of it.
        """
        first, second = self._past.index_of(sequence_a), self._past.index_of(sequence_b)
        if first is None or second is None or self._view is None:
            return None
        crop = self._view[0]
        reference, moving = self._past.end(first, crop), self._past.end(second, crop)
        if reference is None or moving is None:
            return None
        field = self._solver.solve(reference[0], moving[0], shift_px=self._shift(first, second, crop))
        mask = rigid_mask(to_crop(self._past.frames[first].landmarks_px, crop))
        return self._scene_flow(first, second, field, mask, self._head_between)[0]

    def _shift(self, first: int, second: int, crop: Crop) -> tuple[float, float]:
        """How far the tracker says the face went, crop pixels."""
        step = (self._past.frames[second].way - self._past.frames[first].way) * crop.scale
        return step.real, step.imag

    def _light(self, index: int, crop: Crop, regions: Regions) -> float:
        """Mean grey level of the network's regions in a frame; 0 where most of one is overexposed."""
        past = self._past.frames[index]
        if past.light is None or past.light[0] is not regions:
            past.light = (regions, _mean_light(past, crop, regions))
        return past.light[1]

    def _window_field(self, begin: int, crop: Crop) -> FlowField | None:
        """Flow from the window's first frame to now: warm from the previous window where that is sound."""
        started = time.perf_counter_ns()
        last = len(self._past.frames) - 1
        reference, moving = self._past.end(begin, crop), self._past.end(last, crop)
        if reference is None or moving is None:
            return None
        shift = self._shift(begin, last, crop)
        field = self._solve(reference[0], moving[0], crop, shift)
        self._warm = _Warm(crop, field, shift)
        self.stage_ns["flow"] = time.perf_counter_ns() - started
        return field

    def _solve(
        self, reference: FlowProducts, moving: FlowProducts, crop: Crop, shift: tuple[float, float]
    ) -> FlowField:
        """Warm if the previous window had this crop, cold otherwise and when the warm residual stands out."""
        warm = self._warm
        if warm is not None and warm.crop == crop:
            change = (shift[0] - warm.shift_px[0], shift[1] - warm.shift_px[1])
            field = self._solver.solve(reference, moving, initial=_moved(warm.field, change))
            usual = sorted(self._residuals)[len(self._residuals) // 4] if self._residuals else float("inf")
            if field.residual_grey <= COLD_RESIDUAL * max(usual, 1e-3):
                self._residuals.append(field.residual_grey)
                return field
        field = self._solver.solve(reference, moving, shift_px=shift)
        self._residuals.append(field.residual_grey)
        return field

    def _is_disturbed(self, residual_grey: float) -> bool:
        """Whether flow explains the picture far worse than it uses to."""
        return len(self._residuals) > 3 and residual_grey > OCCLUSION_RESIDUAL * max(median(self._residuals), 1e-3)

    def _scene_flow(
        self, first: int, second: int, field: FlowField, mask: Mask, fit: HeadMotionFit
    ) -> tuple[SceneFlow, float]:
        """Scene flow of a field, head motion removed; and how many crop pixels the head moved on average."""
        started = time.perf_counter_ns()
        assert self._view is not None
        frames, (crop, color) = self._past.frames, self._view
        reference, moving = self._past.end(first, crop), self._past.end(second, crop)
        assert reference is not None
        assert moving is not None
        w, known = depth_change(reference[1], moving[1], field)
        depth_done = time.perf_counter_ns()
        u, v, head, moved_px = field.u, field.v, HeadMotion(), 0.0
        if self._config.head_motion:
            camera = crop_camera(color, crop)
            u, v, w, head, moved_px = _without_head(fit, field, w, known, reference[1].shape_mm, mask, camera)
        self.stage_ns["depth"] = depth_done - started
        self.stage_ns["head_motion"] = time.perf_counter_ns() - depth_done
        flow = SceneFlow(
            track_id=self._track_id,
            from_frame=frames[first].sequence,
            to_frame=frames[second].sequence,
            t_from_ns=frames[first].t_ns,
            t_to_ns=frames[second].t_ns,
            u=u,
            v=v,
            w=w * known,
            valid=field.valid & known,
            crop=crop,
            head_motion=head,
            residual_grey=field.residual_grey,
            depth_valid_share=cv2.countNonZero((known & mask).view(np.uint8)) / max(int(np.count_nonzero(mask)), 1),
            noise=self._noise.floor,
        )
        return flow, moved_px

    def _rigid_mask(self, first: int, crop: Crop, regions: Regions) -> Mask:
        """Where the face moves with the head; held as still as the network's regions are."""
        if self._mask is None or self._mask[0] is not regions:
            self._mask = (regions, rigid_mask(to_crop(self._past.frames[first].landmarks_px, crop)))
        return self._mask[1]

    def _window(
        self, flow: SceneFlow, regions: Regions, moved_px: float, span: Span, segment: int, light_changed: bool
    ) -> Motion:
        """The network's input of a scene flow, with all that limits what it says."""
        started = time.perf_counter_ns()
        flags = list(self._flags.push(flow, regions))
        deep = min(_share(flow.valid, box) for box in (regions.upper, regions.lower)) >= DEPTH_SHARE_MIN
        maps = cut_maps(flow, regions)
        still_px, still_mm = self._noise.push(maps, deep)
        noisy = self._trust.noisy(self._noise.floor)
        if noisy or not deep:
            flow = replace(flow, w=np.zeros_like(flow.w))
            maps[2] = 0.0
            flags.append("noisy_depth" if deep else "no_depth")
        if moved_px > self._config.head_motion_flag_px:
            flags.append("head_motion")
        if light_changed:
            flags.append("light")
        elif "blink" not in flags and self._is_disturbed(flow.residual_grey):
            flags.append("occlusion")
        if still_px and (still_mm or noisy or not deep):
            flags.append("below_noise")
        if span.missing_ns:
            flags.append("gap")
        window = FlowWindow(
            track_id=flow.track_id,
            from_frame=flow.from_frame,
            frame=flow.to_frame,
            t_from_ns=flow.t_from_ns,
            t_capture_ns=flow.t_to_ns,
            maps=maps,
            missing_ns=span.missing_ns,
            segment=segment,
            head_motion=flow.head_motion,
            residual_grey=flow.residual_grey,
            depth_valid_share=flow.depth_valid_share,
            noise=self._noise.floor,
            flags=tuple(flags),
        )
        self.stage_ns["window"] = time.perf_counter_ns() - started
        return Motion(flow, window)


def _without_head(
    fit: HeadMotionFit,
    field: FlowField,
    w: FloatMap,
    known: Mask,
    shape_mm: FloatMap,
    mask: Mask,
    camera: CropCamera,
) -> tuple[FloatMap, FloatMap, FloatMap, HeadMotion, float]:
    """u, v, w without what the head did, the head's motion, and its mean length on the face in crop pixels."""
    head = fit.fit(field, w, known, shape_mm, camera, mask)
    rigid_u, rigid_v, rigid_w = fit.induced(head, shape_mm, camera)
    moved_px = float(cv2.mean(cv2.magnitude(rigid_u, rigid_v), mask.view(np.uint8))[0])
    return field.u - rigid_u, field.v - rigid_v, w - rigid_w, head, moved_px


def crop_camera(color: Intrinsics, crop: Crop) -> CropCamera:
    """Pinhole of the crop; integer coordinates are pixel centres in the image and in the crop."""
    scale = crop.scale
    return CropCamera(
        fx=color.fx * scale,
        fy=color.fy * scale,
        cx=(color.ppx - crop.x + 0.5) * scale - 0.5,
        cy=(color.ppy - crop.y + 0.5) * scale - 0.5,
    )


def _mean_light(past: PastFrame, crop: Crop, regions: Regions) -> float:
    """See `FaceMotion._light`."""
    total, scale = 0.0, crop.scale
    for x, y, width, height in (regions.upper, regions.lower):
        left, top = crop.x - past.box[0] + int(x / scale), crop.y - past.box[1] + int(y / scale)
        part = past.grey[top : top + int(height / scale) + 1, left : left + int(width / scale) + 1]
        if np.count_nonzero(part >= WHITE_GREY) > WHITE_SHARE_MAX * part.size:
            return 0.0
        total += max(cv2.mean(part)[0], 1.0)
    return total / 2


def _moved(field: FlowField, change: tuple[float, float]) -> FlowField:
    """A field with what the tracker saw since added, so that a warm start follows a fast head."""
    if field.grid is None:
        return replace(field, u=field.u + np.float32(change[0]), v=field.v + np.float32(change[1]))
    return replace(field, grid=field.grid + np.array(change, dtype=np.float32)[:, None, None])


def _share(mask: Mask, box: CropBox) -> float:
    x, y, width, height = box
    return cv2.countNonZero(mask[y : y + height, x : x + width].view(np.uint8)) / (width * height)
