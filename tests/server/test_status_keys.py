"""The status page of a server with API keys, in a real browser."""

import json
from pathlib import Path

import pytest
from chromium import NEEDS_CHROMIUM, Browser, Tab
from key_files import METRICS, PREDICT, WRONG, write_keys
from rest_calls import STRICT_ENGINES, rest_serving
from status_tab import open_form, part, predict, run

from tests.models import synthetic

pytestmark = NEEDS_CHROMIUM


@pytest.mark.parametrize("engine", STRICT_ENGINES)
def test_keys(engine: str, browser: Browser, tmp_path: Path) -> None:
    """The page loads with any, as a browser's password, and shows what each lets it."""
    folder = synthetic.null_model(tmp_path, name="m")
    both = "both-Wd8Kq2ZrTn5YvXc1"
    keys = write_keys(tmp_path / "keys", (f"a predict {PREDICT}", f"b metrics {METRICS}", f"c predict,metrics {both}"))
    options = ("--rest_engine", engine, "--api_keys_file", str(keys))
    polled = {"FILE_SYSTEM_POLL_WAIT_SECONDS": "0.1"}
    with (
        rest_serving(folder, *options, **polled) as (server, port),
        browser.open(f"http://any:{METRICS}@127.0.0.1:{port}/") as tab,
    ):

        def use(key: str, page: Tab = tab) -> None:
            page.value(f"document.querySelector('#key input').value = '{key}'")
            page.value("document.querySelector('#key button').click()")

        tab.until("document.getElementById('key')?.hidden === false")
        tab.until_text("#notice", "does not allow this call")  # of the password
        assert tab.value("document.querySelectorAll('section').length") == 0
        for key, why in ((WRONG, "expected a valid API key"), (METRICS, "does not allow this call")):
            use(key)
            tab.until_text("#notice", why)
            assert tab.value("document.querySelectorAll('section').length") == 0
        asked = len(tab.requests())
        use(PREDICT)
        tab.until(f"{part('m', '.state.AVAILABLE')}")
        tab.until_text("#notice", "No figures: the API key does not allow this call (scope metrics).")
        open_form(tab, "m")
        assert json.loads(predict(tab, "m")) == {"outputs": [[1.0] * 10]}
        assert 'api_key=os.environ["KEY"]' in tab.value(f"{part('m', '.python')}.textContent")
        curl = tab.value(f"{part('m', '.curl')}.textContent")
        assert PREDICT not in curl
        assert json.loads(run(tmp_path, "bash", "-c", f"KEY={PREDICT}; {curl}")) == {"outputs": [[1.0] * 10]}
        assert len([url for url in tab.requests()[asked:] if url.endswith("/status/figures")]) == 1
        assert tab.value("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]

        # A password does for looking. For predictions the page asks, and goes on showing what it may.
        with browser.open(f"http://any:{both}@127.0.0.1:{port}/") as other:
            open_form(other, "m")
            assert other.value("document.getElementById('key').hidden")
            assert 'api_key=os.environ["KEY"]' in other.value(f"{part('m', '.python')}.textContent")
            other.value(f"{part('m', 'form button')}.click()")
            other.until_text(".error", "401 expected a valid API key")
            other.until(f"{part('m', 'tr[data-version]')}.children[6].innerText !== '-'")
            assert other.value("!document.getElementById('key').hidden && !document.getElementById('models').hidden")
            use(PREDICT, other)
            assert json.loads(predict(other, "m")) == {"outputs": [[1.0] * 10]}
            other.until("document.getElementById('key').hidden")  # once the page has looked with it, too

        # Nor does one without their scope for figures.
        with browser.open(f"http://any:{PREDICT}@127.0.0.1:{port}/") as third:
            third.until_text("#notice", "No figures: the API key does not allow this call (scope metrics).")
            assert not third.value("document.getElementById('key').hidden || document.getElementById('models').hidden")
            use(both, third)
            third.until(f"{part('m', 'tr[data-version]')}.children[6].innerText !== '-'")
            assert third.value("document.getElementById('key').hidden")

        # A key that is withdrawn takes what was shown with it.
        write_keys(keys, (f"c predict,metrics {both}",))
        tab.until("!document.getElementById('key').hidden && document.getElementById('models').hidden")
        use(both)
        tab.until("document.getElementById('models').hidden === false")
        tab.until(f"{part('m', 'tr[data-version]')}.children[6].innerText !== '-'")
        assert ("Calls over REST are not counted" in tab.text("#notice")) is (engine == "cheroot")

        # Nor is it told as if it were still so when nobody answers.
        server.process.kill()
        tab.until_text("#notice", "The server does not answer; what is shown is of ")
        assert tab.value("document.getElementById('models').className") == "stale"
        assert tab.troubles() == []
