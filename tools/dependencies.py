"""Prints what pyproject.toml asks for, one requirement a line, to be installed before the sources are there.

Usage: python tools/dependencies.py pyproject.toml build|runtime [EXTRA,EXTRA]      needs Python 3.11

An extra that is made of others, such as ``all``, is printed as those.
"""

import re
import sys
from pathlib import Path

import tomllib


def requirements(project: dict, kind: str, extras: list[str]) -> list[str]:
    """What building or running needs; KeyError for an extra that there is not."""
    if kind == "build":
        return list(project["build-system"]["requires"])
    known = project["project"]["optional-dependencies"]
    own = re.compile(rf"{re.escape(project['project']['name'])}\[([\w,-]+)\]")
    found = list(project["project"]["dependencies"])
    for extra in extras:
        for requirement in known[extra]:
            of_others = own.fullmatch(requirement)
            found += requirements(project, kind, of_others[1].split(",")) if of_others else [requirement]
    return list(dict.fromkeys(found))


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4) or sys.argv[2] not in ("build", "runtime"):
        sys.exit("usage: dependencies.py pyproject.toml build|runtime [EXTRA,EXTRA]")
    wanted = [name for name in sys.argv[3].split(",") if name] if len(sys.argv) == 4 else []
    try:
        print(*requirements(tomllib.loads(Path(sys.argv[1]).read_text()), sys.argv[2], wanted), sep="\n")
    except KeyError as missing:
        sys.exit(f"error: {sys.argv[1]} has no extra {missing}")
