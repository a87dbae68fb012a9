"""Headless Chromium, driven by the DevTools protocol over a pipe."""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TIMEOUT = 60.0
"""Seconds for one command of the protocol, on a busy machine."""
_FLAGS = """--headless=new --no-sandbox --remote-debugging-pipe --no-first-run --disable-gpu --disable-sync
 --disable-background-networking --disable-component-update --disable-default-apps --disable-dev-shm-usage
 --disable-extensions --hide-scrollbars --mute-audio""".split()
_KEYS = {"Enter": 13, "Escape": 27, "Tab": 9, " ": 32}


class Chromium:
    """A browser with one page."""

    def __init__(self, write: int, read: int) -> None:
        self._write = write
        self._read = read
        self._pending = b""
        self._number = 0
        self._session = ""
        self.events: list[dict[str, Any]] = []
        """The events of the page so far."""

    def open(self) -> None:
        """Opens the page."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Calls a command of the protocol; fails where the browser does."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._write, data) :]
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                result: dict[str, Any] = answer["result"]
                return result

    def _receive(self) -> dict[str, Any]:
        """The next message; events are kept."""
        deadline = time.monotonic() + TIMEOUT
        while b"\0" not in self._pending:
            ready, _, _ = select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, "Chromium does not answer"
            piece = os.read(self._read, 1 << 20)
            assert piece, "Chromium has ended"
            self._pending += piece
        text, _, self._pending = self._pending.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        if "method" in message:
            self.events.append(message)
        return message

    def size(self, width: int, height: int = 900, *, is_dark: bool = False) -> None:
        """Sets the size of the window in CSS pixels, and the preferred colours."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        motion = {"name": "prefers-reduced-motion", "value": "reduce"}
        self.call("Emulation.setEmulatedMedia", features=[scheme, motion])

    def go(self, url: str) -> None:
        """Begins to load a page."""
        self.call("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; that of its promise."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, (expression, found["exceptionDetails"])
        return found["result"].get("value")

    def wait(self, expression: str) -> Any:
        """Waits until an expression is true; returns its value."""
        deadline = time.monotonic() + TIMEOUT
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < deadline, f"{expression}:\n{self.evaluate('document.body.innerText')[:2000]}"
            time.sleep(0.02)
        return value

    def wait_for_text(self, text: str) -> None:
        """Waits until the page shows a text."""
        self.wait(f"document.body?.innerText.includes({json.dumps(text)})")

    def click(self, text: str, tag: str = "button") -> None:
        """Clicks the first element of this kind whose text begins with `text`."""
        is_it = f"(one) => one.innerText.startsWith({json.dumps(text)})"
        find = f"[...document.querySelectorAll({json.dumps(tag)})].find({is_it})"
        self.wait(f"!!{find}")
        self.evaluate(f"{find}.click()")

    def press(self, key: str) -> None:
        """Presses and releases a key, as a keyboard does."""
        code = {"windowsVirtualKeyCode": _KEYS.get(key, ord(key[0].upper())), "key": key, "code": key}
        text = {"text": "\r" if key == "Enter" else key} if len(key) == 1 or key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **code, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **code)

    def screenshot(self, path: Path) -> None:
        """Writes a picture of the window."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def requests(self) -> list[str]:
        """The URLs that the page has loaded so far."""
        sent = [one for one in self.events if one["method"] == "Network.requestWillBeSent"]
        return [one["params"]["request"]["url"] for one in sent]

    def faults(self) -> list[str]:
        """Errors and warnings of the console, and exceptions, so far."""
        found = []
        for event in self.events:
            parameters = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                found.append(json.dumps(parameters["exceptionDetails"]))
            elif event["method"] == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
                found.append(json.dumps(parameters["entry"]))
            elif event["method"] == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning"):
                found.append(json.dumps(parameters["args"]))
        return found


@contextmanager
def chromium(profile: Path) -> Iterator[Chromium]:
    """Debian's Chromium, with a profile of its own."""
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    # Descriptor 3 is for commands, 4 for answers. Other shells know one digit alone.
    script = f'exec chromium "$@" 3<&{theirs_in} 4>&{theirs_out}'
    process = subprocess.Popen(
        ["bash", "-c", script, "bash", *_FLAGS, f"--user-data-dir={profile}"],
        pass_fds=(theirs_in, theirs_out),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(profile)},
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        browser = Chromium(ours_out, ours_in)
        browser.open()
        yield browser
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
        os.close(ours_out)
        os.close(ours_in)
