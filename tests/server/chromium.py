"""A headless Chromium, driven over the pipe of its DevTools protocol, and pages in it.

https://chromedevtools.github.io/devtools-protocol/: messages are JSON with a zero byte behind, on descriptors 3 and 4.
"""

import json
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from server_under_test import PATIENCE

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NEEDS_CHROMIUM = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


class Browser:
    """One process; closed at the end of a block."""

    def __init__(self, profile: Path) -> None:
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()
        # bash, as it alone has descriptors above 9 in its redirections.
        shell = ["bash", "-c", f'exec "$@" 3<&{commands} 4>&{answers}', "bash"]
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-proxy-server", f"--user-data-dir={profile}"]
        self._process = subprocess.Popen(
            [*shell, str(CHROMIUM), *flags, "--remote-debugging-pipe", "about:blank"],
            pass_fds=(commands, answers), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(commands)
        os.close(answers)
        self._number = 0
        self._news = threading.Condition()
        self._results: dict[int, dict[str, Any]] = {}
        self._ended = False
        self.events: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        rest = b""
        while piece := os.read(self._answers, 1 << 20):
            *whole, rest = (rest + piece).split(b"\0")
            with self._news:
                for message in map(json.loads, whole):
                    if "id" in message:
                        self._results[message["id"]] = message
                    else:
                        self.events.append(message)
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        with self._news:
            self._number += 1
            number = self._number
        message = {"id": number, "method": method, "params": parameters} | ({"sessionId": session} if session else {})
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        with self._news:
            assert self._news.wait_for(lambda: number in self._results or self._ended, PATIENCE), method
            answer = self._results.pop(number)
        assert "error" not in answer, (method, answer["error"])
        result: dict[str, Any] = answer["result"]
        return result

    def open(self, url: str) -> "Tab":
        """A new tab, in front of the others, on its way to a page."""
        tab = Tab(self)
        tab.call("Page.navigate", url=url)
        return tab

    def close(self) -> None:
        """End the process."""
        os.close(self._commands)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(PATIENCE)
        os.close(self._answers)

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class Tab:
    """A page."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self.target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        attached = browser.call("Target.attachToTarget", targetId=self.target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command to this page."""
        return self._browser.call(method, self._session, **parameters)

    def value(self, expression: str) -> Any:
        """What an expression of JavaScript is, or what its promise comes to, as JSON."""
        done = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def until(self, expression: str, patience: float = PATIENCE) -> Any:
        """The value of an expression once it is true; the text of the page is told if it never is."""
        deadline = time.monotonic() + patience
        # An element is true, and as JSON nothing.
        found = f"Promise.resolve({expression}).then((value) => value instanceof Node || value)"
        while not (value := self.value(found)):
            assert time.monotonic() < deadline, (expression, self.text())
            time.sleep(0.03)
        return value

    def text(self, selector: str = "body") -> str:
        """What can be read in the first element of a selector."""
        return str(self.value(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def until_text(self, selector: str, part: str) -> str:
        """Wait for a text in an element."""
        self.until(f"(document.querySelector({json.dumps(selector)})?.innerText ?? '').includes({json.dumps(part)})")
        return self.text(selector)

    def set_files(self, selector: str, *files: Path) -> None:
        """Choose files, as somebody does in the dialog of an input."""
        found = self.call("Runtime.evaluate", expression=f"document.querySelector({json.dumps(selector)})")
        node = found["result"]["objectId"]
        self.call("DOM.setFileInputFiles", files=[str(file) for file in files], objectId=node)

    def events(self, *methods: str) -> list[dict[str, Any]]:
        """What this page has told of so far."""
        own = [one for one in self._browser.events if one.get("sessionId") == self._session]
        return [one["params"] for one in own if one["method"] in methods]

    def troubles(self) -> list[Any]:
        """Exceptions and errors in the console, such as what the page's policy has blocked; not refused requests."""
        thrown, logged = self.events("Runtime.exceptionThrown"), self.events("Log.entryAdded")
        entries = [one["entry"] for one in logged]
        return thrown + [one for one in entries if one["level"] == "error" and one["source"] != "network"]

    def requests(self) -> list[str]:
        """The addresses of all that the page has asked for."""
        return [one["request"]["url"] for one in self.events("Network.requestWillBeSent")]

    def close(self) -> None:
        """Leave the page."""
        self._browser.call("Target.closeTarget", targetId=self.target)

    def __enter__(self) -> "Tab":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
