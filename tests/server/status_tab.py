"""What tests do with the status page in a browser's tab."""

import json
import shlex
import subprocess
from pathlib import Path

from chromium import Tab
from server_under_test import PATIENCE, ROOT, foreign_environment


def part(model: str, selector: str) -> str:
    """An expression for an element in a model's part of the page."""
    found = f"[...document.querySelectorAll('section')].find((one) => one.dataset.model === {json.dumps(model)})"
    return f"({found}?.querySelector({json.dumps(selector)}))"


def open_form(tab: Tab, model: str) -> None:
    """Once the model is served, unfold the form and what tells of other ways."""
    tab.call("Page.bringToFront")
    tab.until(f"{part(model, '.state.AVAILABLE')}")
    tab.value(f"{part(model, '.try')}.open = {part(model, '.try details')}.open = true")


def type_in(tab: Tab, model: str, value: str) -> None:
    """Put a text into the form's first input."""
    tab.value(f"{part(model, 'textarea')}.value = {json.dumps(value)}")
    tab.value(f"{part(model, 'textarea')}.dispatchEvent(new Event('input'))")


def choose_picture(tab: Tab, model: str, picture: Path) -> None:
    tab.value(f"{part(model, 'textarea')}.placeholder = ''")
    tab.set_files(f"[data-model={model}] input[type=file]", picture)
    tab.until(f"{part(model, 'textarea')}.placeholder.includes('the picture')")


def predict(tab: Tab, model: str) -> str:
    """Press the button; the answer as the page shows it, or the error."""
    tab.value(f"{part(model, '.answer')}.replaceChildren(); {part(model, '.try form button')}.click()")
    return str(tab.until(f"{part(model, '.answer')}.querySelector('pre, .error')?.textContent"))


def boxes(tab: Tab, model: str) -> list[str]:
    """The list of what was found."""
    found: list[str] = tab.value(f"[...{part(model, '.found')}.querySelectorAll('li')].map((one) => one.innerText)")
    return found


def pixel(tab: Tab, model: str, x: float, y: float) -> list[int]:
    """Red, green, blue of a place in the drawing."""
    at = f"{part(model, 'canvas')}.getContext('2d').getImageData({round(x)}, {round(y)}, 1, 1).data"
    found: list[int] = tab.value(f"[...{at}].slice(0, 3)")
    return found


def run(folder: Path, *command: str) -> str:
    """What a command prints."""
    own = {"PYTHONPATH": str(ROOT / "client"), "no_proxy": "*", "no_grpc_proxy": "127.0.0.1"}
    environment = foreign_environment() | own
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, timeout=PATIENCE)
    assert done.returncode == 0, (shlex.join(command), done.stderr)
    return " ".join(done.stdout.split())
