"""Settings: order of precedence, refusals that help, and config.yaml in step."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sfam.app.config import Config, ConfigError, load_config, render_yaml

ROOT = Path(__file__).resolve().parents[2]


def test_config_yaml_lists_every_key_with_its_default_and_a_comment() -> None:
    assert (ROOT / "config.yaml").read_text() == render_yaml(Config())


def test_the_written_yaml_reads_back_as_the_same_settings(tmp_path: Path) -> None:
    config = load_config(assignments=["engine.threshold=0.31", "stream.face_box=[1, 2, 3, 4]"])
    file = tmp_path / "config.yaml"
    file.write_text(render_yaml(config))
    assert load_config(file) == config
    assert load_config(file).sha256() == config.sha256()


def test_later_places_override_earlier_ones(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"engine": {"threads": 2, "threshold": 0.1}, "app": {"subject": "file"}}))
    config = load_config(
        file,
        environment={"SFAM_ENGINE_THRESHOLD": "0.2", "SFAM_APP_SUBJECT": "env", "SFAM_REQUIRE_SHARED": "1"},
        assignments=["app.subject=set"],
        flags={"app.subject": "flag", "app.video": None},
    )
    assert (config.engine.threads, config.engine.threshold, config.app.subject) == (2, 0.2, "flag")


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("engine.treshold=0.5", "did you mean 'threshold'"),
        ("engin.threshold=0.5", "did you mean 'engine'"),
        ("threshold=0.5", "names no section"),
        ("engine.threshold", "section.key=value"),
        ("engine.threshold=3", "engine.threshold"),
        ("app.policy=newest", "choose auto, latest, lossless or decimate:N"),
        ("app.speed=0", "speed must be above 0"),
        ("engine.threshold=[", "not a YAML value"),
    ],
)
def test_a_wrong_setting_is_refused_with_the_way_out(assignment: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace(".", r"\.")):
        load_config(assignments=[assignment])


@pytest.mark.parametrize("text", ["[1, 2]", "engine: 3", "a: [", "unknown: {}"])
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError):
        load_config(file)
    with pytest.raises(ConfigError, match="absent"):
        load_config(tmp_path / "absent.yaml")
