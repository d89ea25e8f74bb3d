"""The fast mode in torch, many faces or cameras at once: flow, depth change and head motion of whole batches.

The same arithmetic as `flow_products`, `flow`, `depth_change` and `head_motion`, operator by operator, so that either
may stand in for the other; the constants are theirs. Runs on any torch device.

A library call and no setting (`examples/batched_motion.py`): sessions and `sfam features` measure window after window,
each from the field of the one before, so that a model learns what it will see live; a batch has one window of each of
many faces.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from . import depth_change
from .flow import COLD_ITERATIONS, WARM_ITERATIONS
from .flow_products import (
    DERIVATIVE,
    HALF_SAMPLE,
    LEVELS,
    MEAN_REACH,
    MEAN_SIGMA_PX,
    PRE_BLUR_SIGMA_PX,
    PULL_GREY2,
    STEEP_GREY,
    WARM_LEVELS,
    WINDOW_SIGMA_PX,
)
from .head_motion_torch import TorchHeadFit, TorchHeadMotion
from .scene_flow import CROP_PX

Kernel = NDArray[np.floating]


@dataclass(frozen=True, slots=True, eq=False)
class MotionBatch:
    """Scene flow of N pairs of crops, on the device."""

    u: Tensor
    """(N, 128, 128) float32 px, as measured."""
    v: Tensor
    w: Tensor
    """(N, 128, 128) float32 mm; 0 where not valid."""
    w_valid: Tensor
    """(N, 128, 128) bool."""
    rigid: Tensor
    """(N, 3, 128, 128) float32: the part of u, v, w that the head's motion explains."""
    head: TorchHeadMotion
    grid: Tensor
    """(N, 2, 64, 64): start for the next windows of the same faces."""


@dataclass(frozen=True, slots=True, eq=False)
class _Level:
    image: Tensor
    doubled: Tensor
    gradient: Tensor
    """(N, 2, side, side), times what a pixel counts."""
    inverse: tuple[Tensor, Tensor, Tensor]


def _gaussian(sigma: float, radius: int) -> Kernel:
    return cv2.getGaussianKernel(2 * radius + 1, sigma, cv2.CV_32F)[:, 0].astype(np.float32)


def _halve(image: Tensor) -> Tensor:
    return functional.avg_pool2d(image, 2)


def _double(image: Tensor) -> Tensor:
    return functional.interpolate(image, scale_factor=2, mode="bilinear", align_corners=False)


def _sample(image: Tensor, x: Tensor, y: Tensor, outside: Tensor | float) -> Tensor:
    """(N, h, w) bilinear samples of (N, H, W) at x, y (N, h, w); taps beyond the image are `outside`."""
    height, width = image.shape[1:]
    flat = image.reshape(len(image), -1)
    left, top = torch.floor(x), torch.floor(y)
    total = torch.zeros_like(x)
    for column, along in ((left, 1 - (x - left)), (left + 1, x - left)):
        for row, down in ((top, 1 - (y - top)), (top + 1, y - top)):
            inside = (column >= 0) & (column <= width - 1) & (row >= 0) & (row <= height - 1)
            place = row.clamp(0, height - 1).long() * width + column.clamp(0, width - 1).long()
            tap = flat.gather(1, place.reshape(len(image), -1)).reshape(x.shape)
            total = total + along * down * torch.where(inside, tap, outside)
    return total


def _face_only(depth: Tensor) -> Tensor:
    """Depth (N, 128, 128) without what lies far behind the middle of each crop."""
    middle = depth[:, depth_change.MIDDLE, depth_change.MIDDLE].flatten(1)
    limit = torch.where(middle > 0, middle, torch.nan).nanmedian(dim=1).values + depth_change.BEHIND_MM
    return torch.where(depth > limit[:, None, None], 0.0, depth)


class TorchMotion:
    """Batched `iclk`, depth change and head motion.

    Args:
        device: torch device, such as "cpu" or "cuda".
    """

    def __init__(self, device: str = "cpu") -> None:
        self._device = torch.device(device)
        self._head = TorchHeadFit(self._device)
        self._ramps = [
            torch.arange(CROP_PX >> level, dtype=torch.float32, device=self._device) for level in range(LEVELS)
        ]

    def measure(
        self,
        grey: NDArray[np.uint8],
        depth_mm: NDArray[np.float32],
        camera: NDArray[np.floating],
        mask: NDArray[np.bool_],
        *,
        grid: Tensor | None = None,
        shift_px: NDArray[np.floating] | None = None,
    ) -> MotionBatch:
        """Scene flow from the first to the second crop of every pair.

        Args:
            grey: (N, 2, 128, 128) uint8.
            depth_mm: (N, 2, 128, 128) float32, 0 = hole.
            camera: (N, 4): fx, fy, cx, cy px of the crop.
            mask: (N, 128, 128) bool, see `head_motion.rigid_mask`.
            grid: result of the previous windows, for a warm start.
            shift_px: (N, 2) start of a cold one; zero by default.
        """
        with torch.no_grad():
            pyramids = [self._prepare(self._tensor(grey[:, end])) for end in (0, 1)]
            grid = self._cold(pyramids, shift_px) if grid is None else self._warm(pyramids, grid)
            flow = _double(grid)
            depths = [_face_only(self._tensor(depth_mm[:, end])) for end in (0, 1)]
            shape = self._shape(depths[0])
            w, valid = self._depth_change(depths, grid)
            head, rigid = self._head.fit(
                torch.cat([flow, w[:, None]], dim=1),
                valid,
                shape,
                torch.as_tensor(camera, dtype=torch.float64, device=self._device),
                torch.as_tensor(mask, device=self._device),
            )
        return MotionBatch(flow[:, 0], flow[:, 1], w, valid, rigid, head, grid)

    def _tensor(self, array: NDArray[np.generic]) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(array), device=self._device).to(torch.float32)

    def _filter(self, image: Tensor, along_x: Kernel | None, along_y: Kernel | None) -> Tensor:
        """Separable correlation of (N, C, H, W) as OpenCV does it: anchor in the middle, edges mirrored."""
        shape = image.shape
        flat = image.reshape(-1, 1, *shape[2:])
        for kernel, axis in ((along_x, 3), (along_y, 2)):
            if kernel is None:
                continue
            before, after = (len(kernel) - 1) // 2, len(kernel) // 2
            pad = (before, after, 0, 0) if axis == 3 else (0, 0, before, after)
            weight = torch.as_tensor(kernel, dtype=torch.float32, device=self._device).reshape(
                1, 1, *((1, -1) if axis == 3 else (-1, 1))
            )
            flat = functional.conv2d(functional.pad(flat, pad, mode="reflect"), weight)
        return flat.reshape(shape)

    def _blur(self, image: Tensor, sigma: float, radius: int) -> Tensor:
        kernel = _gaussian(sigma, radius)
        return self._filter(image, kernel, kernel)

    def _window(self, image: Tensor) -> Tensor:
        return self._blur(image, WINDOW_SIGMA_PX / 2, 4)

    def _prepare(self, grey: Tensor) -> list[_Level]:
        image = self._blur(grey[:, None], PRE_BLUR_SIGMA_PX, 1)
        shrink = np.array([1, 4, 6, 4, 1], np.float32) / 16
        levels = []
        for _ in range(LEVELS):
            levels.append(self._level(image))
            image = self._filter(image, shrink, shrink)[..., ::2, ::2]
        return levels

    def _level(self, image: Tensor) -> _Level:
        x, y = self._filter(image, DERIVATIVE, None), self._filter(image, None, DERIVATIVE)
        counts = 1 / (1 + ((x * x + y * y) / STEEP_GREY**2) ** 2)
        along_x, along_y = x * counts, y * counts
        products = x * along_x, x * along_y, y * along_y
        xx, xy, yy = (self._window(_halve(product))[:, 0] for product in products)
        xx, yy = xx + PULL_GREY2, yy + PULL_GREY2
        scale = 1 / (xx * yy - xy * xy)
        inverse = yy * scale, -xy * scale, xx * scale
        along = self._filter(image, HALF_SAMPLE, None)
        wide = torch.stack([image, along], dim=-1).flatten(-2)
        doubled = torch.stack([wide, self._filter(wide, None, HALF_SAMPLE)], dim=-2).flatten(-3, -2)
        return _Level(image[:, 0], doubled[:, 0], torch.cat([along_x, along_y], dim=1), inverse)

    def _cold(self, pyramids: list[list[_Level]], shift_px: NDArray[np.floating] | None) -> Tensor:
        count, side = len(pyramids[0][0].image), CROP_PX >> LEVELS
        grid = torch.zeros((count, 2, side, side), device=self._device)
        if shift_px is not None:
            grid = grid + self._tensor(shift_px)[:, :, None, None] / (1 << (LEVELS - 1))
        for level in range(LEVELS - 1, -1, -1):
            for _ in range(COLD_ITERATIONS):
                grid = self._step(grid, pyramids[0][level], pyramids[1][level], level)
            if level:
                grid = 2 * _double(grid)
        return grid

    def _warm(self, pyramids: list[list[_Level]], grid: Tensor) -> Tensor:
        top = WARM_LEVELS - 1
        grid = 0.5 * _halve(grid)
        for _ in range(WARM_ITERATIONS):
            grid = self._step(grid, pyramids[0][top], pyramids[1][top], top)
        grid = 2 * _double(grid)
        for _ in range(WARM_ITERATIONS):
            grid = self._step(grid, pyramids[0][0], pyramids[1][0], 0)
        return grid

    def _step(self, grid: Tensor, reference: _Level, moving: _Level, level: int) -> Tensor:
        flow = _double(grid)
        ramp = self._ramps[level]
        x, y = 2 * (ramp + flow[:, 0]), 2 * (ramp[:, None] + flow[:, 1])
        error = _sample(moving.doubled, x, y, reference.image) - reference.image
        sigma = MEAN_SIGMA_PX / 2 / (1 << level)
        mean = self._blur(_halve(error[:, None]), sigma, round(MEAN_REACH * sigma))
        error = error - _double(mean)[:, 0]
        pull = PULL_GREY2 * grid
        slope = self._window(_halve(reference.gradient * error[:, None]) - pull) + pull
        xx, xy, yy = reference.inverse
        step = torch.stack([xx * slope[:, 0] + xy * slope[:, 1], xy * slope[:, 0] + yy * slope[:, 1]], dim=1)
        return grid - step

    def _shape(self, depth: Tensor) -> Tensor:
        """Smoothed depth of the reference, holes filled, (N, 128, 128)."""
        present = (depth > 0).to(torch.float32)
        mean = depth.sum((1, 2)) / present.sum((1, 2)).clamp(min=1)
        sigma = depth_change.SHAPE_SIGMA_PX
        total, share = (
            self._blur(_halve(image[:, None]), sigma / 2, int(np.ceil(1.4 * sigma))) for image in (depth, present)
        )
        return _double((total + 1e-3 * mean[:, None, None, None]) / (share + 1e-3))[:, 0]

    def _depth_change(self, depths: list[Tensor], grid: Tensor) -> tuple[Tensor, Tensor]:
        halves = []
        for depth in depths:
            total, share = _halve(depth[:, None])[:, 0], _halve((depth > 0).to(torch.float32)[:, None])[:, 0]
            halves.append((total / share.clamp(min=0.25), share < 0.5))
        (reference, no_reference), (moving, no_moving) = halves
        ramp = self._ramps[1]
        sunken = torch.where(no_moving, depth_change.SUNKEN_MM, moving)
        warped = _sample(sunken, ramp + grid[:, 0] / 2, ramp[:, None] + grid[:, 1] / 2, depth_change.SUNKEN_MM)
        difference = warped - torch.where(no_reference, 0.0, reference)
        weight = (difference.abs() < depth_change.MAX_CHANGE_MM).to(torch.float32)
        pair = torch.stack([torch.where(weight > 0, difference, 0.0), weight], dim=1)
        total, share = self._filter(pair, depth_change.KERNEL, depth_change.KERNEL).unbind(1)
        valid = _double(share[:, None])[:, 0] > depth_change.MIN_SHARE
        return _double((total / share.clamp(min=0.05))[:, None])[:, 0] * valid, valid
