"""Every command and every piece of Python that the documentation shows is run, or stands here with the reason."""

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from documented_models import parameter, serving_documented, written
from openvino import opset15 as ops
from pages import PAGES, ROOT, TYPED, Block, Command, blocks, commands, name
from server_under_test import free_port
from typist import Typist, mistakes_of, serves, shows

ELSEWHERE = {
    ("docs/container.md", "console"): "tests/container/test_image_docs.py",
    ("docs/kubernetes.md", "console"): "tests/deploy/test_kubernetes_page.py",
    ("docs/storage.md", "console"): "tests/storage/test_served_from_stores.py",
    **{
        (name(page), "console"): "tests/examples/test_example_pages.py"
        for page in PAGES
        if page.is_relative_to(ROOT / "examples")
    },
}
"""(page, language) -> the test that runs these blocks."""

INSTALLS = "installs packages and compiles, which make install, make test-container and CI do"
CONTAINER = "needs an image: tests/container/test_image_docs.py"
OWN = "a piece of a client's own code; tests/server/test_access_grpc.py does the same"

NOT_TYPED = {
    ("README.md", "make run"): "downloads a model; tests/examples run the demo",
    ("README.md", "make test"): "is this",
    ("README.md", "tools/system_packages.sh"): INSTALLS,
    ("README.md", "python -m pip install . ./client"): INSTALLS,
    ("README.md", "make docker_build"): CONTAINER,
    ("README.md", "docker run"): CONTAINER,
    ("docs/container.md", "groupadd"): "changes the machine's groups",
    ("docs/container.md", "install -o root"): "needs the group above, and root",
    ("docs/quickstart.md", "tools/system_packages.sh"): INSTALLS,
    ("docs/quickstart.md", "python3 -m venv"): INSTALLS,
    ("docs/quickstart.md", ".venv/bin/python -m pip"): INSTALLS,
    ("docs/quickstart.md", ". .venv/bin/activate"): INSTALLS,
    ("docs/security.md", "stub.Predict"): OWN,
    ("docs/security.md", 'curl -H "Authorization'): "the page's server has no keys; tests/server/test_access_rest.py",
    ("docs/tuning.md", "python -m benchmarks"): "takes minutes; make bench runs it, too",
    ("deploy/ovms/README.md", "helm install"): "needs a cluster; tests/deploy render the chart",
    ("CONTRIBUTING.md", "@pytest.mark.alone"): "a mark of tests, which stands for itself",
}
"""(page, beginning of a command or a block) -> why it is not run here."""

STARTING = ("docs/quickstart.md", "docs/security.md")
"""Pages whose servers are started as they say. Of others, the options are read; one server answers for all of them."""

MAKING = ("docs/quickstart.md",)
"""Pages that make their models themselves."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, int]]]:
    """The models that the pages ask, and where their server listens."""
    root = tmp_path_factory.mktemp("models")
    data = parameter("data", "f32", [1, 3, 224, 224])
    resnet = written({"prob": ops.reduce_mean(data, ops.constant([2, 3]))}, [data], root, "resnet", 1)
    with serving_documented(root, others=[resnet]) as documented:
        yield root, {"grpc": documented.server.port, "rest": documented.port}


def typed(page: Path) -> list[Block]:
    return [
        block for block in blocks(page) if block.language in TYPED and (name(page), block.language) not in ELSEWHERE
    ]


def reason(page: str, text: str) -> str | None:
    return next((why for (where, begin), why in NOT_TYPED.items() if where == page and text.startswith(begin)), None)


def pieces(page: Path) -> list[Command]:
    """All that is typed of a page; Python by its blocks, whose output is the block of text behind."""
    found: list[Command] = []
    every = blocks(page)
    for block in typed(page):
        if block.language == "python":
            after = every[every.index(block) + 1 :]
            found.append(
                Command(block.where, block.text, after[0].text if after and after[0].language == "text" else "")
            )
        else:
            found += commands(block)
    return found


PAGES_TYPED = [page for page in PAGES if any(reason(name(page), one.text) is None for one in pieces(page))]


@pytest.mark.parametrize("page", PAGES_TYPED, ids=name)
def test_it_does_what_the_page_says(page: Path, shared: tuple[Path, dict[str, int]], tmp_path: Path) -> None:
    own = name(page) in STARTING
    models, ports = shared
    if own:
        ports = {"grpc": free_port(), "rest": free_port()}
        models = tmp_path / "models" if name(page) in MAKING else models
    python = {block.where for block in typed(page) if block.language == "python"}
    with Typist(tmp_path, models, ports) as typist:
        for one in pieces(page):
            if reason(name(page), one.text):
                continue
            if one.where in python:
                typist.run(one.where, one.text, one.output)
            elif not own and serves(words := shlex.split(one.text)):
                assert mistakes_of(words) == [], one.where
            else:
                typist.enter(one)


@pytest.mark.parametrize(
    ("shown", "printed", "fits"),
    [
        ("a\nb", "a\nb\n", True),
        ("a\n...\nd", "a \nb\nc\nd\n", True),
        ("a\n...", "a\n", True),
        ("a\nb", "a\n", False),
        ("a", "a\nb\n", False),
        ("a\n...\nd", "a\nb\n", False),
        ("a.c", "abc\n", False),
    ],
)
def test_what_is_shown_is_looked_at(shown: str, printed: str, fits: bool) -> None:
    assert shows(shown, printed) is fits


def test_reasons_are_of_something() -> None:
    for where, begin in NOT_TYPED:
        assert any(one.text.startswith(begin) for one in pieces(ROOT / where)), (where, begin)
    for (where, language), test in ELSEWHERE.items():
        assert any(block.language == language for block in blocks(ROOT / where)), where
        assert Path(where).name in (ROOT / test).read_text()
