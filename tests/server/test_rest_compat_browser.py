"""A page of another origin asks the server from a real browser."""

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from html import unescape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from documented_models import Documented, serving_documented
from server_under_test import PATIENCE

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

PAGE = """<!doctype html><pre id="out">nothing</pre><script>
const ask = async (path, options) => {
  try {
    const reply = await fetch("%s" + path, options);
    return [reply.status, await reply.json()];
  } catch (error) {
    return ["" + error];
  }
};
const json = {"Content-Type": "application/json", "X-Request-Timeout": "30"};
(async () => {
  const answers = {
    "simple": await ask("/v1/models/half_plus_two:predict", {method: "POST", body: '{"instances": [1, 2, 5]}'}),
    "json": await ask("/v1/models/half_plus_two:predict",
                      {method: "POST", headers: json, body: '{"instances": [1, 2, 5]}'}),
    "status": await ask("/v1/models/half_plus_three"),
    "error": await ask("/v1/models/half"),
  };
  document.getElementById("out").textContent = JSON.stringify(answers);
  document.title = "done";
})();
</script>"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        pass


class Pages:
    """A web site of one page."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
        self.origin = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    site = Pages(tmp_path_factory.mktemp("site"))
    yield site
    site.close()


def answers(served: Documented, pages: Pages, profile: Path) -> dict[str, Any]:
    """What the page got, read from its document after its script has run."""
    (pages.folder / "index.html").write_text(PAGE % served.url)
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
    command += ["--no-proxy-server", "--virtual-time-budget=20000", "--dump-dom", pages.origin + "/"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    found = re.search(r'<pre id="out">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stdout + done.stderr
    result: dict[str, Any] = json.loads(unescape(found[1]))
    return result


ALLOWED = {"all": "*", "this": "http://localhost,{origin}"}


@pytest.mark.parametrize("allowed", ALLOWED)
def test_a_page_whose_origin_is_allowed(tmp_path: Path, pages: Pages, allowed: str) -> None:
    origins = ALLOWED[allowed].format(origin=pages.origin)
    with serving_documented(tmp_path / "models", "--allowed_origins", origins) as served:
        got = answers(served, pages, tmp_path / "profile")
    assert got["simple"] == got["json"] == [200, {"predictions": [2.5, 3.0, 4.5]}]
    assert got["status"][0] == 200
    assert got["status"][1]["model_version_status"][0]["version"] == "123"
    assert got["error"][0] == 404
    assert "half" in got["error"][1]["error"]


@pytest.mark.parametrize("options", [(), ("--allowed_origins", "http://localhost:1,https://127.0.0.1")])
def test_a_page_whose_origin_is_not(tmp_path: Path, pages: Pages, options: tuple[str, ...]) -> None:
    with serving_documented(tmp_path / "models", *options) as served:
        got = answers(served, pages, tmp_path / "profile")
    assert set(got) == {"simple", "json", "status", "error"}
    assert all(answer == ["TypeError: Failed to fetch"] for answer in got.values()), got
