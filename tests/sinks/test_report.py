from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from sfam.capture.clock import SessionClock
from sfam.capture.recorder import Recorder, RecorderSettings
from sfam.engine.events import Event
from sfam.sinks.latency_table import LatencyRow
from sfam.sinks.report import write_report
from sfam.sinks.report_plots import LEFT, MOST_POINTS, RIGHT, WIDTH, Timeline, noise_plot, score_plot
from sfam.sinks.report_thumbnails import frames_of
from sfam.sinks.session_folder import SessionFolder
from sfam.sinks.session_info import NOT_A_LIE_DETECTOR, UNSUITABLE_USES
from sfam.sinks.session_reader import read_session
from sfam.sinks.sink_error import SinkError
from sfam.sinks.status import StageLatency
from sfam.training.corrections import read_corrections
from tests.capture.recorded_frames import INFO, seeded_frame
from tests.sinks.chromium import chromium, complaints
from tests.sinks.session_parts import event, frame_result, session_info
from tests.sinks.waiting import until

VOID = {"meta", "link", "input", "br", "img", "hr"}
STAGE = {"p50": 8_000.0, "p95": 9_500.0, "p99": 12_000.0}
COUNTERS = {"offered": 100, "analysed": 90, "dropped": {"overrun": 10}, "latency_us": {"flow": STAGE, "total": STAGE}}
EVENTS = (event(0, "confirmed", 20), event(1, "confirmed", 50), event(2, "confirmed", 70, "macro"))


def session(folder: Path, privacy: str = "results", subject: str = "s01", events: tuple[Event, ...] = EVENTS) -> Path:
    info = dataclasses.replace(session_info(), privacy=privacy, subject=subject)
    with SessionFolder(folder, info, "sinks:\n  privacy: results\n") as writer:
        for number in range(100):
            writer.row(frame_result(number))
        for found in events:
            writer.event(found)
        writer.close(COUNTERS)
    return folder


class Page(HTMLParser):
    """Every element with its attributes; open and close tags must match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("style", "script"):
            self.text += f"{data} "

    def count(self, tag: str, name: str = "") -> int:
        classes = [(attrs.get("class") or "").split() for found, attrs in self.elements if found == tag]
        return sum(not name or name in found for found in classes)


def read(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def test_the_page_says_all_there_is_to_say(tmp_path: Path) -> None:
    page = read(write_report(session(tmp_path / "s")))
    headings = (
        *("Spotting score and events", "Frames without score", "Noise floor", "Latency", "Events and review"),
        *("Model card", "Known limits", "Session and settings"),
    )
    for words in (*headings, NOT_A_LIE_DETECTOR, *UNSUITABLE_USES, "not evaluated on any real face", "90", "of 100"):
        assert words in page.text
    assert "10 overrun" in page.text
    assert "12.0 ms" in " ".join(page.text.split())
    assert "privacy: results" in page.text
    assert page.count("article", "card") == len(EVENTS)
    links = [attrs["href"] for tag, attrs in page.elements if tag == "a"]
    assert links == ["#event-0", "#event-1", "#event-2"]
    assert sum(tag == "svg" for tag, _ in page.elements) == 4 + len(EVENTS)


def test_the_page_needs_nothing_but_itself(tmp_path: Path) -> None:
    page = read(write_report(session(tmp_path / "s")))
    for tag, attrs in page.elements:
        for name in ("src", "href", "srcset", "action", "data"):
            assert (attrs.get(name) or "#").startswith(("#", "data:image/jpeg")), f"{tag} {name}={attrs[name]}"
    assert not re.search(r"url\(|@import|https?://", (tmp_path / "s" / "report.html").read_text(encoding="utf-8"))


def test_names_that_look_like_markup_stay_names(tmp_path: Path) -> None:
    path = write_report(session(tmp_path / "s", subject="</script><script>alert(1)</script>&amp;"))
    text = path.read_text(encoding="utf-8")
    assert "<script>alert" not in text
    found = re.search(r'id="data">(.*?)</script>', text)
    assert found is not None
    assert json.loads(found[1])["subject"] == "</script><script>alert(1)</script>&amp;"


def test_a_session_without_events_or_end_has_a_page_too(tmp_path: Path) -> None:
    with SessionFolder(tmp_path / "s", session_info()):
        pass
    assert "No event was confirmed" in read(write_report(tmp_path / "s")).text


def test_what_is_no_session_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="no session folder"):
        write_report(tmp_path)
    with pytest.raises(SinkError, match="cannot write report"):
        write_report(session(tmp_path / "s"), tmp_path / "nowhere" / "report.html")


@pytest.mark.parametrize(("privacy", "shown"), [("results", False), ("flow", False), ("full", True)])
def test_faces_are_in_it_at_tier_full_only(tmp_path: Path, privacy: str, shown: bool) -> None:
    folder = session(tmp_path / "s", privacy)
    recorder = Recorder(RecorderSettings(folder / "recording.mcap", lossless=True))
    recorder.begin(INFO, SessionClock.start())
    for number in range(90):
        recorder.push(seeded_frame(number))
    recorder.finish()
    page = read(write_report(folder))
    expected = sum(len([frame for frame in frames_of(found) if frame < 90]) for found in EVENTS)
    assert page.count("figure") == (expected if shown else 0)
    assert ("no picture of the face" in page.text) != shown
    assert sum(tag == "img" for tag, _ in read(write_report(folder, pictures=False)).elements) == 0


def test_an_hour_of_scores_stays_light_and_keeps_its_peaks() -> None:
    count = 108_000
    spot = np.full(count, 0.1)
    spot[54_321] = 0.987
    seconds, nothing = np.arange(count) / 30, np.full(count, np.nan)
    zeros = np.zeros(count, np.int64)
    line = Timeline(np.arange(count), seconds, zeros, spot, nothing, nothing, nothing, ("",) * count)
    plot = score_plot(line, (), 0.5)
    path = re.search(r'class="score" d="([^"]*)"', plot)
    assert path is not None
    points = re.split("[ML]", path[1])[1:]
    assert len(points) <= 2 * MOST_POINTS
    heights = [float(point.split()[1]) for point in points]
    assert sorted(heights)[0] < sorted(heights)[1] - 100, "the peak of one frame is gone"
    assert noise_plot(line) == ""


def latency_rows(count: int) -> Iterator[LatencyRow]:
    """A row for each second, 8 ms each, with one slow frame in the middle."""
    for number in range(count):
        slowest_us = 300_000.0 if number == count // 2 else 12_000.0
        spread = StageLatency(8_000.0, 9_000.0, slowest_us)
        yield LatencyRow(30 * number, 30 * number + 29, 30, spread, slowest_us)


def test_latency_is_shown_from_the_first_second_to_the_last(tmp_path: Path) -> None:
    hours = 2
    with SessionFolder(tmp_path / "s", session_info()) as writer:
        for number in (0, 30 * 3600 * hours - 1):
            writer.row(frame_result(number))
        for row in latency_rows(3600 * hours):
            writer.row(row)
        writer.close(COUNTERS)
    page = write_report(tmp_path / "s").read_text(encoding="utf-8")
    slow, median = (re.search(rf'class="{name}" d="([^"]*)"', page) for name in ("slow", "median"))
    assert slow is not None
    assert median is not None
    points = [tuple(map(float, point.split())) for point in re.split("[ML]", slow[1])[1:]]
    assert len(points) <= MOST_POINTS + 2
    assert points[-1][0] - points[0][0] > 0.99 * (WIDTH - LEFT - RIGHT)
    assert min(points, key=lambda point: point[1])[0] == pytest.approx((LEFT + WIDTH - RIGHT) / 2, abs=2)
    assert len(median[1]) < 40_000
    assert "The slowest frame took 300.0 ms: one of 108000 to 108029, at 60:01" in page


def test_a_latency_row_is_stored_as_it_was(tmp_path: Path) -> None:
    with SessionFolder(tmp_path / "s", session_info()) as writer:
        assert not (tmp_path / "s" / "latency.csv").exists()
        writer.row(next(latency_rows(1)))
    record = read_session(tmp_path / "s")
    assert record.latency == [
        {
            **{"first_frame": "0", "last_frame": "29", "frames": "30"},
            **{"p50_us": "8000.0", "p95_us": "9000.0", "p99_us": "300000.0", "slowest_us": "300000.0"},
        }
    ]
    assert record.summary["rows"]["latency.csv"] == 1
    with SessionFolder(tmp_path / "s", session_info(), force=True):
        pass
    assert read_session(tmp_path / "s").latency == []


def card(browser: webdriver.Chrome, number: int) -> WebElement:
    return browser.find_element(By.ID, f"event-{number}")


def put(browser: webdriver.Chrome, part: WebElement, name: str, value: object) -> None:
    script = """const field = arguments[0].querySelector(`[name="${arguments[1]}"]`);
      field.value = arguments[2]; field.dispatchEvent(new Event('input', {bubbles: true}));"""
    browser.execute_script(script, part, name, str(value))


@pytest.mark.slow  # a browser takes seconds to start
@pytest.mark.parametrize("width", [390, 1280])
def test_a_review_becomes_the_table_that_training_reads(tmp_path: Path, width: int) -> None:
    folder = session(tmp_path / "s")
    path = write_report(folder)
    with chromium(width) as browser:
        saved = {"behavior": "allow", "downloadPath": str(tmp_path)}
        browser.execute_cdp_cmd("Browser.setDownloadBehavior", saved)
        browser.get(path.as_uri())
        wide, room = browser.execute_script(
            "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert wide <= room
        browser.execute_script(
            "arguments[0].click()", card(browser, 0).find_element(By.CSS_SELECTOR, "[value=confirmed]")
        )
        browser.execute_script(
            "arguments[0].click()", card(browser, 1).find_element(By.CSS_SELECTOR, "[value=rejected]")
        )
        put(browser, card(browser, 2), "scrub", 74)
        assert "frame 74, score" in card(browser, 2).text
        browser.execute_script(
            "arguments[0].click()", card(browser, 2).find_element(By.CSS_SELECTOR, "[data-take=onset]")
        )
        put(browser, card(browser, 2), "comment", 'starts later, "clearly"')
        assert card(browser, 2).get_attribute("data-verdict") == "corrected"
        browser.execute_script("document.getElementById('add').click()")
        added = browser.find_element(By.CSS_SELECTOR, "[data-event=added]")
        for name, value in (("onset", 5), ("offset", 12), ("emotion", "surprise"), ("kind", "micro")):
            put(browser, added, name, value)
        assert "4 of 4 reviewed" in browser.find_element(By.ID, "progress").text
        browser.execute_script("document.getElementById('save').click()")
        table = tmp_path / "test_review.csv"
        until(table.exists, "the saved review")
        assert complaints(browser) == []
    intervals, findings = read_corrections(table, read_session(folder))
    assert findings == []
    found = [(one.onset, one.offset, one.kind, one.emotion) for one in intervals]
    assert found == [(5, 12, "micro", "surprise"), (20, 31, "micro", "positive"), (74, 81, "macro", "positive")]
    assert "rejected" in table.read_text(encoding="utf-8")
    assert '"starts later, ""clearly"""' in table.read_text(encoding="utf-8")
