"""What is wanted of a model of which nothing new was seen."""

from pathlib import Path

from ovms.config import ModelConfig
from ovms.core.loader import Loader
from ovms.core.servable import Servable, ServableId
from ovms.errors import Code, ServingError
from ovms.storage import Storages
from ovms.storage.base import FoundVersion, NoVersionsError
from ovms.storage.watched import Watched


def refuse(servable: ServableId) -> Loader[Servable]:
    raise ServingError(Code.INTERNAL, "nothing is loaded here")


def versions(watched: Watched[Servable], found: list[FoundVersion], now: float) -> dict[int, object]:
    """The contents that are wanted after a look."""
    wanted = watched.note(found, now)
    assert wanted is not None
    return {version: aspired.revision for version, aspired in wanted.versions.items()}


def one(content: str, *, empty: bool = False) -> list[FoundVersion]:
    return [FoundVersion(1, content, None, ready=False, empty=empty)]


def test_a_listing_that_is_the_same_object(tmp_path: Path) -> None:
    """It stands for the same versions; but with time they become whole, and after an error it is heard of again."""
    config = ModelConfig("m", str(tmp_path), reload_on_change=True)
    watched = Watched(config, Storages().open(config), refuse, settings=1, poll_seconds=10.0)
    first, second = one("a"), one("b")
    assert versions(watched, first, 100.0) == {}
    assert versions(watched, first, 101.0) == {}
    (whole,) = versions(watched, first, 110.0).values()
    assert watched.note(first, 120.0) is watched.note(first, 130.0), "nobody needs to compare it"
    assert versions(watched, second, 140.0) == {1: whole}
    assert versions(watched, second, 141.0) == {1: whole}
    (other,) = versions(watched, second, 150.0).values()
    assert other != whole
    gone = watched.note_failure(NoVersionsError("nothing there"), 160.0)
    assert gone is not None
    assert not gone.versions
    assert versions(watched, second, 170.0) == {}, "it came anew"
    assert versions(watched, second, 180.0) == {1: other}
    watched.note_failure(ServingError(Code.UNAVAILABLE, "cut"), 190.0)
    assert versions(watched, second, 200.0) == {1: other}
    assert watched.problem is None
    emptied = one("c", empty=True)
    assert versions(watched, emptied, 210.0) == {1: other}
    assert versions(watched, emptied, 220.0) == {}
