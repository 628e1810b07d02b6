"""The status page in a real browser, of a server with good, loading and broken models."""

import contextlib
import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import NEEDS_CHROMIUM, Browser, Tab
from documented_models import parameter, written
from openvino import opset15 as ops
from ovms_client import Client
from PIL import Image
from repository import until
from rest_calls import ask
from server_under_test import Server, free_port, starting
from status_tab import boxes, choose_picture, open_form, part, pixel, predict, run, type_in

import ovms
from examples.fetching import default_cache, fetch
from tests.models import reference, synthetic, zoo
from tests.models.wheels import ASTRONAUT, PICTURES

pytestmark = NEEDS_CHROMIUM

ATTACK = '<img src="x" onerror="window.attacked = 1">'
HOSTILE = """it's <b>"$(touch attacked)" `é😀"""
TENSOR = """'"><script>window.attacked = 1</script>{}é"""
LABEL = "<i>ü'"
ROWS = np.array([[0, 7, 0.9, 0.25, 0.5, 0.5, 1], [0, 1, 0.4, 0, 0, 1, 1], [-1, 9, 0.99, 0, 0, 1, 1]], np.float32)


@dataclass
class Served:
    server: Server
    port: int
    held: "HeldLoad"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"


class HeldLoad:
    """A model whose load waits for its weights, which come out of a pipe, until it is released."""

    def __init__(self, root: Path) -> None:
        self.folder = synthetic.null_model(root, name="held")
        self._weights = self.folder / "1" / "held.bin"
        self._content = self._weights.read_bytes()
        self._weights.unlink()
        os.mkfifo(self._weights)
        self._released = False

    def release(self) -> None:
        """That load fails, as the pipe is empty; the next one finds the file."""
        if not self._released:
            self._released = True
            pipe = self._weights.rename(self.folder / "pipe")
            self._weights.write_bytes(self._content)
            with contextlib.suppress(OSError):  # nobody reads it
                os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))


def detector(root: Path) -> Path:
    """``image`` f32 [1,3,2,4] -> ``pixels``, the same, and ``detections`` [1,1,3,7], of which the last one is none."""
    image = parameter("image", "f32", [1, 3, 2, 4])
    nothing = ops.multiply(ops.reduce_max(image, ops.constant(np.arange(4))), ops.constant(np.float32(0)))
    outputs = {
        "detections": ops.add(ops.constant(ROWS[None, None]), nothing),
        "pixels": ops.multiply(image, ops.constant(np.float32(1))),
    }
    return written(outputs, [image], root, "detector", 1)


def broken(root: Path) -> Path:
    """A model that cannot be loaded; the error quotes what stands in it."""
    folder = synthetic.null_model(root, name="broken")
    xml = folder / "1" / "broken.xml"
    hostile = ATTACK.replace("<", "&lt;").replace('"', "&quot;")
    assert 'type="Add"' in xml.read_text()
    xml.write_text(xml.read_text().replace('type="Add"', f'type="{hostile}"'))
    return folder


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("models")
    held = HeldLoad(root)
    strings = synthetic.identity("string", [-1], root, "strings")
    (strings / "1" / "mapping_config.json").write_text(json.dumps({"inputs": {"x": TENSOR}, "outputs": {"x": TENSOR}}))
    precise = {"plugin_config": reference.F32, "nireq": 2}
    models: list[dict[str, Any]] = [
        {"name": HOSTILE, "base_path": str(strings), "version_labels": {LABEL: 1}},
        {"name": "face", "base_path": str(zoo.face(root).folder), **precise},
        *({"name": path.name, "base_path": str(path)} for path in (detector(root), broken(root), held.folder)),
        {"name": "missing", "base_path": str(root / "nowhere")},
    ]
    file = root / "models.json"
    file.write_text(json.dumps({"model_config_list": [{"config": model} for model in models]}))
    port, grpc_port = free_port(), free_port()
    options = ("--port", str(grpc_port), "--rest_port", str(port), "--rest_engine", "native")
    with starting("config", "--config_path", str(file), *options, FILE_SYSTEM_POLL_WAIT_SECONDS="0.1") as server:
        for one in (port, grpc_port):
            server.wait_until_open(one)
        yield Served(server, port, held)
        held.release()
        assert server.stop() == 0, server.text


@pytest.fixture(scope="module")
def tab(browser: Browser, served: Served) -> Iterator[Tab]:
    with browser.open(served.url) as tab:
        yield tab
        assert tab.troubles() == []


def test_each_model_is_told_as_it_is(tab: Tab, served: Served) -> None:
    tab.call("Page.bringToFront")
    tab.until(f"{part('held', '.state')}?.innerText === 'LOADING'")
    tab.until(f"{part('face', '.state')}?.innerText === 'AVAILABLE'")
    tab.until(f"{part('broken', 'pre.cause')}")
    status = ask(served.port, "GET", "/v1/models/broken").json["model_version_status"][0]["status"]
    assert ATTACK in status["error_message"]
    assert tab.value(f"{part('broken', 'pre.cause')}.textContent") == status["error_message"]
    assert tab.value(f"{part('broken', '.state')}.innerText") == "LOADING: UNKNOWN"
    assert tab.value(f"{part('held', 'pre.cause')} === null")
    assert str(served.held.folder.parent / "nowhere") in tab.value(f"{part('missing', '.problem')}.innerText")
    assert tab.value(f"{part('held', '.try')}.hidden && {part('broken', '.try')}.hidden")
    assert tab.value(f"{part('face', 'details table')}.textContent").startswith(
        "inputimageu8 [?,?,?,3]outputboxesf32 [?,50,4]"
    )
    served.held.release()
    tab.until(f"{part('held', '.state')}.innerText === 'AVAILABLE'")
    assert tab.value("document.getElementById('notice').hidden")


def test_what_models_say_stays_text(tab: Tab) -> None:
    open_form(tab, HOSTILE)
    assert tab.value(f"{part(HOSTILE, 'h2')}.textContent") == HOSTILE
    assert tab.value(f"{part(HOSTILE, '.label')}.textContent") == f"{LABEL} → 1"
    assert tab.value(f"{part(HOSTILE, '.input b')}.textContent") == TENSOR
    type_in(tab, HOSTILE, json.dumps([ATTACK]))
    assert json.loads(predict(tab, HOSTILE)) == {"outputs": [ATTACK]}
    assert tab.value("document.querySelectorAll('main img, main script, main i, h2 *, b *').length") == 0
    assert tab.value("window.attacked") is None


def test_the_policy_lets_no_text_become_markup(browser: Browser, served: Served) -> None:
    with browser.open(served.url) as tab:
        tab.until(f"{part('face', '.state')}")
        attempt = f"try {{ document.body.innerHTML = {json.dumps(ATTACK)}; 'done' }} catch (error) {{ error.name }}"
        assert tab.value(attempt) == "TypeError"
        assert tab.troubles()


def test_the_face_is_found(tab: Tab, browser: Browser, tmp_path: Path) -> None:
    open_form(tab, "face")
    picture = fetch(PICTURES, default_cache()) / ASTRONAUT
    choose_picture(tab, "face", picture)
    predict(tab, "face")
    (found,) = boxes(tab, "face")
    score, left, right, top, bottom = (float(number) for number in re.findall(r"[0-9.]+", found))
    np.testing.assert_allclose([score, left, right, top, bottom], [0.929, 181.5, 269.9, 58.2, 177.8], rtol=0, atol=0.6)
    for x, y in ((left, 118), (right, 118), (225, bottom)):
        assert pixel(tab, "face", x, y) == [0, 200, 83]
    with Image.open(picture) as opened:
        assert pixel(tab, "face", 225, 118) == list(opened.convert("RGB").getpixel((225, 118)))

    # The same from elsewhere, with a file that the page saves.
    browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    tab.value(f"{part('face', 'a[download]')}.click()")
    saved = tmp_path / "request.json"
    until(saved.exists, lambda: list(tmp_path.iterdir()))
    curl, python = (tab.value(f"{part('face', kind)}.textContent") for kind in (".curl", ".python"))
    scores = json.loads(run(tmp_path, "bash", "-c", curl))["outputs"]["scores"]
    assert scores[0][0] == pytest.approx(score, abs=5e-4)
    told = re.search(r"'scores': array\(\[\[([0-9.e+-]+)", run(tmp_path, sys.executable, "-c", python))
    assert told
    assert float(told[1]) == pytest.approx(scores[0][0], rel=1e-5)


def test_the_same_from_elsewhere(tab: Tab, tmp_path: Path) -> None:
    """What the page says is run, and has the page's own answer."""
    open_form(tab, HOSTILE)
    text = "a'b\"é😀\\$HOME\n"
    type_in(tab, HOSTILE, json.dumps([text, {"b64": "aGk="}], ensure_ascii=False))
    label = tab.value(f"encodeURIComponent({json.dumps(LABEL)})")
    for target in ("", "versions/1", f"labels/{label}"):
        tab.value(f"{part(HOSTILE, '.try select')}.value = {json.dumps(target)}")
        tab.value(f"{part(HOSTILE, '.try select')}.dispatchEvent(new Event('change'))")
        assert json.loads(predict(tab, HOSTILE)) == {"outputs": [text, "hi"]}
        curl, python = (tab.value(f"{part(HOSTILE, kind)}.textContent") for kind in (".curl", ".python"))
        assert curl.isascii()
        assert python.isascii()
        assert json.loads(run(tmp_path, "bash", "-c", curl)) == {"outputs": [text, "hi"]}
        assert f"array([{text.encode()!r}, b'hi']" in run(tmp_path, sys.executable, "-c", python)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("colours", ["RGB", "BGR"])
def test_a_detector_of_rows(tab: Tab, tmp_path: Path, colours: str) -> None:
    open_form(tab, "detector")
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3) * 10
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    tab.value(f"{part('detector', '.choices select')}.value = '{colours}'")
    choose_picture(tab, "detector", tmp_path / "picture.png")
    sent = pixels.transpose(2, 0, 1)[:: 1 if colours == "RGB" else -1]
    np.testing.assert_array_equal(json.loads(predict(tab, "detector"))["outputs"]["pixels"], sent[None])
    assert boxes(tab, "detector") == ["7 0.900: x 1.0 to 2.0, y 1.0 to 2.0"]
    tab.value(f"{part('detector', '.found input')}.value = 0.1")
    tab.value(f"{part('detector', '.found input')}.dispatchEvent(new Event('input'))")
    assert boxes(tab, "detector")[1:] == ["1 0.400: x 0.0 to 4.0, y 0.0 to 2.0"]


def test_no_other_picture_than_is_chosen(tab: Tab, tmp_path: Path) -> None:
    open_form(tab, "face")
    Image.new("RGB", (4, 2)).save(tmp_path / "picture.png")
    (tmp_path / "text.png").write_text("none")
    choose_picture(tab, "face", tmp_path / "picture.png")
    assert "[[[[0,0,0]" in tab.value(f"{part('face', '.curl')}.textContent")
    tab.value(f"{part('face', 'input[type=number]')}.value = ''")
    tab.value(f"{part('face', 'input[type=number]')}.dispatchEvent(new Event('change'))")
    refused = "image: width and height: expected whole numbers from 1 to 8192"
    assert predict(tab, "face") == tab.value(f"{part('face', '.python')}.textContent") == refused
    tab.set_files("[data-model=face] input[type=file]", tmp_path / "text.png")
    tab.until(f"{part('face', '.choices .error')}.textContent.startsWith('text.png')")
    assert predict(tab, "face") == "image: text.png is no picture that this browser can read"
    choose_picture(tab, "face", tmp_path / "picture.png")
    assert predict(tab, "face").startswith('{"outputs":')


def test_numbers_and_errors(tab: Tab) -> None:
    open_form(tab, "held")
    assert json.loads(predict(tab, "held")) == {"outputs": [[1.0] * 10]}
    type_in(tab, "held", "[[NaN, Infinity, 1, 1, 1, 1, 1, 1, 1, 1]]")
    assert predict(tab, "held").startswith('{"outputs":[[NaN,Infinity,2.0,')
    type_in(tab, "held", "[[1, 2]]")
    assert predict(tab, "held").startswith("400 The input data is incorrect. Obtained shape [1, 2]")
    type_in(tab, "held", "[[1, 2")
    assert predict(tab, "held").startswith("x: expected JSON: ")


def test_what_it_does_now(tab: Tab, served: Served) -> None:
    cells = f"[...{part('face', 'tr[data-version]')}.children].map((one) => one.innerText)"
    open_form(tab, "face")
    with Client(served.server.address) as client:
        client.predict("face", np.zeros((1, 32, 32, 3), np.uint8))
        tab.until(f"Number({cells}[8]) > 0 && !{cells}[4].includes('-') && {cells}[6] === '0 of 2'")
    version, state, rate, failed, p50, p95, used, waiting, total = tab.value(cells)
    assert (version, state, failed, used, waiting) == ("1", "AVAILABLE", "0", "0 of 2", "0")
    assert float(rate) > 0
    assert all(re.fullmatch(r"[0-9.]+ \S?s", text) for text in (p50, p95))
    assert int(total) >= 1
    facts = tab.value("document.getElementById('server').innerText")
    assert f"version\n{ovms.__version__}" in facts
    assert re.search(r"up\n\d+ (s|min)", facts)
    assert "gRPC connections" in facts
