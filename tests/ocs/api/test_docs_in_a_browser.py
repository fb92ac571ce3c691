"""/docs in Chromium: a token is entered, a call is tried, and nothing comes from anywhere else."""

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ocs.running import RunningServer

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.serial, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium (apt: chromium)")]

WAIT_S = 30


class Browser:
    """Chromium by its own protocol over two pipes: a JSON object and a zero octet for each message."""

    def __init__(self, folder: Path) -> None:
        assert CHROMIUM is not None
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        flags = (
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--remote-debugging-pipe",
        )

        def pipes() -> None:
            os.dup2(theirs_in, 13)
            os.dup2(theirs_out, 14)
            os.dup2(13, 3)
            os.dup2(14, 4)

        self._process = subprocess.Popen(
            [CHROMIUM, *flags, f"--user-data-dir={folder}", "about:blank"],
            preexec_fn=pipes, pass_fds=(3, 4), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        self._number, self._rest, self._session = 0, b"", ""
        self.asked: list[str] = []
        target = next(one for one in self.call("Target.getTargets")["targetInfos"] if one["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        self.call("Network.enable")

    def call(self, method: str, **params: Any) -> Any:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            found = self._message()
            if found.get("method") == "Network.requestWillBeSent":
                self.asked.append(found["params"]["request"]["url"])
            if found.get("id") == self._number:
                assert "error" not in found, found
                return found["result"]

    def _message(self) -> Any:
        while b"\0" not in self._rest:
            piece = os.read(self._in, 1 << 16)
            assert piece, "the browser has ended"
            self._rest += piece
        first, _, self._rest = self._rest.partition(b"\0")
        return json.loads(first)

    def value(self, script: str) -> Any:
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, script: str) -> Any:
        """The value of the script once it is true."""
        end = time.monotonic() + WAIT_S
        while not (found := self.value(script)):
            assert time.monotonic() < end, (script, self.value("document.body.innerText")[-2000:])
            time.sleep(0.05)
        return found

    def click(self, selector: str) -> None:
        self.until(f"document.querySelector({selector!r}) !== null")
        self.value(f"document.querySelector({selector!r}).click()")

    def type(self, selector: str, text: str) -> None:
        self.until(f"document.querySelector({selector!r}) !== null")
        self.value(f"document.querySelector({selector!r}).focus()")
        self.call("Input.insertText", text=text)

    def close(self) -> None:
        self._process.kill()
        self._process.wait(30)
        os.close(self._in)
        os.close(self._out)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    running = RunningServer(tmp_path / "data").ready()
    yield running
    running.stop()


def test_a_call_is_tried(server: RunningServer, tmp_path: Path) -> None:
    host, port = server.address("http")
    with contextlib.closing(Browser(tmp_path / "profile")) as browser:
        browser.call("Page.navigate", url=f"http://{host}:{port}/docs")
        browser.click("button.authorize")
        browser.type(".auth-container input", (server.data / "admin.token").read_text().strip())
        browser.click(".auth-btn-wrapper button[type=submit]")
        browser.click(".auth-btn-wrapper .btn-done")

        browser.click("#operations-tag-accounts")
        for operation, status, shown in (
            ("get_account", "200", '"id": "demo-1"'),
            ("top_up", "201", '"balance": "25.00"'),
        ):
            block = f"#operations-accounts-{operation}"
            browser.click(f"{block} .opblock-summary-control")
            browser.click(f"{block} button.execute")  # with the examples as they stand there
            answer = f"{block} .live-responses-table .response"
            assert browser.until(f"document.querySelector({answer + ' .response-col_status'!r})?.innerText").startswith(
                status
            )
            text = browser.until(f"document.querySelector({answer + ' .highlight-code'!r})?.innerText")
            assert shown in text
        strangers = [url for url in browser.asked if not url.startswith((f"http://{host}:{port}/", "data:", "about:"))]
        assert strangers == []
        assert browser.value("document.querySelectorAll('.opblock-tag').length") > 25
