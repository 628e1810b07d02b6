"""Which version each label of a model stands for now: a pure function."""

from collections.abc import Collection, Mapping


def effective_labels(
    wanted: Mapping[str, int], before: Mapping[str, int], available: Collection[int]
) -> dict[str, int]:
    """Return label -> version for the labels that can be served.

    A label goes to its wanted version once that is ``available``. Until then it stays where it
    was ``before``, as long as that version is available; otherwise it stands for nothing.
    """
    effective = {}
    for label, version in wanted.items():
        if version in available:
            effective[label] = version
        elif before.get(label) in available:
            effective[label] = before[label]
    return effective
