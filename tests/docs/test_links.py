"""Links lead somewhere, and every page of the documentation is found from its first."""

from pathlib import Path

import pytest
from pages import PAGES, ROOT, anchors, links, name

FIRST = ROOT / "docs" / "README.md"


def target(page: Path, link: str) -> tuple[Path, str]:
    path, _, anchor = link.partition("#")
    return (page.parent / path).resolve() if path else page, anchor


def local_links(page: Path) -> list[str]:
    return [link for link in links(page) if "://" not in link and not link.startswith("mailto:")]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in local_links(page):
        path, anchor = target(page, link)
        assert path.exists(), f"{link}: there is no {path}"
        assert path.is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors(path), f"{link}: expected one of {sorted(anchors(path))}"


def test_every_page_is_found_from_the_first() -> None:
    reached, todo = set(), [FIRST]
    while todo:
        page = todo.pop()
        reached.add(page)
        todo += [
            path
            for link in local_links(page)
            if (path := target(page, link)[0]).suffix == ".md" and path.exists() and path not in reached
        ]
    assert [name(page) for page in PAGES if page.is_relative_to(FIRST.parent) and page not in reached] == []


def test_there_is_something_to_check() -> None:
    assert sum(len(local_links(page)) for page in PAGES) > 100
    assert "what-clients-see-the-choices" in anchors(ROOT / "docs" / "compatibility.md")
