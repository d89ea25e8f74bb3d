from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from sfam.app.config import Config
from sfam.app.session_description import payload_kinds
from sfam.app.sink_roles import announce, bus_watch, require_sinks, sink_roles, web_overlay
from sfam.sinks.config import SinksConfig
from sfam.sinks.curve import new_keys
from sfam.sinks.sink_error import SinkError

COMMAND = "import sys; from sfam.app.cli import main; main(['live', *sys.argv[1:]])"


def page(address: str) -> str:
    with urllib.request.urlopen(address, timeout=10) as answer:
        return str(answer.read().decode())


@pytest.mark.slow  # a whole session with its processes
def test_page_and_metrics_of_a_live_session_are_named_and_served(tmp_path: Path) -> None:
    arguments = ["--camera", "demo", "--overlay", "web", "--set", "sinks.web_address=127.0.0.1:0", "--metrics", "0"]
    arguments += ["--publish", "tcp://127.0.0.1:5598", "--out", str(tmp_path / "session"), "--quiet"]
    command = [sys.executable, "-c", COMMAND, *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as live:
        assert live.stderr is not None
        try:
            said, found = "", dict[str, str]()
            while len(found) < 2:
                line = live.stderr.readline()
                assert line, said
                said += line
                found |= dict(re.findall(r"(overlay|metrics): (http://\S+)", line))
            assert "Live image" in page(found["overlay"])
            assert "sfam_frames_analysed" in page(found["metrics"])
            while "#" not in (line := live.stderr.readline()):  # the demo's first event
                assert line
            metrics = page(found["metrics"])
            assert 'sfam_up{camera="demo"} 1.0' in metrics
            assert "sfam_events_total" in metrics
            live.send_signal(signal.SIGINT)
            _, rest = live.communicate(timeout=30)
        finally:
            live.kill()
    assert live.returncode == 0, rest
    assert "Traceback" not in rest
    assert (tmp_path / "session" / "report.html").exists()


def test_sinks_without_a_bus_are_refused() -> None:
    for asked, name in (({"overlay": "web"}, "--overlay web"), ({"metrics_port": 9100}, "--metrics")):
        with pytest.raises(SinkError, match=name):
            require_sinks(SinksConfig(publish="none", **asked))
    require_sinks(SinksConfig(publish="none"))


def test_a_bus_that_others_could_read_is_refused_before_anything_is_loaded() -> None:
    with pytest.raises(SinkError, match="--insecure"):
        require_sinks(SinksConfig(publish="tcp://192.0.2.1:5571"))
    require_sinks(SinksConfig(publish="tcp://192.0.2.1:5571", insecure=True))


def test_on_a_bus_with_keys_the_overlay_needs_one_of_its_own(tmp_path: Path) -> None:
    new_keys(tmp_path, "lab")
    config = SinksConfig(overlay="web", keys=str(tmp_path), publish="tcp://0.0.0.0:5571")
    with pytest.raises(SinkError, match="--client overlay"):
        require_sinks(config)
    new_keys(tmp_path, "overlay")
    require_sinks(config)
    watch = bus_watch(config)
    assert watch.address == "tcp://127.0.0.1:5571"
    assert watch.keys is not None


@pytest.mark.parametrize(
    ("publish", "keys", "privacy", "leaving"),
    [
        ("tcp://127.0.0.1:5571", None, "results", {"flow"}),
        ("tcp://127.0.0.1:5571", None, "blurred", {"frame", "flow"}),
        ("tcp://0.0.0.0:5571", "keys", "results", set()),
        ("tcp://0.0.0.0:5571", "keys", "flow", {"flow"}),
        ("tcp://0.0.0.0:5571", "keys", "full", {"frame", "flow"}),
    ],
)
def test_an_overlay_makes_motion_leave_on_this_machine_only_and_pixels_never(
    publish: str, keys: str | None, privacy: str, leaving: set[str]
) -> None:
    sinks = {"overlay": "web", "publish": publish, "keys": keys, "privacy": privacy}
    assert set(payload_kinds(Config.model_validate({"sinks": sinks}))) == leaving


def test_each_sink_is_a_process_that_may_fail() -> None:
    roles = sink_roles(SinksConfig(overlay="web", metrics_port=0))
    assert [(role.name, role.essential) for role in roles] == [("overlay", False), ("metrics", False)]
    assert sink_roles(SinksConfig()) == []


def test_only_a_page_beyond_loopback_has_a_token_and_it_is_new_each_time() -> None:
    here = web_overlay(SinksConfig(web_address="[::1]:0", web_also=("tcp://127.0.0.1:5572", "tcp://127.0.0.1:5571")))
    assert (here.host, here.port, here.token) == ("::1", 0, "")
    assert here.addresses == ("tcp://127.0.0.1:5571", "tcp://127.0.0.1:5572")
    beyond = SinksConfig(web_address="0.0.0.0:8080")
    tokens = {web_overlay(beyond).token for _ in range(3)}
    assert len(tokens) == 3
    assert all(len(token) > 20 for token in tokens)


def test_without_a_display_no_browser_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", "")
    monkeypatch.setattr("webbrowser.open", lambda address: pytest.fail("a browser was opened"))
    said: list[str] = []
    announce("page", "http://127.0.0.1:5580/", said.append)
    announce("metrics", "http://127.0.0.1:9100/metrics", said.append)
    assert said == ["overlay: http://127.0.0.1:5580/", "metrics: http://127.0.0.1:9100/metrics"]
