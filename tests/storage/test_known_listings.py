"""Listings of several pages that are the same as the last time, and those that are not."""

import pytest

from ovms.errors import Code, ServingError
from ovms.storage import known_listings
from ovms.storage.known_listings import Contents, KnownListings, Page
from ovms.storage.object_store import StoredObject


class Pages:
    """What a store holds, as its pages have it: names, with commas between."""

    def __init__(self, *pages: str) -> None:
        self.pages = list(pages)
        self.read = 0
        self.asked: list[str] = []
        self.blank = False
        self.endless = False
        self._known = KnownListings()

    def look(self, most: int = 100) -> list[StoredObject]:
        return self._known.objects(
            "gs://b/p", "p", most, self._ask, lambda: ServingError(Code.UNAVAILABLE, "it has no end")
        )

    def keys(self) -> list[str]:
        return [one.key for one in self.look()]

    def _ask(self, token: str) -> Page:
        self.asked.append(token)
        number = int(token or 0)
        text = self.pages[number % len(self.pages)]
        more = self.endless or number + 1 < len(self.pages)

        def read() -> Contents:
            self.read += 1
            names = text.split(",") if text else []
            return [StoredObject(name, 1, "e", None) for name in names], str(number + 1) if more else ""

        return Page(b"" if self.blank else f"{text} {more}".encode(), read)


def test_the_same_pages_are_read_once() -> None:
    store = Pages("a,b", "c")
    first = store.look()
    assert [one.key for one in first] == ["a", "b", "c"]
    assert store.look() is first
    assert (store.asked, store.read) == (["", "1", "", "1"], 2)


@pytest.mark.parametrize(
    "pages", [("a,b", "d"), ("a", "c"), ("a,b",), ("a,b", "c", "d"), ("",)], ids=lambda pages: "|".join(pages)
)
def test_what_is_different_is_seen(pages: tuple[str, ...]) -> None:
    store = Pages("a,b", "c")
    first = store.look()
    store.pages = list(pages)
    assert store.keys() == ",".join(pages).split(",") if pages[0] else store.keys() == []
    assert store.look() is store.look()
    store.pages = ["a,b", "c"]
    assert store.look() == first


def test_what_has_no_bytes_is_read_each_time() -> None:
    store = Pages("a")
    store.blank = True
    assert store.look() is not store.look()
    assert store.read == 2


def test_bounds() -> None:
    store = Pages("a,b", "c,d", "e")
    with pytest.raises(ServingError, match="gs://b/p: more than 3 objects; give a longer path") as caught:
        store.look(most=3)
    assert caught.value.code is Code.RESOURCE_EXHAUSTED
    assert store.asked == ["", "1"], "no page that is not needed"
    assert store.keys() == ["a", "b", "c", "d", "e"]
    with pytest.raises(ServingError, match="more than 4"):
        store.look(most=4)  # also of pages that are known


def test_pages_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_listings, "MOST_PAGES", 10)
    store = Pages("")
    store.endless = True
    with pytest.raises(ServingError, match="no end"):
        store.look()
    assert len(store.asked) == 10


def test_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_listings, "MOST_PREFIXES", 0)
    store = Pages("a")
    assert store.look() == store.look()
    assert store.read == 2
