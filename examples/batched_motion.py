"""Skin and head motion of many pairs of face crops as one batch: `python batched_motion.py [cpu | cuda]`.

Needs sfam-live and torch. The crops are drawn here; put your own in their place.
"""

import sys

import numpy as np

from sfam.capture.face_pair import draw_pair
from sfam.capture.render import CANONICAL
from sfam.stream.flow_torch import TorchMotion
from sfam.stream.head_motion import rigid_mask

pairs = [draw_pair(seed, peak_px=1.0, head=1.0, identity=seed) for seed in range(4)]
grey = np.stack([pair.rgb.mean(axis=3).astype(np.uint8) for pair in pairs])  # (N, 2, 128, 128): earlier, later
depth_mm = np.stack([pair.depth_mm for pair in pairs])  # (N, 2, 128, 128), 0 = hole
camera = np.tile([CANONICAL.fx, CANONICAL.fy, CANONICAL.cx, CANONICAL.cy], (len(pairs), 1))  # of the crops
mask = np.stack([rigid_mask(pair.landmarks.astype(np.float32)) for pair in pairs])  # what moves with the head

motion = TorchMotion(sys.argv[1] if len(sys.argv) > 1 else "cpu")
found = motion.measure(grey, depth_mm, camera, mask)  # the next windows: measure(..., grid=found.grid)
skin_px = (found.u - found.rigid[:, 0]).hypot(found.v - found.rigid[:, 1]).cpu().numpy()
turned = found.head.rotation_rad.norm(dim=1).rad2deg().cpu().numpy()
for number, pair in enumerate(pairs):
    moves, turn = skin_px[number, pair.truth.act].mean(), turned[number]
    print(f"face {number}: the head turned by {turn:.2f} degrees, skin moved by {moves:.2f} px", flush=True)
