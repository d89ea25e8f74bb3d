"""The robust head-motion fit of `head_motion` for whole batches, in torch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .head_motion import (
    ITERATIONS,
    LARGE_TURN_RAD,
    MIN_POINTS,
    PRIOR,
    SHARPNESS,
    SIGMAS,
    SMALLEST,
    STRIDE_PX,
    UNKNOWN_DEPTH_MM,
)
from .scene_flow import CROP_PX


@dataclass(frozen=True, slots=True, eq=False)
class TorchHeadMotion:
    """Head motion of N pairs, float64; the meaning is that of `scene_flow.HeadMotion`."""

    rotation_rad: Tensor
    """(N, 3)."""
    translation_mm: Tensor
    pivot_mm: Tensor
    fitted: Tensor
    """(N,) bool: enough points; otherwise no motion."""


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """Grid points of every pair; those outside the mask have `inside` 0."""

    rays: Tensor
    """(N, 3, P)."""
    depth: Tensor
    inside: Tensor
    pivot: Tensor
    """(N, 3)."""
    model: Tensor
    """(N, 6, 3, P)."""
    camera: Tensor


def rotation_matrix(vector: Tensor) -> Tensor:
    """(N, 3, 3) of rotation vectors (N, 3): Rodrigues' formula."""
    angle = vector.norm(dim=1).clamp(min=1e-12)[:, None, None]
    x, y, z = vector.unbind(1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).reshape(-1, 3, 3)
    half = torch.sin(angle / 2) / (angle / 2)
    unit = torch.eye(3, dtype=vector.dtype, device=vector.device)
    matrix: Tensor = unit + torch.sin(angle) / angle * cross + 0.5 * half * half * (cross @ cross)
    return matrix


class TorchHeadFit:
    """Fits and induces head motion on one device."""

    def __init__(self, device: torch.device) -> None:
        def constant(values: object) -> Tensor:
            return torch.as_tensor(values, dtype=torch.float64, device=device)

        self._prior, self._sigmas, self._sharpness, self._smallest = map(constant, (PRIOR, SIGMAS, SHARPNESS, SMALLEST))
        self._ramp = torch.arange(CROP_PX, dtype=torch.float32, device=device)
        places = torch.arange(STRIDE_PX // 2, CROP_PX, STRIDE_PX, device=device)
        self._rows = places.repeat_interleave(len(places))
        self._columns = places.repeat(len(places))

    def fit(
        self, flow: Tensor, w_valid: Tensor, shape_mm: Tensor, camera: Tensor, mask: Tensor
    ) -> tuple[TorchHeadMotion, Tensor]:
        """Head motion of every pair and the scene flow it induces.

        Args:
            flow: (N, 3, 128, 128) u, v px and w mm.
            w_valid: (N, 128, 128) bool.
            shape_mm: (N, 128, 128) smoothed depth; <= 0 is unknown.
            camera: (N, 4) fx, fy, cx, cy.
            mask: (N, 128, 128) bool.

        Returns:
            The motion, and (N, 3, 128, 128) float32 u, v, w of it.
        """
        inside = self._pick(mask)
        points = self._points(self._pick(shape_mm), inside, camera)
        measured = self._pick(flow)
        valid = self._pick(w_valid)
        parameters = self._robust(points, measured, valid)
        fitted = inside.sum(1) >= MIN_POINTS
        parameters = parameters * fitted[:, None]
        motion = TorchHeadMotion(parameters[:, :3], parameters[:, 3:], points.pivot, fitted)
        return motion, self._induced(motion, shape_mm, camera)

    def _pick(self, image: Tensor) -> Tensor:
        return image[..., self._rows, self._columns].to(torch.float64)

    def _points(self, depth: Tensor, inside: Tensor, camera: Tensor) -> _Batch:
        known = (depth > 0) * inside
        count = known.sum(1, keepdim=True)
        mean = torch.where(count > 0, (depth * known).sum(1, keepdim=True) / count.clamp(min=1), UNKNOWN_DEPTH_MM)
        depth = torch.where(depth > 0, depth, mean)
        fx, fy, cx, cy = camera[:, :, None].unbind(1)
        a, b = (self._columns - cx) / fx, (self._rows - cy) / fy
        rays = torch.stack([a, b, torch.ones_like(a)], dim=1)
        space = rays * depth[:, None]
        pivot = (space * inside[:, None]).sum(2) / inside.sum(1).clamp(min=1)[:, None]
        x, y, z = (space - pivot[:, :, None]).unbind(1)
        zero, one = torch.zeros_like(a), torch.ones_like(a)
        u = torch.stack([-a * y, z + a * x, -y, one, zero, -a], dim=1) * (fx / depth)[:, None]
        v = torch.stack([-z - b * y, b * x, x, zero, one, -b], dim=1) * (fy / depth)[:, None]
        w = torch.stack([y, -x, zero, zero, zero, one], dim=1)
        return _Batch(rays, depth, inside, pivot, torch.stack([u, v, w], dim=2), camera)

    def _robust(self, points: _Batch, measured: Tensor, valid: Tensor) -> Tensor:
        counts = torch.stack([points.inside, points.inside, points.inside * valid], dim=1)
        weights = counts / self._sigmas[[0, 0, 1]][:, None] ** 2
        parameters = self._solve(points.model, weights, measured)
        for _ in range(ITERATIONS):
            linear = torch.einsum("ni,nicp->ncp", parameters, points.model)
            weights = counts * self._weights(measured - linear, points.inside)
            parameters = self._solve(points.model, weights, measured)
        large = parameters[:, :3].abs().amax(1) > LARGE_TURN_RAD
        parameters = parameters + self._solve(points.model, weights, measured - self._exact(points, parameters))
        again = self._solve(points.model, weights, measured - self._exact(points, parameters))
        return parameters + large[:, None] * again

    def _weights(self, misfit: Tensor, inside: Tensor) -> Tensor:
        """(N, 3, P) Geman-McClure weights over sigma squared."""
        squares = misfit * misfit
        joint = torch.stack([squares[:, 0] + squares[:, 1], squares[:, 2]], dim=1)
        ordered = torch.where(inside[:, None] > 0, joint, torch.inf).sort(dim=2).values
        middle = (inside.sum(1) // 2).long()[:, None, None].expand(-1, 2, 1)
        median = torch.nan_to_num(ordered.gather(2, middle), posinf=0.0)
        scale = torch.maximum(self._sharpness[:, None] * median, self._smallest[:, None])
        weights = ((joint / scale + 1) * self._sigmas[:, None]) ** -2
        return weights[:, [0, 0, 1]]

    def _solve(self, model: Tensor, weights: Tensor, measured: Tensor) -> Tensor:
        weighted = (model * weights[:, None]).flatten(2)
        normal = weighted @ model.flatten(2).transpose(1, 2) + self._prior
        solution: Tensor = torch.linalg.solve(normal, weighted @ measured.flatten(1)[:, :, None])
        return solution[:, :, 0]

    @staticmethod
    def _exact(points: _Batch, parameters: Tensor) -> Tensor:
        """(N, 3, P) u, v, w: rotate, shift, project."""
        rotation = rotation_matrix(parameters[:, :3])
        offset = points.pivot + parameters[:, 3:] - (rotation @ points.pivot[:, :, None])[:, :, 0]
        moved = (rotation @ points.rays) * points.depth[:, None] + offset[:, :, None]
        fx, fy = points.camera[:, 0, None], points.camera[:, 1, None]
        u = fx * (moved[:, 0] / moved[:, 2] - points.rays[:, 0])
        v = fy * (moved[:, 1] / moved[:, 2] - points.rays[:, 1])
        return torch.stack([u, v, moved[:, 2] - points.depth], dim=1)

    def _induced(self, motion: TorchHeadMotion, shape_mm: Tensor, camera: Tensor) -> Tensor:
        known = (shape_mm > 0).to(torch.float32)
        count = known.sum((1, 2))
        mean = torch.where(count > 0, (shape_mm * known).sum((1, 2)) / count.clamp(min=1), UNKNOWN_DEPTH_MM)
        depth = torch.where(known > 0, shape_mm, mean[:, None, None])
        rotation = rotation_matrix(motion.rotation_rad)
        shift = motion.pivot_mm + motion.translation_mm - (rotation @ motion.pivot_mm[:, :, None])[:, :, 0]
        offset = shift.to(torch.float32)[:, :, None, None]
        turn = (rotation - torch.eye(3, dtype=rotation.dtype, device=rotation.device)).to(torch.float32)
        fx, fy, cx, cy = camera.to(torch.float32)[:, :, None, None].unbind(1)
        a, b = (self._ramp - cx) / fx, (self._ramp[:, None] - cy) / fy
        change = [
            (turn[:, i, 0, None, None] * a + turn[:, i, 1, None, None] * b + turn[:, i, 2, None, None]) * depth
            + offset[:, i]
            for i in range(3)
        ]
        scale = 1 / (depth + change[2])
        u, v = (change[0] - a * change[2]) * scale * fx, (change[1] - b * change[2]) * scale * fy
        return torch.stack([u, v, change[2]], dim=1)
