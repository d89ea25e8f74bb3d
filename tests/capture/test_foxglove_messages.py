"""The messages written by hand against the published schemas, read by Google's protobuf library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foxglove_schemas_protobuf.CameraCalibration_pb2 import CameraCalibration
from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage
from foxglove_schemas_protobuf.RawImage_pb2 import RawImage
from google.protobuf.descriptor_pb2 import (  # type: ignore[import-untyped]
    DescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)
from google.protobuf.descriptor_pool import DescriptorPool  # type: ignore[import-untyped]
from mcap.reader import make_reader
from mcap_protobuf.decoder import DecoderFactory

from sfam.capture.foxglove_messages import (
    CAMERA_CALIBRATION,
    RAW_IMAGE,
    camera_calibration,
    compressed_image,
    decode,
    descriptor_set,
    raw_image,
)
from sfam.capture.recorder import Recorder, RecorderSettings
from tests.capture.recorded_frames import CALIBRATION, INFO, seeded_frame

PUBLISHED: dict[str, Any] = {
    "foxglove.RawImage": RawImage,
    "foxglove.CompressedImage": CompressedImage,
    "foxglove.CameraCalibration": CameraCalibration,
}
T_NS = 1_700_000_000_123_456_789


def fields_of(message: DescriptorProto) -> list[tuple[str, int, int, int, str]]:
    return [(field.name, field.number, field.type, field.label, field.type_name) for field in message.field]


@pytest.mark.parametrize("name", PUBLISHED)
def test_descriptors_equal_the_published_ones(name: str) -> None:
    files = FileDescriptorSet.FromString(descriptor_set(name)).file
    published = FileDescriptorProto()
    PUBLISHED[name].DESCRIPTOR.file.CopyToProto(published)
    assert [file.name for file in files] == ["google/protobuf/timestamp.proto", published.name]
    assert (files[1].package, files[1].syntax) == (published.package, published.syntax) == ("foxglove", "proto3")
    assert list(files[1].dependency) == list(published.dependency)
    assert fields_of(files[1].message_type[0]) == fields_of(published.message_type[0])
    pool = DescriptorPool()
    for file in files:
        pool.Add(file)
    assert pool.FindMessageTypeByName(name).full_name == name


def test_a_raw_image_reads_as_the_published_message() -> None:
    pixels = np.arange(24, dtype=np.uint8)
    image = RawImage.FromString(b"".join(raw_image(T_NS, "camera", "rgb8", (2, 4), pixels.data)))
    assert (image.width, image.height, image.step, image.encoding, image.frame_id) == (4, 2, 12, "rgb8", "camera")
    assert image.data == pixels.tobytes()
    assert (image.timestamp.seconds, image.timestamp.nanos) == (1_700_000_000, 123_456_789)
    # no field is missed or invented: what the library writes is what was read
    fields = decode(RAW_IMAGE, image.SerializeToString())
    assert bytes(fields["data"]) == pixels.tobytes()
    assert fields["step"] == 12


def test_a_compressed_image_reads_as_the_published_message() -> None:
    image = CompressedImage.FromString(b"".join(compressed_image(T_NS, "camera", "jpeg", b"\xff\xd8 pixels")))
    assert (image.format, image.frame_id, image.data) == ("jpeg", "camera", b"\xff\xd8 pixels")


def test_a_calibration_reads_as_the_published_message() -> None:
    message = CameraCalibration.FromString(camera_calibration(T_NS, "camera", CALIBRATION.depth))
    assert (message.width, message.height, message.distortion_model) == (80, 60, "rational_polynomial")
    assert tuple(message.D) == CALIBRATION.depth.coeffs
    assert list(message.K) == [42.5, 0, 40.1, 0, 42.49999999999999, 29.3, 0, 0, 1]
    assert list(message.R) == [1, 0, 0, 0, 1, 0, 0, 0, 1]
    assert list(message.P) == [42.5, 0, 40.1, 0, 0, 42.49999999999999, 29.3, 0, 0, 0, 1, 0]
    color = CameraCalibration.FromString(camera_calibration(T_NS, "camera", CALIBRATION.color))
    assert color.distortion_model == "plumb_bob"
    assert len(color.D) == 5


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_torn_message_is_an_error(cut: int) -> None:
    whole = camera_calibration(T_NS, "camera", CALIBRATION.depth)
    with pytest.raises(ValueError, match="message"):
        decode(CAMERA_CALIBRATION, whole[:-cut])


@pytest.mark.parametrize("color", ["lossless", "jpeg"])
def test_a_whole_file_decodes_with_the_libraries_that_viewers_use(tmp_path: Path, color: Any) -> None:
    path = tmp_path / "a.mcap"
    recorder = Recorder(RecorderSettings(path, color=color, lossless=True))
    recorder.begin(INFO)
    frames = [seeded_frame(number) for number in range(8)]
    for frame in frames:
        recorder.push(frame)
    recorder.finish()
    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True, decoder_factories=[DecoderFactory()])
        assert reader.get_header().profile == "sfam"
        summary = reader.get_summary()
        assert summary is not None
        assert summary.statistics is not None
        names = {channel.topic: summary.schemas[channel.schema_id].name for channel in summary.channels.values()}
        assert names["/camera/color/image"] == (
            "foxglove.RawImage" if color == "lossless" else "foxglove.CompressedImage"
        )
        assert names["/camera/depth/image"] == "foxglove.RawImage"
        assert names["/camera/color/calibration"] == names["/camera/depth/calibration"] == "foxglove.CameraCalibration"
        images = list(reader.iter_decoded_messages(topics=["/camera/color/image", "/camera/depth/image"]))
        assert len(images) == 16
        for _, channel, message, image in images:
            frame = frames[message.sequence]
            assert message.log_time == message.publish_time == frame.t_utc_ns
            assert image.timestamp.seconds * 10**9 + image.timestamp.nanos == frame.t_utc_ns
            if channel.topic == "/camera/depth/image":
                assert (image.encoding, image.frame_id) == ("16UC1", "camera_depth_optical_frame")
                assert (image.width, image.height, image.step) == (80, 60, 160)
                assert image.data == frame.depth.tobytes()
            elif color == "lossless":
                assert (image.encoding, image.frame_id) == ("rgb8", "camera_color_optical_frame")
                assert image.data == frame.color.tobytes()
        records = list(reader.iter_messages(topics=["/sfam/frame"]))
        assert [json.loads(message.data)["sequence"] for _, _, message in records] == list(range(8))
        counts = summary.statistics.channel_message_counts
        assert sum(counts.values()) == summary.statistics.message_count == sum(1 for _ in reader.iter_messages())
        assert summary.statistics.chunk_count == len(summary.chunk_indexes)
