import random

import pytest

from ovms.core.harness import Phase
from ovms.core.transition_policy import Load, Snapshot, Unload, next_action

NEW, QUEUED, LOADING, FAILED = Phase.NEW, Phase.QUEUED, Phase.LOADING, Phase.FAILED
AVAILABLE, UNLOADING, ENDED = Phase.AVAILABLE, Phase.UNLOADING, Phase.ENDED

WANTED, OLD = True, False


@pytest.mark.parametrize(
    ("snapshots", "action"),
    [
        # nothing to do
        ([], None),
        ([(1, AVAILABLE, WANTED)], None),
        ([(1, QUEUED, WANTED)], None),
        ([(1, LOADING, WANTED)], None),
        ([(1, FAILED, WANTED)], None),
        ([(1, LOADING, OLD)], None),
        ([(1, UNLOADING, OLD)], None),
        ([(1, UNLOADING, WANTED)], None),
        ([(1, ENDED, OLD)], None),
        # loading: the highest first, next to others that load
        ([(1, NEW, WANTED)], Load(1)),
        ([(1, NEW, WANTED), (2, NEW, WANTED)], Load(2)),
        ([(1, NEW, WANTED), (2, LOADING, WANTED)], Load(1)),
        ([(1, NEW, WANTED), (2, FAILED, WANTED)], Load(1)),
        # nothing is aspired: all go, the lowest first
        ([(1, AVAILABLE, OLD), (2, AVAILABLE, OLD)], Unload(1)),
        ([(1, UNLOADING, OLD), (2, AVAILABLE, OLD)], Unload(2)),
        # versions that never served go at once, whatever else there is
        ([(1, NEW, OLD)], Unload(1)),
        ([(1, QUEUED, OLD)], Unload(1)),
        ([(1, FAILED, OLD), (2, LOADING, WANTED)], Unload(1)),
        ([(1, AVAILABLE, OLD), (2, FAILED, OLD), (3, NEW, WANTED)], Unload(2)),
        # one replaces one
        ([(1, AVAILABLE, OLD), (2, NEW, WANTED)], Load(2)),
        ([(1, AVAILABLE, OLD), (2, QUEUED, WANTED)], None),
        ([(1, AVAILABLE, OLD), (2, LOADING, WANTED)], None),
        ([(1, AVAILABLE, OLD), (2, FAILED, WANTED)], None),
        ([(1, AVAILABLE, OLD), (2, AVAILABLE, WANTED)], Unload(1)),
        ([(1, AVAILABLE, OLD), (2, UNLOADING, WANTED)], None),
        # going back to a lower version
        ([(1, LOADING, WANTED), (2, AVAILABLE, OLD)], None),
        ([(1, AVAILABLE, WANTED), (2, AVAILABLE, OLD)], Unload(2)),
        # several old ones: all stay until something new serves, then all may go
        ([(1, AVAILABLE, OLD), (2, AVAILABLE, OLD), (3, LOADING, WANTED)], None),
        ([(1, AVAILABLE, OLD), (2, AVAILABLE, OLD), (3, FAILED, WANTED)], None),
        ([(1, AVAILABLE, OLD), (2, AVAILABLE, OLD), (3, AVAILABLE, WANTED)], Unload(1)),
        ([(1, UNLOADING, OLD), (2, AVAILABLE, OLD), (3, AVAILABLE, WANTED)], Unload(2)),
        # a window of two moves on: the lowest stays in the place of one that does not serve
        ([(1, AVAILABLE, OLD), (2, AVAILABLE, WANTED), (3, LOADING, WANTED)], None),
        ([(1, AVAILABLE, OLD), (2, AVAILABLE, WANTED), (3, FAILED, WANTED)], None),
        ([(1, AVAILABLE, OLD), (2, AVAILABLE, WANTED), (3, AVAILABLE, WANTED)], Unload(1)),
        ([(1, AVAILABLE, OLD), (2, AVAILABLE, OLD), (3, AVAILABLE, WANTED), (4, FAILED, WANTED)], Unload(1)),
        ([(1, UNLOADING, OLD), (2, AVAILABLE, OLD), (3, AVAILABLE, WANTED), (4, FAILED, WANTED)], None),
        # unloading goes before loading
        ([(1, AVAILABLE, OLD), (2, AVAILABLE, OLD), (3, AVAILABLE, WANTED), (4, NEW, WANTED)], Unload(1)),
    ],
)
def test_preserving_availability(snapshots: list[tuple[int, Phase, bool]], action: Load | Unload | None) -> None:
    assert next_action([Snapshot(*snapshot) for snapshot in snapshots]) == action


def again(version: int, phase: Phase) -> Snapshot:
    return Snapshot(version, phase, WANTED, again=True)


def plain(version: int, phase: Phase, aspired: bool = WANTED) -> Snapshot:
    return Snapshot(version, phase, aspired)


@pytest.mark.parametrize(
    ("snapshots", "action"),
    [
        ([again(1, FAILED)], Load(1)),
        ([again(1, AVAILABLE)], Load(1)),
        ([again(1, AVAILABLE), again(2, FAILED), plain(3, NEW)], Load(3)),
        ([again(1, AVAILABLE), again(2, FAILED)], Load(2)),
        # a version that is reloaded serves: it keeps no old one in its place
        ([plain(1, AVAILABLE, OLD), again(2, AVAILABLE)], Unload(1)),
        # a version tried again does not serve yet
        ([plain(1, AVAILABLE, OLD), again(2, FAILED)], Load(2)),
        # of those that may go, one without a label goes first
        ([Snapshot(1, AVAILABLE, OLD, labelled=True), plain(2, AVAILABLE, OLD), plain(3, AVAILABLE)], Unload(2)),
        ([Snapshot(1, AVAILABLE, OLD, labelled=True), plain(3, AVAILABLE)], Unload(1)),
    ],
)
def test_loading_again(snapshots: list[Snapshot], action: Load | Unload | None) -> None:
    assert next_action(snapshots) == action


@pytest.mark.parametrize(
    ("snapshots", "action"),
    [
        ([], None),
        ([plain(1, NEW)], Load(1)),
        ([plain(1, NEW), plain(2, LOADING)], Load(1)),
        # what is not wanted goes first, and its memory is free before anything loads
        ([plain(1, AVAILABLE, OLD), plain(2, NEW)], Unload(1)),
        ([plain(1, AVAILABLE, OLD), plain(2, AVAILABLE, OLD), plain(3, NEW)], Unload(1)),
        ([plain(1, UNLOADING, OLD), plain(2, NEW)], None),
        ([plain(1, LOADING, OLD), plain(2, NEW)], None),
        ([plain(1, QUEUED, OLD), plain(2, NEW)], Unload(1)),
        ([plain(1, FAILED, OLD), plain(2, NEW)], Unload(1)),
        ([plain(1, ENDED, OLD), plain(2, NEW)], Load(2)),
        ([Snapshot(1, ENDED, OLD, busy=True), plain(2, NEW)], None),
        ([Snapshot(1, AVAILABLE, WANTED, busy=True), plain(2, NEW)], None),
        ([plain(1, UNLOADING), plain(2, NEW)], None),
        # a version to be loaded again goes first, one after another, the highest last
        ([again(1, AVAILABLE)], Unload(1)),
        ([again(1, AVAILABLE), again(2, AVAILABLE)], Unload(1)),
        ([plain(1, UNLOADING), again(2, AVAILABLE)], None),
        ([plain(1, NEW), again(2, AVAILABLE)], Load(1)),
        ([plain(1, LOADING), again(2, AVAILABLE)], None),
        ([plain(1, AVAILABLE), again(2, AVAILABLE)], Unload(2)),
        ([plain(1, FAILED), again(2, AVAILABLE)], Unload(2)),
        ([again(1, FAILED), plain(2, AVAILABLE)], Load(1)),
        ([again(1, FAILED), plain(2, UNLOADING, OLD)], None),
    ],
)
def test_unloading_first(snapshots: list[Snapshot], action: Load | Unload | None) -> None:
    assert next_action(snapshots, unload_first=True) == action


class Model:
    """Versions that go from phase to phase as the policy says, with loads and unloads that end when chance wants it."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.phases: dict[int, Phase] = {}
        self.wanted: set[int] = set()
        self.bad: set[int] = set()

    def good(self) -> set[int]:
        return {version for version, phase in self.phases.items() if phase is AVAILABLE}

    def snapshots(self) -> list[Snapshot]:
        return [
            Snapshot(version, phase, version in self.wanted, again=phase is FAILED and self.chance.random() < 0.2)
            for version, phase in sorted(self.phases.items())
        ]

    def settle_policy(self, *, unload_first: bool) -> None:
        for version in self.wanted:
            if self.phases.get(version, ENDED) is ENDED:
                self.phases[version] = NEW
        while action := next_action(self.snapshots(), unload_first=unload_first):
            phase = self.phases[action.version]
            if isinstance(action, Load):
                assert phase in (NEW, FAILED)
                assert not unload_first or not (self.good() | self.holding()) - self.wanted
                self.phases[action.version] = QUEUED
            elif phase is AVAILABLE:
                assert action.version not in self.wanted
                self.phases[action.version] = UNLOADING
            else:
                self.phases[action.version] = ENDED

    def holding(self) -> set[int]:
        return {version for version, phase in self.phases.items() if phase in (QUEUED, LOADING, UNLOADING)}

    def work(self) -> None:
        """One step of one thread."""
        if not (at_work := sorted(self.holding())):
            return
        version = self.chance.choice(at_work)
        ended = FAILED if version in self.bad else AVAILABLE
        self.phases[version] = {QUEUED: LOADING, LOADING: ended, UNLOADING: ENDED}[self.phases[version]]


@pytest.mark.parametrize("seed", range(150))
def test_clients_never_lose_more_than_they_were_promised(seed: int) -> None:
    model = Model(random.Random(seed))
    for _ in range(30):
        model.wanted = set(model.chance.sample(range(1, 9), model.chance.randint(0, 4)))
        model.bad = set(model.chance.sample(range(1, 9), 3))
        promised = min(len(model.good()), len(model.wanted))
        for _ in range(model.chance.randint(0, 12)):
            before = model.good()
            model.settle_policy(unload_first=False)
            assert len(model.good()) >= promised
            if model.wanted and not model.wanted & model.good():
                assert model.good() == before, "a good version went although nothing that is wanted serves"
            model.work()


@pytest.mark.parametrize("unload_first", [False, True])
@pytest.mark.parametrize("seed", range(50))
def test_what_is_wanted_is_served_in_the_end(seed: int, unload_first: bool) -> None:
    model = Model(random.Random(seed))
    for last in (False, False, False, True):
        model.wanted = set(model.chance.sample(range(1, 9), model.chance.randint(0, 4)))
        for _ in range(100 if last else model.chance.randint(0, 8)):
            model.settle_policy(unload_first=unload_first)
            model.work()
    assert model.good() == model.wanted
    assert {phase for version, phase in model.phases.items() if version not in model.wanted} <= {ENDED}
