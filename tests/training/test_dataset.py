from __future__ import annotations

from pathlib import Path

import pytest

from sfam.training.dataset import Clip, DataSetError, group_by_subject


def clip(subject: str, video: str) -> Clip:
    return Clip(subject, video, Path(subject, video))


def test_every_clip_has_a_folder_of_its_own() -> None:
    alike = [clip("s1", "rest 1"), clip("s1", "rest_1"), clip("s1", "rest/1"), clip("\u5f20", "a"), clip("\u674e", "a")]
    assert len({one.name for one in alike}) == len(alike)
    assert all(one.name.isascii() and "/" not in one.name for one in alike)
    assert clip("spNO.1", "a").name == "spNO.1__a"


@pytest.mark.parametrize(
    ("first", "other"),
    [(("s1", "rest"), ("s1", "rest")), (("s1", "rest"), ("s1", "Rest")), (("s1", "a__b"), ("s1__a", "b"))],
)
def test_clips_that_would_share_a_folder_are_refused(first: tuple[str, str], other: tuple[str, str]) -> None:
    with pytest.raises(DataSetError, match="would share the folder"):
        group_by_subject([clip(*first), clip(*other)])
