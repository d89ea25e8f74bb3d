from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfam.sinks.incident import Incident
from sfam.sinks.status import StageLatency, Status
from sfam.sinks.wire import (
    KINDS,
    Kind,
    Stamps,
    WireError,
    camera_name,
    decode,
    encode_header,
    json_ready,
    load_schema,
    topic_of,
)
from sfam.sinks.wire_fields import (
    analyzer_fields,
    by_class,
    event_fields,
    face_fields,
    flow_fields,
    flow_payload,
    frame_fields,
    frame_payload,
    parse_event,
    parse_face,
    parse_flow,
    parse_frame,
    parse_score,
    parse_status,
    score_fields,
    status_fields,
)
from sfam.stream.analyzer import AnalyzerResult
from sfam.stream.head_pose import HeadPose
from sfam.stream.scene_flow import HeadMotion, NoiseFloor
from tests.sinks.schemas import require_valid
from tests.sinks.session_parts import (
    CLASSES,
    event,
    face_track,
    frame_result,
    rgbd_frame,
    scene_flow,
    session_info,
)

SOME_STAMPS = Stamps(100, 90, 80)


def sent(kind: Kind, fields: Mapping[str, object], stamps: Stamps = SOME_STAMPS) -> dict[str, object]:
    """A header as it arrives, checked against its schema."""
    header = encode_header(kind, "test", "demo", 3, stamps, 1234, fields)
    found = decode([topic_of("demo", kind).encode(), header]).header
    require_valid(found, kind)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_every_schema_is_valid_and_so_are_its_examples(kind: Kind) -> None:
    schema = load_schema(kind)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["examples"]
    for example in schema["examples"]:
        jsonschema.validate(example, schema, jsonschema.Draft202012Validator)


def test_schemas_share_their_first_fields() -> None:
    wanted = ["session", "camera", "seq", "t_capture_ns", "t_device_ns", "t_utc_ns", "t_publish_ns", "latency_us"]
    shared_by_all = {json.dumps({name: load_schema(kind)["properties"][name] for name in wanted}) for kind in KINDS}
    assert len(shared_by_all) == 1
    for kind in KINDS:
        assert load_schema(kind)["required"][:9] == ["schema", *wanted]


@pytest.mark.parametrize("number", [0, 5, 9, 20, 50])
def test_a_score_comes_back_as_it_was(number: int) -> None:
    result = frame_result(number)
    stamps = Stamps(result.t_capture_ns, result.t_device_ns)
    back = parse_score(sent("score", score_fields(result, CLASSES), stamps))
    assert (back.frame, back.success, back.cause, back.box) == (
        result.frame,
        result.success,
        result.cause,
        result.box,
    )
    assert back.head_motion == result.head_motion
    if result.score is None:
        assert back.score is None
        assert math.isnan(back.noise.w_mm)
    else:
        assert back.score is not None
        assert back.score.spot == pytest.approx(result.score.spot, abs=1e-6)
        assert back.score.flags == result.score.flags
        assert back.noise == result.noise


def test_head_motion_says_what_it_turns_about_and_older_messages_are_read() -> None:
    result, flow = (
        frame_result(20),
        replace(scene_flow(12), head_motion=HeadMotion((0.1, 0.0, 0.0), pivot_mm=(1, 2, 600))),
    )
    older = json.loads(json.dumps(sent("score", score_fields(result, CLASSES), Stamps(result.t_capture_ns))))
    assert older["head_motion"].pop("pivot_mm") == [4.0, 12.5, 603.0]
    require_valid(older, "score")
    assert parse_score(older).head_motion == HeadMotion((0.001, -0.002, 0.0), (0.1, 0.2, -0.3))
    back = parse_flow(sent("flow", flow_fields(flow), Stamps(flow.t_to_ns)), flow_payload(flow))
    assert back.head_motion.pivot_mm == (1.0, 2.0, 600.0)


def test_an_event_comes_back_as_it_was() -> None:
    assert parse_event(sent("event", event_fields(event(), CLASSES))) == event()


def test_a_face_comes_back_as_it_was() -> None:
    face = face_track()
    back = parse_face(sent("face", face_fields(face, 7)))
    np.testing.assert_allclose(back.landmarks_px, face.landmarks_px, atol=0.006)
    assert (back.crop, back.box, back.state) == (face.crop, face.box, face.state)


def test_a_face_tells_the_heads_pose_where_one_fits() -> None:
    pose = HeadPose((-12.52, 3.14, 598.0), (0.05, -0.12, 0.01))
    told = sent("face", face_fields(face_track(), 7, pose))["head_pose"]
    assert told == {"translation_mm": [-12.5, 3.1, 598.0], "rotation_rad": [0.05, -0.12, 0.01]}
    assert sent("face", face_fields(face_track(), 7))["head_pose"] is None


def test_what_an_analyzer_found_is_named_with_its_frame() -> None:
    result = AnalyzerResult("grey", 12, 400, {"mean": 0.25, "unknown": float("nan")})
    found = sent("analyzer", analyzer_fields(result))
    assert (found["frame"], found["name"], found["values"]) == (12, "grey", {"mean": 0.25, "unknown": None})


def test_a_status_comes_back_as_it_was() -> None:
    status = Status(
        5, 29.9, 7, 6, {"overrun": 1}, {}, {"flow": StageLatency(1.0, 2.0, 3.0)}, 300.0, NoiseFloor(1, 2, 3)
    )
    assert parse_status(sent("status", status_fields(status))) == status
    restart = Incident("analysis_restart", 12, "killed", 30, 44, {"seconds": 1.5})
    told = replace(status, incidents=(restart,))
    assert parse_status(sent("status", status_fields(told))) == told
    older = {name: value for name, value in sent("status", status_fields(status)).items() if name != "incidents"}
    assert parse_status(older).incidents == ()
    assert Incident.from_fields({**restart.fields(), "new": 1}) == restart


def test_a_session_states_what_it_is_not_for() -> None:
    found = sent("session", session_info().fields("started", {}))
    assert "Not a lie detector" in str(found["notice"])
    assert found["unsuitable_uses"]


def test_a_flow_comes_back_at_half_precision() -> None:
    flow = scene_flow(20)
    header = sent("flow", flow_fields(flow), Stamps(flow.t_to_ns))
    payload = flow_payload(flow)
    assert len(payload) == 3 * 128 * 128 * 2
    back = parse_flow(header, payload)
    np.testing.assert_allclose(back.u, flow.u, atol=1e-3)
    np.testing.assert_allclose(back.w, flow.w, atol=1e-3)
    np.testing.assert_array_equal(back.valid, flow.valid)


def test_a_frame_comes_back_in_its_colors() -> None:
    frame = rgbd_frame(4)
    back = parse_frame(sent("frame", frame_fields(frame)), frame_payload(frame.color, 95))
    assert back.shape == frame.color.shape
    assert np.abs(back[20, 30].astype(int) - frame.color[20, 30]).max() < 12


def test_probabilities_must_match_the_classes() -> None:
    with pytest.raises(WireError, match="2 probabilities for 5 classes"):
        by_class(CLASSES, (0.5, 0.5))


def test_a_newer_major_version_is_refused_with_both_numbers() -> None:
    header = encode_header("event", "s", "demo", 0, Stamps(), 0, {}).replace(b"sfam.event/1", b"sfam.event/2")
    with pytest.raises(WireError, match=r"sfam\.event/1, got sfam\.event/2"):
        decode([b"sfam/demo/event", header])


@pytest.mark.parametrize(
    "parts",
    [
        [b"sfam/demo/event"],
        [b"sfam/demo/event", b"{"],
        [b"sfam/demo/event", b"\xff\xfe"],
        [b"sfam/demo/thing", b"{}"],
        [b"other/demo/event", b"{}"],
        [b"sfam/demo/event", b"[]"],
    ],
)
def test_foreign_messages_are_refused(parts: list[bytes]) -> None:
    with pytest.raises(WireError):
        decode(parts)


@pytest.mark.parametrize("value", [object(), {"a": [object()]}, b"bytes"])
def test_what_json_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(WireError, match="cannot hold"):
        json_ready(value)


@given(
    st.recursive(st.floats() | st.integers() | st.text() | st.none(), lambda inner: st.lists(inner) | st.tuples(inner))
)
def test_headers_never_hold_nan(value: object) -> None:
    json.dumps(json_ready(value), allow_nan=False)


def test_numpy_numbers_become_plain_ones() -> None:
    found = json_ready({"a": np.float32(0.5), "b": np.int64(3), "c": np.array([1.0, np.nan]), "d": np.bool_(True)})
    assert found == {"a": 0.5, "b": 3, "c": [1.0, None], "d": True}


@given(st.text())
def test_any_text_makes_a_camera_name(text: str) -> None:
    assert topic_of(camera_name(text), "event").startswith("sfam/")


def test_a_bad_camera_name_is_refused() -> None:
    with pytest.raises(WireError, match="letters, digits"):
        topic_of("a/b", "event")
