import itertools
import random
import threading

import pytest
from lifecycle_fakes import FakeServable, World

from ovms.core.aspired import AspiredVersion
from ovms.core.harness import ALLOWED, PUBLISHED, IllegalTransitionError, LoaderHarness, Mishap, Phase
from ovms.core.retry import RetryPauses
from ovms.core.servable import ServableId, State
from ovms.errors import Code, ServingError

# How to bring a harness to each phase.
WAYS = {
    Phase.NEW: [],
    Phase.QUEUED: [Phase.QUEUED],
    Phase.LOADING: [Phase.QUEUED, Phase.LOADING],
    Phase.FAILED: [Phase.QUEUED, Phase.LOADING, Phase.FAILED],
    Phase.AVAILABLE: [Phase.QUEUED, Phase.LOADING, Phase.AVAILABLE],
    Phase.UNLOADING: [Phase.QUEUED, Phase.LOADING, Phase.AVAILABLE, Phase.UNLOADING],
    Phase.ENDED: [Phase.ENDED],
}
LEGAL = {
    Phase.NEW: {Phase.QUEUED, Phase.ENDED},
    Phase.QUEUED: {Phase.LOADING, Phase.ENDED},
    Phase.LOADING: {Phase.AVAILABLE, Phase.FAILED},
    Phase.FAILED: {Phase.QUEUED, Phase.ENDED},
    Phase.AVAILABLE: {Phase.UNLOADING},
    Phase.UNLOADING: {Phase.ENDED},
    Phase.ENDED: set(),
}


def harness(world: World) -> LoaderHarness[FakeServable]:
    return LoaderHarness(ServableId("m", 1), world.wish(), world, world.listen, threading.RLock(), RetryPauses())


def brought_to(phase: Phase, world: World) -> LoaderHarness[FakeServable]:
    made = harness(world)
    for step in WAYS[phase]:
        made.transition(step)
    return made


@pytest.mark.parametrize(("before", "after"), list(itertools.product(Phase, Phase)))
def test_every_pair_of_phases(before: Phase, after: Phase) -> None:
    moved = brought_to(before, World())
    if after in LEGAL[before]:
        moved.transition(after)
        assert moved.phase is after
    else:
        with pytest.raises(
            IllegalTransitionError, match=f"m version 1: {before.value} -> {after.value} is not allowed"
        ):
            moved.transition(after)
        assert moved.phase is before


def test_an_illegal_move_announces_nothing() -> None:
    world = World()
    made = brought_to(Phase.LOADING, world)
    before = list(world.events)
    with pytest.raises(IllegalTransitionError):
        made.transition(Phase.ENDED)
    assert world.events == before


@pytest.mark.parametrize("seed", range(20))
def test_published_states_never_go_back(seed: int) -> None:
    chance, world = random.Random(seed), World()
    made = harness(world)
    assert set(PUBLISHED) == set(Phase)
    while made.phase is not Phase.ENDED:
        made.transition(chance.choice([after for before, after in sorted_ways() if before is made.phase]))
        assert made.state.state >= PUBLISHED[made.phase]
    announced = [state.state for state in world.states]
    assert announced == sorted(announced)
    assert announced[-1] is State.END


def sorted_ways() -> list[tuple[Phase, Phase]]:
    return sorted(ALLOWED, key=lambda way: (way[0].value, way[1].value))


def test_available_is_announced_after_publishing_and_unloading_before_withdrawing() -> None:
    world = World()
    made = harness(world)
    made.transition(Phase.QUEUED)
    assert made.load() is None
    made.transition(Phase.UNLOADING)
    made.withdraw()
    assert made.unload() is None
    assert world.events == [
        "LOADING 1",
        "load 1",
        "publish 1",
        "AVAILABLE 1",
        "UNLOADING 1",
        "withdraw 1",
        "unload 1",
        "END 1",
    ]
    assert {(state.error_code, state.error_message) for state in world.states} == {(Code.OK, "")}


@pytest.mark.parametrize(
    ("failure", "cause"),
    [
        (ServingError(Code.NOT_FOUND, "no model file in /m/1"), "no model file in /m/1"),
        (RuntimeError("bad magic"), "RuntimeError: bad magic"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_a_failed_load_tells_the_cause(failure: Exception, cause: str) -> None:
    world = World(load_failures={1: failure})
    made = harness(world)
    made.transition(Phase.QUEUED)
    mishap = made.load()
    assert mishap == Mishap("loading", failure)
    assert made.phase is Phase.FAILED
    assert made.state.state is State.LOADING
    assert made.state.error_code is Code.UNKNOWN
    assert made.state.error_message == f"Error occurred while loading version: {cause}"
    assert world.events == ["LOADING 1", "load 1", "LOADING 1"]
    assert world.states[-1] == made.state


def test_a_failed_version_ends_without_an_error() -> None:
    world = World(load_failures={1: RuntimeError("x")})
    made = harness(world)
    made.transition(Phase.QUEUED)
    made.load()
    made.transition(Phase.ENDED)
    assert (made.state.state, made.state.error_code, made.state.error_message) == (State.END, Code.OK, "")


def test_a_servable_that_cannot_be_published_is_unloaded() -> None:
    world = World(publish_failures={1: RuntimeError("full")})
    made = harness(world)
    made.transition(Phase.QUEUED)
    made.load()
    assert world.events == ["LOADING 1", "load 1", "publish 1", "unload 1", "LOADING 1"]
    assert made.state.error_message == "Error occurred while loading version: RuntimeError: full"


def test_a_loader_that_cannot_be_made_is_a_failed_load() -> None:
    world = World()

    def make_none(servable_id: ServableId) -> None:
        raise ValueError(f"no loader for {servable_id.name}")

    made = harness(world)
    made.want(AspiredVersion(make_none))  # type: ignore[arg-type]
    made.transition(Phase.QUEUED)
    made.load()
    assert made.state.error_message == "Error occurred while loading version: ValueError: no loader for m"


def test_a_version_dropped_in_the_queue_does_not_load() -> None:
    world = World()
    made = harness(world)
    made.transition(Phase.QUEUED)
    made.transition(Phase.ENDED)
    assert made.load() is None
    assert world.events == ["END 1"]


@pytest.mark.parametrize("phase", [Phase.NEW, Phase.LOADING, Phase.FAILED, Phase.AVAILABLE, Phase.UNLOADING])
def test_load_out_of_turn(phase: Phase) -> None:
    world = World()
    made = brought_to(phase, world)
    with pytest.raises(IllegalTransitionError):
        made.load()
    assert "load 1" not in world.events


def test_unload_out_of_turn() -> None:
    world = World()
    made = harness(world)
    made.transition(Phase.QUEUED)
    made.load()
    with pytest.raises(IllegalTransitionError, match=r"unload\(\) while available"):
        made.unload()
    assert ("m", 1) in world.published


def test_memory_in_use_is_not_freed_when_withdrawing_fails() -> None:
    world = World(withdraw_failures={1: RuntimeError("gone")})
    made = harness(world)
    made.transition(Phase.QUEUED)
    made.load()
    made.transition(Phase.UNLOADING)
    made.withdraw()
    assert made.unload() == Mishap("unloading", world.withdraw_failures[1])
    assert "unload 1" not in world.events
    assert (made.state.state, made.state.error_code) == (State.END, Code.UNKNOWN)
    assert made.state.error_message == "Error occurred while unloading version: RuntimeError: gone"


def test_an_unload_that_fails_still_ends() -> None:
    world = World(unload_failures={1: OSError("busy")})
    made = harness(world)
    made.transition(Phase.QUEUED)
    made.load()
    made.transition(Phase.UNLOADING)
    made.withdraw()
    assert made.unload() == Mishap("unloading", world.unload_failures[1])
    assert made.state.error_message == "Error occurred while unloading version: OSError: busy"
    assert made.phase is Phase.ENDED


def test_the_last_request_ends_before_memory_goes() -> None:
    world = World()
    made = harness(world)
    made.transition(Phase.QUEUED)
    made.load()
    servable = world.published["m", 1]
    servable.unused.clear()
    made.transition(Phase.UNLOADING)
    made.withdraw()
    unloading = threading.Thread(target=made.unload)
    unloading.start()
    assert servable.waits.wait(10)
    assert world.events[-1] == "withdraw 1"
    servable.unused.set()
    unloading.join(10)
    assert world.events[-2:] == ["unload 1", "END 1"]


def loaded(world: World) -> LoaderHarness[FakeServable]:
    made = harness(world)
    made.transition(Phase.QUEUED)
    assert made.load() is None
    world.events.clear()
    return made


def test_withdraw_out_of_turn() -> None:
    made = loaded(World())
    with pytest.raises(IllegalTransitionError, match=r"withdraw\(\) while available"):
        made.withdraw()


def test_retire_out_of_turn() -> None:
    with pytest.raises(IllegalTransitionError, match="retire"):
        loaded(World()).retire()


def test_a_version_nobody_wants_does_not_load() -> None:
    world = World()
    made = brought_to(Phase.QUEUED, world)
    made.want(None)
    with pytest.raises(IllegalTransitionError, match="not wanted"):
        made.load()
    assert world.events == []


def test_a_reload_swaps_and_leaves_the_old_one_to_be_freed() -> None:
    world = World()
    made = loaded(world)
    old = world.published["m", 1]
    made.want(world.wish("b"))
    assert made.needs_load(0)
    assert made.reload() is None
    assert made.has_replaced
    assert not made.needs_load(0)
    assert world.published["m", 1].revision == "b"
    assert made.retire() is None
    assert world.unloaded == [old]
    assert not made.has_replaced
    assert world.events == ["load 1", "replace 1", "unload 1"]


def test_a_reload_that_is_not_needed_does_nothing() -> None:
    world = World()
    made = loaded(world)
    made.want(world.wish(None, "other files"))
    assert not made.needs_load(0)
    assert made.reload() is None
    assert world.events == []


def test_a_fresh_servable_that_cannot_take_the_place_is_freed() -> None:
    world = World(replace_failures={1: RuntimeError("no")})
    made = loaded(world)
    old = world.published["m", 1]
    made.want(world.wish("b"))
    assert made.reload() == Mishap("loading", world.replace_failures[1])
    assert world.published["m", 1] is old
    assert [servable.revision for servable in world.unloaded] == ["b"]
    assert (made.state.state, made.state.error_code) == (State.AVAILABLE, Code.UNKNOWN)
    assert made.state.error_message == "Error occurred while loading version: RuntimeError: no"


def test_an_exception_that_cannot_say_what_it_is() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("not even this")

    world = World(load_failures={1: MuteError()})
    made = brought_to(Phase.QUEUED, world)
    made.load()
    assert made.phase is Phase.FAILED
    assert made.state.error_message == "Error occurred while loading version: MuteError"
