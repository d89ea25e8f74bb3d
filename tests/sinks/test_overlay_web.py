from __future__ import annotations

import asyncio
import http.client
import json
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import psutil
import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from sfam.sinks.overlay_web import WebOverlay, is_loopback, serve_overlay
from sfam.sinks.session_info import NOT_A_LIE_DETECTOR
from sfam.sinks.sink_error import SinkError
from tests.sinks.chromium import chromium, complaints
from tests.sinks.talking_session import BITS, BLOCK_PX, HEIGHT, spot_of
from tests.sinks.waiting import until

ROOT = Path(__file__).resolve().parents[2]
DEAD_WITHIN_S = 3.0
FEWEST_PICTURES = 20
"""In four seconds; a browser that keeps up draws 60."""
NUMBER_IN_PICTURE = f"""
    const canvas = document.getElementById('picture'), pen = canvas.getContext('2d');
    let number = 0;
    for (let bit = 0; bit < {BITS}; bit += 1) {{
      const x = (bit + 0.5) * {BLOCK_PX} * canvas.width / {BITS * BLOCK_PX};
      const y = ({HEIGHT - BLOCK_PX // 2}) * canvas.height / {HEIGHT};
      if (pen.getImageData(x, y, 1, 1).data[0] > 128) number += 2 ** bit;
    }}
    const score = document.getElementById('picture-score');
    const depth = document.getElementById('depth');
    const [red, , blue] = depth.getContext('2d').getImageData(20, 20, 1, 1).data;
    return [number, canvas.dataset.frame, score.dataset.frame, depth.dataset.frame, red > blue, score.textContent,
      document.getElementById('picture-frame').textContent];
"""
WATCH_STATE = """
    new MutationObserver(() => {
      if (document.getElementById('state').dataset.state === 'dead') window.deadAtMs ??= Date.now();
    }).observe(document.getElementById('state'), {attributes: true});
"""
WATCH_PICTURES = """
    const picture = document.getElementById('picture');
    window.framesShown = new Set();
    new MutationObserver(() => window.framesShown.add(picture.dataset.frame))
      .observe(picture, {attributes: true, attributeFilter: ['data-frame']});
"""

pytestmark = pytest.mark.slow  # a browser takes seconds to start


@contextmanager
def process(module: str, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A Python process and the first line it says."""
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        try:
            yield running, running.stdout.readline().strip()
        finally:
            running.kill()


@contextmanager
def talking(camera: str, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    with process("tests.sinks.talking_session", "tcp://127.0.0.1:*", camera, *options) as found:
        yield found


@contextmanager
def served(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    with process("tests.sinks.served_overlay", *arguments) as found:
        yield found


@pytest.fixture(scope="module")
def buses() -> Iterator[tuple[str, str]]:
    """Addresses of a session that shows everything and of a blind one; the first has its frames in a ring."""
    with talking("demo") as (_, shown), talking("hidden", "--blind") as (_, blind):
        yield shown, blind


@pytest.fixture(scope="module", params=[390, 1280])
def browser(request: pytest.FixtureRequest) -> Iterator[webdriver.Chrome]:
    with chromium(request.param) as driver:
        yield driver


@pytest.fixture(scope="module")
def server(buses: tuple[str, str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    (bus, ring), (blind_bus, _) = (told.split() for told in buses)
    with served(bus, blind_bus, "--ring", "demo", ring) as found:
        yield found


@pytest.fixture
def page(browser: webdriver.Chrome, server: tuple[subprocess.Popen[str], str]) -> Iterator[webdriver.Chrome]:
    """The page with both cameras, the open one chosen; nothing may complain in its console."""
    browser.get(server[1])
    choose(browser, "demo")
    until(lambda: picture_frame(browser) >= 0, "a picture")
    yield browser
    assert complaints(browser) == []


def choose(browser: webdriver.Chrome, camera: str) -> None:
    # found and clicked in one go: the tabs are made anew whenever a camera joins
    click = f"""
        const tab = document.querySelector("[role=tab][data-camera='{camera}']");
        tab?.click();
        return tab !== null;
    """
    until(lambda: browser.execute_script(click), f"tab of {camera}")
    until(lambda: f"{camera} ·" in browser.find_element(By.ID, "session-name").text, f"session of {camera}")


def picture_frame(browser: webdriver.Chrome) -> int:
    return int(browser.find_element(By.ID, "picture").get_attribute("data-frame") or -1)


def state(browser: webdriver.Chrome) -> str:
    return browser.find_element(By.ID, "state").text


def visible_text(browser: webdriver.Chrome) -> str:
    return browser.find_element(By.TAG_NAME, "body").text


def named(browser: webdriver.Chrome, role: str, name: str) -> WebElement:
    """The element of a role whose accessible name begins so."""
    for found in browser.find_elements(By.CSS_SELECTOR, "canvas, section, input, button, h1, h2, [role], output, main"):
        if found.aria_role == role and found.accessible_name.startswith(name) and found.is_displayed():
            return found
    raise AssertionError(f"no {role} named {name!r}")


def test_everything_is_there_by_role_and_name(page: webdriver.Chrome) -> None:
    until(lambda: page.find_elements(By.CSS_SELECTOR, "#events li"), "an event")
    for role, name in (
        ("image", "Live image: frame"),
        ("image", "Depth view: frame"),
        ("image", "Spotting score"),
        ("checkbox", "Face box"),
        ("checkbox", "Analysed region"),
        ("checkbox", "Motion"),
        ("tab", "demo"),
        ("tab", "hidden"),
        ("heading", "Last events"),
        ("heading", "Depth"),
        ("heading", "Quality"),
        ("heading", "Model card"),
        ("status", "Score of this frame"),
    ):
        named(page, role, name)
    text = visible_text(page)
    for words in (
        NOT_A_LIE_DETECTOR,
        "Latency",
        "Dropped",
        "2 overrun",
        "threshold 0.50",
        "synthetic-4",
        "Noise floor",
    ):
        assert words in text
    assert "micro · positive" in text
    assert "confirmed" in text
    assert state(page) == "Live"


def test_the_page_fits_its_width(page: webdriver.Chrome) -> None:
    script = "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    wide, room = page.execute_script(script)
    assert wide <= room


def test_the_picture_is_the_frame_whose_score_stands_beside_it(page: webdriver.Chrome) -> None:
    seen = set()

    def looked() -> bool:
        number, of_picture, of_score, of_depth, near_is_red, score, words = page.execute_script(NUMBER_IN_PICTURE)
        assert int(of_picture) == int(of_score) == int(of_depth) == number
        assert near_is_red
        assert score == f"{spot_of(number):.2f}"
        assert words == f"frame {number}"
        seen.add(number)
        return len(seen) > 10

    until(looked, "the eleventh picture")


def test_face_region_and_motion_are_drawn_until_switched_off(page: webdriver.Chrome) -> None:
    ink = """const data = document.getElementById('picture').getContext('2d').getImageData(90, 30, 150, 150).data;
      let count = 0; for (let i = 0; i < data.length; i += 4)
        if (Math.abs(data[i] - arguments[0][0]) + Math.abs(data[i+1] - arguments[0][1])
          + Math.abs(data[i+2] - arguments[0][2]) < 60) count += 1;
      return count"""

    def inked(color: list[int]) -> int:
        return int(page.execute_script(ink, color))

    for box, color in (("show-face", [79, 209, 197]), ("show-flow", [255, 212, 121]), ("show-region", [201, 204, 208])):
        switch = "document.getElementById(arguments[0]).click()"
        until(partial(lambda wanted: inked(wanted) > 30, color), f"{box} drawn")
        page.execute_script(switch, box)
        until(partial(lambda wanted: inked(wanted) < 30, color), f"{box} gone")
        page.execute_script(switch, box)


def test_every_control_is_reached_by_keyboard(page: webdriver.Chrome) -> None:
    page.execute_script("document.activeElement.blur()")
    reached = set()
    for _ in range(10):
        ActionChains(page).send_keys(Keys.TAB).perform()
        reached.add(
            page.execute_script("return document.activeElement.id || document.activeElement.textContent.trim()")
        )
    assert {"demo", "show-face", "show-region", "show-flow", "Time by stage"} <= reached
    page.execute_script("document.querySelector('[role=tab][aria-selected=true]').focus()")
    ActionChains(page).send_keys(Keys.ARROW_RIGHT).perform()
    until(lambda: "hidden ·" in page.find_element(By.ID, "session-name").text, "the next camera")


def test_blind_mode_shows_quality_but_no_result(page: webdriver.Chrome) -> None:
    choose(page, "hidden")
    until(lambda: "Blind mode" in visible_text(page), "the blind notice")
    until(lambda: picture_frame(page) >= 0, "a picture")
    time.sleep(1.5)  # an event is announced every second
    text = visible_text(page)
    for words in ("micro", "positive", "Spotting score", "Last events", "threshold", "score 0."):
        assert words not in text
    assert page.find_elements(By.CSS_SELECTOR, "#events li") == []
    assert "score" not in (page.find_element(By.ID, "picture").get_attribute("aria-label") or "")
    for words in ("Latency", "Dropped", "Live image", NOT_A_LIE_DETECTOR):
        assert words in text


def seconds_to_dead(browser: webdriver.Chrome, process: subprocess.Popen[str]) -> float:
    """Kill a process; seconds until the page says so, by the page's own clock, however slowly this test looks."""
    browser.execute_script(WATCH_STATE)
    process.kill()
    killed_ms = time.time() * 1000
    until(lambda: state(browser) == "Dead", "the word dead")
    return (float(browser.execute_script("return window.deadAtMs")) - killed_ms) / 1000


def test_a_killed_pipeline_is_shown_as_dead(browser: webdriver.Chrome) -> None:
    with talking("mortal") as (session, told), served(told.split()[0]) as (_, address):
        browser.get(address)
        until(lambda: state(browser) == "Live", "the session")
        assert seconds_to_dead(browser, session) < DEAD_WITHIN_S
        assert "What you see is past" in browser.find_element(By.ID, "alarm").text
        assert browser.title.startswith("Dead")


def test_a_killed_server_is_shown_as_dead(browser: webdriver.Chrome, buses: tuple[str, str]) -> None:
    with served(buses[0].split()[0]) as (server, address):
        browser.get(address)
        until(lambda: state(browser) == "Live", "the session")
        assert seconds_to_dead(browser, server) < DEAD_WITHIN_S
        complaints(browser)  # the page tries again, and the browser says so


def test_an_open_page_costs_a_quarter_of_a_core_at_most(
    page: webdriver.Chrome, server: tuple[subprocess.Popen[str], str]
) -> None:
    measured = psutil.Process(server[0].pid)

    def spent_s() -> float:
        times = measured.cpu_times()
        return float(times.user + times.system)

    page.execute_script(WATCH_PICTURES)
    began, before = time.monotonic(), spent_s()
    time.sleep(4)
    share = (spent_s() - before) / (time.monotonic() - began)
    assert page.execute_script("return window.framesShown.size") >= FEWEST_PICTURES, (
        "a page without pictures costs nothing"
    )
    assert share < 0.25


def answer(address: str, path: str = "/", headers: dict[str, str] | None = None) -> http.client.HTTPResponse:
    where = urlsplit(address)
    connection = http.client.HTTPConnection("127.0.0.1", where.port or 0, timeout=10)
    connection.request("GET", path, headers=headers or {})
    return connection.getresponse()


def test_pages_of_other_sites_learn_nothing(server: tuple[subprocess.Popen[str], str]) -> None:
    address = server[1]
    assert answer(address).status == 200
    assert answer(address, headers={"Host": "evil.example"}).status == 403
    assert answer(address, "/feed", {"Origin": "https://evil.example"}).status == 403
    assert answer(address, "/../session.json").status == 404


def test_beyond_loopback_a_token_is_asked_for(buses: tuple[str, str]) -> None:
    with served(buses[0].split()[0], "--host", "0.0.0.0", "--token", "secret") as (_, address):
        assert address.endswith("/?token=secret")
        for path in ("/", "/overlay.js", "/feed", "/?token=guess"):
            assert answer(address, path).status == 403
        entered = answer(address, "/?token=secret")
        cookie = entered.getheader("Set-Cookie", "")
        assert entered.status == 303
        assert "HttpOnly" in cookie
        assert answer(address, "/", {"Cookie": cookie.partition(";")[0]}).status == 200


def test_a_server_that_would_show_faces_to_anybody_does_not_start() -> None:
    with pytest.raises(SinkError, match="token"):
        serve_overlay(WebOverlay(("tcp://127.0.0.1:5571",), "0.0.0.0", 0))
    assert is_loopback("::1")
    assert not is_loopback("192.168.1.4")
    assert not is_loopback("localhost.evil.example")


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(SinkError, match="web_address"):
        serve_overlay(WebOverlay(("tcp://127.0.0.1:5571",), "127.0.0.1", other.getsockname()[1]))


def test_the_score_of_a_picture_goes_before_it(server: tuple[subprocess.Popen[str], str]) -> None:
    async def watch() -> tuple[int, list[int]]:
        told, shown, early = set[int](), 0, list[int]()
        async with aiohttp.ClientSession() as client, client.ws_connect(f"{server[1]}feed") as page:
            await page.send_str("demo")
            async for message in page:
                if message.type == aiohttp.WSMsgType.TEXT:
                    news = json.loads(message.data)
                    told |= {row[0] for row in news.get("scores", ())} if news.get("camera") == "demo" else set()
                    continue
                text, _ = struct.unpack_from("<II", message.data)
                frame, shown = json.loads(message.data[8 : 8 + text])["frame"], shown + 1
                early += [frame] * (frame not in told)
                if shown == 60:
                    break
        return shown, early

    assert asyncio.run(asyncio.wait_for(watch(), 120)) == (60, [])
