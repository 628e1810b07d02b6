"""Make docs/images/status.png: the status page, whose form has found the face in a photograph.

Usage: python tools/status_screenshot.py. Needs Chromium and what the tests need; fetches the example's model once.
"""

import io
import sys
import tempfile
from base64 import b64decode
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "client"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "server"))

from chromium import Browser
from ovms_client import Client
from PIL import Image
from rest_calls import rest_serving

from examples.fetching import default_cache, fetch
from tests.models import zoo
from tests.models.wheels import ASTRONAUT, PICTURES

IMAGE = Path(__file__).resolve().parents[1] / "docs" / "images" / "status.png"
WIDTH, HEIGHT = 1000, 860
FORM = "document.querySelector('.try')"
CALLS = 40


def main() -> None:
    """Save the picture."""
    with tempfile.TemporaryDirectory() as scratch:
        model = zoo.face(Path(scratch))
        options = ("--version_labels", '{"stable": 1}', "--nireq", "2")
        with (
            rest_serving(model.folder, *options) as (server, port),
            Browser(Path(scratch) / "profile") as browser,
            browser.open(f"http://127.0.0.1:{port}/") as tab,
            Client(server.address) as client,
        ):
            size = {"width": WIDTH, "height": HEIGHT}
            tab.call("Emulation.setDeviceMetricsOverride", **size, deviceScaleFactor=1, mobile=False)
            tab.call("Emulation.setScrollbarsHidden", hidden=True)
            tab.until("document.querySelector('.state.AVAILABLE')")
            tab.value(f"{FORM}.open = true")
            tab.set_files(".try input[type=file]", fetch(PICTURES, default_cache()) / ASTRONAUT)
            tab.until("document.querySelector('textarea').placeholder.includes('the picture')")
            for _ in range(CALLS):
                client.predict("face", model.inputs)
            tab.value(f"{FORM}.querySelector('button').click()")
            tab.until("document.querySelector('.found li')")
            tab.until("document.querySelector('tr[data-version]').children[4].innerText !== '-'")
            shot = tab.call("Page.captureScreenshot", clip={"x": 0, "y": 0, "scale": 1, **size})
    picture = Image.open(io.BytesIO(b64decode(shot["data"]))).convert("RGB")
    IMAGE.parent.mkdir(exist_ok=True)
    picture.quantize(192, dither=Image.Dither.NONE).save(IMAGE, optimize=True)
    print(f"{IMAGE}: {IMAGE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
