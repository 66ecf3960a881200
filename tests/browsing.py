"""A real Chromium without a window, driven by its own driver over WebDriver."""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving import eventually, program
from sppruner_vllm.demo.server_process import free_port

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "deploy"))
from conformance_env import NODE
from fetch_chromium import Chromium, NotFetched, fetched, found

WANTED = "SPPRUNER_TEST_BROWSER"
"""Set by `make test-browser`: a Chromium is fetched, and one that cannot be had is a failure. Else the tests take one
that is there, and are skipped without."""

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


def chromium() -> Chromium:
    """The browser of this machine."""
    if (there := found()) is not None:
        return there
    if WANTED not in os.environ:
        pytest.skip("there is no Chromium; make test-browser fetches one")
    try:
        return fetched()
    except NotFetched as failure:
        pytest.fail(str(failure))


def node_modules() -> Path:
    """Packages of npm that tests of the page take: axe, and OpenAI's client."""
    folder = NODE / "node_modules"
    if not folder.is_dir():
        pytest.skip("npm's packages are not there; make test-browser fetches them")
    return folder


class Browser:
    """One window."""

    def __init__(self, driver: httpx.Client, session: str) -> None:
        self._driver, self._session = driver, session

    def _call(self, method: str, path: str, **body: Any) -> Any:
        sent = {"json": body} if method == "POST" else {}
        answer = self._driver.request(method, f"/session/{self._session}/{path}", **sent).json()["value"]
        assert not (isinstance(answer, dict) and "error" in answer), answer
        return answer

    def open(self, url: str) -> None:
        self._call("POST", "url", url=url)

    def run(self, script: str, *arguments: Any) -> Any:
        """What a function body returns in the page."""
        return self._call("POST", "execute/sync", script=script, args=list(arguments))

    def later(self, script: str, *arguments: Any) -> Any:
        """What a function body hands to its last argument, a function, once it is done."""
        return self._call("POST", "execute/async", script=script, args=list(arguments))

    def find(self, css: str) -> str:
        return str(self._call("POST", "element", using="css selector", value=css)[ELEMENT])

    def type(self, css: str, text: str, *, anew: bool = False) -> None:
        """Type into an element; the name of a file into one for files."""
        element = self.find(css)
        if anew:
            self._call("POST", f"element/{element}/clear")
        self._call("POST", f"element/{element}/value", text=text)

    def click(self, css: str) -> None:
        self._call("POST", f"element/{self.find(css)}/click")

    def text(self, css: str) -> str:
        return str(self.run("return document.querySelector(arguments[0])?.textContent ?? ''", css))

    def hover(self, css: str) -> None:
        where = {"type": "pointerMove", "duration": 0, "x": 0, "y": 0, "origin": {ELEMENT: self.find(css)}}
        pointer = {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": [where]}
        self._call("POST", "actions", actions=[pointer])

    def command(self, name: str, **parameters: Any) -> Any:
        """A command of Chromium's own protocol."""
        return self._call("POST", "goog/cdp/execute", cmd=name, params=parameters)

    def resize(self, width: int, height: int, *, phone: bool = False) -> None:
        self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone
        )

    def colours(self, scheme: str) -> None:
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self, file: Path, *, whole: bool = True) -> None:
        """The page as it looks, all of it or what fits the window."""
        shot = self.command("Page.captureScreenshot", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(shot["data"]))

    def console(self) -> list[dict[str, Any]]:
        """What the page complained about since this was last asked."""
        return list(self._call("POST", "se/log", type="browser"))

    def requested(self) -> list[str]:
        """URLs that were asked for since this was last asked."""
        events = [json.loads(entry["message"])["message"] for entry in self._call("POST", "se/log", type="performance")]
        sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
        return [str(request["request"]["url"]) for request in sent]

    def eventually(self, condition: str, *arguments: Any) -> bool:
        """Whether an expression of JavaScript comes true."""
        return eventually(lambda: bool(self.run(f"return {condition}", *arguments)))


@contextmanager
def browsing(log: Path) -> Iterator[Browser]:
    """A browser for as long as the block lasts."""
    there = chromium()
    folders = [*map(str, there.libraries), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    env = {"LD_LIBRARY_PATH": os.pathsep.join(folders)} if folders else {}
    port = free_port()
    arguments = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
    ]
    options = {"binary": str(there.browser), "args": arguments, "perfLoggingPrefs": {"enableNetwork": True}}
    wanted = {
        "browserName": "chrome",
        "goog:chromeOptions": options,
        "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
    }
    with (
        program([str(there.driver), f"--port={port}"], log, env),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=240) as driver,
    ):

        def is_ready() -> bool:
            try:
                return bool(driver.get("/status").json()["value"]["ready"])
            except httpx.TransportError:
                return False

        assert eventually(is_ready), log.read_text()
        made = driver.post("/session", json={"capabilities": {"alwaysMatch": wanted}}).json()["value"]
        assert "sessionId" in made, made
        browser = Browser(driver, made["sessionId"])
        browser.resize(1280, 1000)
        browser.resize(1280, 1000)
        try:
            yield browser
        finally:
            driver.delete(f"/session/{made['sessionId']}")
