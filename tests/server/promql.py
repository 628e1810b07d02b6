"""What a PromQL expression asks for, by a parser that Prometheus' own is the model of."""

from collections.abc import Iterator, Mapping, Set
from typing import Any, Final

import promql_parser

ADDED: Final = {"job", "instance"}
"""Labels that Prometheus adds to what it scrapes."""


def mistakes(expression: str, exposed: Mapping[str, Set[str]]) -> list[str]:
    """What in the expression no server exposes; ``exposed``: the labels of each sample's name."""
    found = []
    root = promql_parser.parse(expression)
    for node in _nodes(root):
        if isinstance(node, promql_parser.VectorSelector):
            if node.name not in exposed:
                found.append(f"there is no {node.name}")
                continue
            wrong = {one.name for one in node.matchers.matchers} - exposed[node.name] - ADDED - {"__name__"}
            found.extend(f"{node.name} has no label {label}" for label in sorted(wrong))
        elif isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            selected = [one.name for one in _nodes(node.expr) if isinstance(one, promql_parser.VectorSelector)]
            for name in selected:
                wrong = set(node.modifier.labels) - exposed.get(name, set()) - ADDED
                found.extend(f"{name} is summed by {label}, which it has not" for label in sorted(wrong))
    return found


def _nodes(node: Any) -> Iterator[Any]:
    yield node
    for name in ("expr", "lhs", "rhs", "vector_selector"):
        if (below := getattr(node, name, None)) is not None:
            yield from _nodes(below)
    for below in getattr(node, "args", None) or ():
        yield from _nodes(below)
