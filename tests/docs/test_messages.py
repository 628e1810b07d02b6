"""The messages that docs/troubleshooting.md explains are the server's own."""

import ast
import re
from functools import cache

import pytest
from pages import ROOT, text_of

PAGE = text_of(ROOT / "docs" / "troubleshooting.md").partition("## Messages of other programs")[0]
MESSAGES = [found[1].replace("\\|", "|") for found in re.finditer(r"^\| `(.*?)` \|", PAGE, re.MULTILINE)]
SHORTEST = 4
"""Characters that say something; shorter pieces are what stands between two things that differ."""


_LITERAL = re.compile(r'"((?:[^"\\\n]|\\.)*)"')


@cache
def literals() -> str:
    """Every text of the source, one on a line; what differs in a text parts it."""
    found = list(_ARGPARSE)
    for path in sorted((ROOT / "ovms").rglob("*")):
        if path.suffix == ".py":
            found += [
                node.value
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
            ]
        elif path.suffix in (".cpp", ".hpp", ".pyx", ".pxi"):
            source, end = path.read_text(), -1
            for one in _LITERAL.finditer(source):
                if end >= 0 and not source[end : one.start()].strip():
                    found[-1] += one[1]  # a text in several pieces
                else:
                    found.append(one[1])
                end = one.end()
    return re.sub(r'\\(["\\])', r"\1", re.sub(r"%[sdgr]", "\n", "\n".join(found)))


# What Python's own parser of command lines says for us.
_ARGPARSE = ["unrecognized arguments: ", "the following arguments are required: "]


def missing(message: str) -> list[str]:
    """The pieces of a message that the source does not have."""
    pieces = [
        piece.strip(" :") for piece in re.split(r"\.\.\.| is not an? ", message)
    ]  # `explain` puts the latter between
    pieces = [piece for piece in pieces if len(piece) >= SHORTEST]
    assert pieces, f"{message}: nothing of it can be looked for"
    return [piece for piece in pieces if piece not in literals()]


@pytest.mark.parametrize("message", MESSAGES)
def test_the_source_says_it(message: str) -> None:
    assert missing(message) == []


def test_what_is_looked_for() -> None:
    assert len(MESSAGES) > 60
    assert missing("Servable not found for request: Specified(...") == ["Servable not found for request: Specified("]
