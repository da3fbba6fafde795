"""The dashboard in a real Chromium: two widths, light and dark, and nothing asked for from anywhere.

``python -m tests.hosting.test_dashboard_page`` makes the README's pictures in ``docs/images/``.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from shared.status.dashboard import render
from shared.status.page import page
from tests.standins.azurite import REPOSITORY
from tests.unit.status.test_dashboard import SAMPLES

Json = dict[str, Any]

IMAGES = REPOSITORY / "docs/images"
WIDTHS = {"phone": (390, 1300), "wide": (1280, 1710)}
_ANSWER_SECONDS = 60.0


@dataclass
class Chromium:
    """Debian's Chromium, without a window, driven over a pipe by its own protocol (DevTools)."""

    _requests: int
    """File descriptor: to the browser."""
    _answers: int
    _session: str = ""
    _last: int = 0
    _read: bytes = b""
    events: list[Json] = field(default_factory=list)
    """Since the last page was opened."""

    def call(self, method: str, **parameters: Any) -> Json:
        self._last += 1
        message: Json = {"id": self._last, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._requests, json.dumps(message).encode() + b"\0")
        while True:
            found = self._next()
            if found.get("id") == self._last:
                assert "error" not in found, f"{method}: {found['error']}"
                result: Json = found["result"]
                return result
            self.events.append(found)

    def begin(self) -> None:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def open(self, url: str, width: str, scheme: str = "light", headers: Json | None = None) -> None:
        """And wait until it is loaded."""
        wide, high = WIDTHS[width]
        mobile = width == "phone"
        self.call("Emulation.setDeviceMetricsOverride", width=wide, height=high, deviceScaleFactor=1, mobile=mobile)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Network.setExtraHTTPHeaders", headers=headers or {})
        self.call("Page.navigate", url="about:blank")
        self._until_loaded()
        self.call("Page.navigate", url=url)
        self._until_loaded()

    def _until_loaded(self) -> None:
        while not any(each.get("method") == "Page.loadEventFired" for each in self.events):
            self.events.append(self._next())
        self.loaded, self.events = self.events, []

    def ask(self, expression: str) -> Any:
        """What a line of script says of the page: the page's own policy does not bind the protocol."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def asked_for(self) -> list[str]:
        """Addresses that the page's loading asked for."""
        return [each["params"]["request"]["url"] for each in self._seen("Network.requestWillBeSent")]

    def complaints(self) -> list[Json]:
        """What stands in the console."""
        return [
            each["params"]
            for name in ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
            for each in self._seen(name)
        ]

    def _seen(self, method: str) -> list[Json]:
        return [each for each in [*self.loaded, *self.events] if each.get("method") == method]

    def picture(self, file: Path, *, whole: bool = True) -> None:
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(shot["data"]))

    def _next(self) -> Json:
        end = time.monotonic() + _ANSWER_SECONDS
        while b"\0" not in self._read:
            ready, _, _ = select.select([self._answers], [], [], max(0.0, end - time.monotonic()))
            piece = os.read(self._answers, 1 << 20) if ready else b""
            assert piece, "Chromium has ended, or does not answer"
            self._read += piece
        message, _, self._read = self._read.partition(b"\0")
        found: Json = json.loads(message)
        return found


@contextmanager
def running_chromium(folder: Path) -> Iterator[Chromium]:
    binary = shutil.which("chromium")
    assert binary, "Chromium is missing: scripts/setup.sh test installs Debian's package chromium"
    to_browser, requests = os.pipe()
    answers, from_browser = os.pipe()
    arguments = [binary, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    arguments += ["--no-first-run", "--disable-background-networking", "--disable-component-update"]
    arguments += ["--hide-scrollbars", "--remote-debugging-pipe", f"--user-data-dir={folder / 'profile'}"]
    with (folder / "chromium.log").open("wb") as log:
        process = subprocess.Popen(
            ["/bin/bash", "-c", f'exec 3<&{to_browser} 4>&{from_browser}; exec "$@"', "chromium", *arguments],
            pass_fds=(to_browser, from_browser),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=os.environ | {"HOME": str(folder)},
        )
    os.close(to_browser)
    os.close(from_browser)
    try:
        browser = Chromium(requests, answers)
        browser.begin()
        yield browser
        browser._session = ""
        browser.call("Browser.close")
        process.wait(20)
    finally:
        process.kill()
        process.wait()
        os.close(requests)
        os.close(answers)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with running_chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


def written(sample: str, folder: Path, *, links: bool = True) -> str:
    file = folder / f"{sample}.html"
    file.write_text(render(SAMPLES[sample](), links=links), encoding="utf-8")
    return file.as_uri()


TEXTS = {
    "empty": ("nothing could be looked at", "LIFEBOAT_VAULT_URL", "None could be listed"),
    "healthy": (
        "each component has a good backup",
        "appservice_hosting",
        "back in 31 min 44 s",
        "about 4 h 31 min",
        "61.0 GiB",
    ),
    "failing": ("What is wrong, and what to do", "never backed up", "secrets put", "runbook", "nothing came back"),
}
_OVERFLOWING = """
[...document.querySelectorAll('body *')]
  .filter(each => !each.parentElement.closest('svg'))
  .filter(each => each.getBoundingClientRect().right > innerWidth + 0.5 || each.getBoundingClientRect().left < -0.5)
  .map(each => each.outerHTML.slice(0, 100))
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("sample", SAMPLES)
def test_the_page_is_shown_as_it_should(
    chromium: Chromium, tmp_path: Path, sample: str, width: str, scheme: str
) -> None:
    url = written(sample, tmp_path)
    chromium.open(url, width, scheme)
    chromium.picture(tmp_path / f"{sample}-{width}-{scheme}.png")

    assert chromium.asked_for() == [url], "nothing else is asked for"
    assert chromium.complaints() == []
    assert chromium.ask("innerWidth") == WIDTHS[width][0]
    assert chromium.ask("document.documentElement.scrollWidth") <= WIDTHS[width][0], "no scrolling sideways"
    assert chromium.ask(_OVERFLOWING) == []
    assert chromium.ask("document.title") == f"Lifeboat: {'ok' if sample == 'healthy' else 'late'}"
    chromium.ask("document.querySelectorAll('details').forEach(each => each.open = true)")
    shown = chromium.ask("document.body.innerText")
    assert [text for text in TEXTS[sample] if text not in shown] == []
    ground, ink = chromium.ask("[getComputedStyle(document.body)].flatMap(each => [each.backgroundColor, each.color])")
    assert (_light(ground) > _light(ink)) == (scheme == "light"), "the style sheet is allowed by the page's own policy"


def _light(colour: str) -> int:
    """Of ``rgb(1, 2, 3)``."""
    return sum(int(each) for each in colour.removeprefix("rgb(").rstrip(")").split(","))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_bars_have_the_colours_of_the_style_sheet(chromium: Chromium, tmp_path: Path, scheme: str) -> None:
    chromium.open(written("failing", tmp_path), "wide", scheme)
    drawn = chromium.ask("[...document.querySelectorAll('svg [fill]')].map(each => getComputedStyle(each).fill)")
    assert len(set(drawn)) >= 4
    bars = chromium.ask("[...document.querySelectorAll('rect.good, rect.bad')].map(e => getComputedStyle(e).fill)")
    assert len(set(bars)) == 2, "those in time and those that are late"


def test_a_name_with_a_script_in_it_runs_nothing(chromium: Chromium, tmp_path: Path) -> None:
    from tests.unit.status.test_dashboard import hostile

    name = "\"><img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>" + "W" * 300
    file = tmp_path / "hostile.html"
    file.write_text(render(hostile(name), links=True), encoding="utf-8")
    chromium.open(file.as_uri(), "phone")
    assert chromium.asked_for() == [file.as_uri()]
    assert chromium.ask("document.title") == "Lifeboat: ok"
    assert chromium.ask("document.images.length + document.scripts.length") == 0
    assert chromium.ask("document.documentElement.scrollWidth") <= WIDTHS["phone"][0]


def test_on_paper_the_page_is_dark_on_white_also_for_who_prefers_dark(chromium: Chromium, tmp_path: Path) -> None:
    chromium.open(written("failing", tmp_path), "wide", "dark")
    dark = {"name": "prefers-color-scheme", "value": "dark"}
    chromium.call("Emulation.setEmulatedMedia", media="print", features=[dark])
    chromium.picture(tmp_path / "failing-print.png")
    ground = chromium.ask("getComputedStyle(document.body).backgroundColor")
    chromium.call("Emulation.setEmulatedMedia", media="", features=[])
    assert ground == "rgb(255, 255, 255)"


def test_the_browser_tells_of_whatever_a_page_tries(chromium: Chromium, tmp_path: Path) -> None:
    """Else the tests above would be content with anything."""
    body = '<p style="color: red">x</p><img src="http://127.0.0.1:9/x.png"><p><svg width="2000" height="9"></svg></p>'
    file = tmp_path / "naughty.html"
    file.write_text(page("x", body))
    chromium.open(file.as_uri(), "wide")
    assert len(chromium.complaints()) == 2
    assert len(chromium.ask(_OVERFLOWING)) == 1
    file.write_text(body)
    chromium.open(file.as_uri(), "wide")
    assert chromium.asked_for() == [file.as_uri(), "http://127.0.0.1:9/x.png"]


def make_images() -> None:
    """The README's pictures: the upper part of the page, as a screen shows it."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, running_chromium(Path(folder)) as browser:
        for sample, width, name in (
            ("healthy", "wide", "dashboard-healthy.png"),
            ("failing", "phone", "dashboard-failing-phone.png"),
        ):
            browser.open(written(sample, Path(folder), links=False), width)
            browser.picture(IMAGES / name, whole=False)
            sys.stdout.write(f"{IMAGES / name}: {(IMAGES / name).stat().st_size:,} bytes\n")


if __name__ == "__main__":
    make_images()
