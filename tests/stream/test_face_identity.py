from __future__ import annotations

import numpy as np
import pytest

from sfam.stream.face import Detection
from sfam.stream.face_follower import FollowedFace, lost_track
from sfam.stream.face_identity import REMEMBER_NS, FaceMemory, claims, covers, distinct, meeting
from sfam.stream.grey_frame import GreyFrame
from tests.stream.moving_face import BOX, picture
from tests.stream.test_face_watch import TEMPLATE

NAN = float("nan")


def detection(dx: float = 0.0, score: float = 1.0) -> Detection:
    return Detection(TEMPLATE * np.float32(BOX[2]) + np.array((BOX[0] + dx, BOX[1]), dtype=np.float32), score)


def face(track_id: int = -1, dx: float = 0.0, depth_mm: float = NAN, angle_deg: float = 0.0) -> FollowedFace:
    made = FollowedFace(track_id, detection(dx), GreyFrame.of(picture(dx, angle_deg=angle_deg)), 4)
    made.depth_mm = depth_mm
    return made


def memory_of(*faces: FollowedFace) -> FaceMemory:
    memory = FaceMemory(len(faces))
    for gone in faces:
        memory.remember(gone, lost_track(gone.track()), 0)
    return memory


def test_a_face_that_returns_near_its_place_is_the_same() -> None:
    recalled = memory_of(face(4)).recall([face(dx=30.0)], REMEMBER_NS)
    assert (recalled[0].track_id, recalled[0].doubtful) == (4, False)


@pytest.mark.parametrize(
    "stranger",
    [face(dx=0.0, angle_deg=180.0), face(depth_mm=900.0)],
    ids=["looks different", "is elsewhere in depth"],
)
def test_another_face_in_the_same_place_is_new(stranger: FollowedFace) -> None:
    assert memory_of(face(4, depth_mm=600.0)).recall([stranger], 1) == {}


def test_a_face_is_not_remembered_for_ever_nor_given_twice() -> None:
    memory = memory_of(face(4))
    assert memory.awaits(REMEMBER_NS)
    assert not memory.awaits(REMEMBER_NS + 1)
    assert memory.recall([face()], REMEMBER_NS + 1) == {}
    assert set(memory.recall([face()], 1)) == {0}
    assert memory.recall([face()], 2) == {}


def test_of_two_lost_faces_depth_tells_which_one_returns() -> None:
    memory = memory_of(face(1, depth_mm=600.0), face(2, dx=10.0, depth_mm=780.0))
    recalled = memory.recall([face(dx=5.0, depth_mm=775.0)], 1)
    assert (recalled[0].track_id, recalled[0].doubtful) == (2, False)


def test_where_nothing_tells_two_faces_apart_the_id_is_doubted() -> None:
    memory = memory_of(face(1), face(2))
    assert memory.recall([face()], 1)[0].doubtful


def test_each_detection_goes_to_the_face_it_lies_on_best() -> None:
    boxes = {0: detection(0.0).box, 1: detection(30.0).box}
    assert claims(boxes, [detection(28.0), detection(4.0)]) == {0: 1, 1: 0}
    assert claims(boxes, [detection(28.0)]) == {1: 0}
    assert claims(boxes, [detection(200.0)]) == {}


def test_one_face_detected_twice_counts_once() -> None:
    assert len(distinct([detection(0.0), detection(5.0), detection(120.0)])) == 2


def test_of_two_faces_that_meet_the_covered_one_ends() -> None:
    near, far = face(1, depth_mm=600.0), face(2, dx=40.0, depth_mm=900.0)
    met = meeting(near, far, (600.0, 610.0), (1.0, 0.6))
    assert met is not None
    assert (met.ended, met.kept, met.doubtful) == (far, near, False)
    assert meeting(near, far, (600.0, 900.0), (1.0, 1.0)) is None


def test_two_tracks_on_one_face_without_depth_leave_a_doubt_where_both_look_alike() -> None:
    first, second = face(1), face(2, dx=5.0)
    clear, doubt = (meeting(first, second, (NAN, NAN), likeness) for likeness in ((0.9, 0.3), (0.9, 0.85)))
    assert clear is not None
    assert doubt is not None
    assert (clear.ended, clear.doubtful) == (second, False)
    assert doubt.doubtful


def test_only_the_farther_face_is_covered() -> None:
    near, far = face(1, depth_mm=600.0), face(2, dx=110.0, depth_mm=900.0)
    assert covers(near, far)
    assert not covers(far, near)
    assert not covers(near, face(3, dx=180.0, depth_mm=900.0))
