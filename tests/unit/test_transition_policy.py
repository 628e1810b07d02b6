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
def test_next_action(snapshots: list[tuple[int, Phase, bool]], action: Load | Unload | None) -> None:
    assert next_action([Snapshot(*snapshot) for snapshot in snapshots]) == action
