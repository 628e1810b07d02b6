"""What the documentation's pages consist of: blocks, commands, links, headings."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]

PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("examples/**/*.md"),
        *(ROOT / "client").glob("*.md"),
        *(ROOT / "deploy").glob("**/*.md"),
        ROOT / "benchmarks/README.md",
    ]
)
"""All that a reader may come upon."""

TYPED = ("console", "bash", "sh", "python")
"""Languages of blocks that a reader types."""

_FENCE = re.compile(r"^( *)```([^\n`]*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)


def name(page: Path) -> str:
    """A page's path as the tables of tests have it."""
    return str(page.relative_to(ROOT))


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: str
    line: int
    language: str
    text: str

    @property
    def where(self) -> str:
        """For messages."""
        return f"{self.page}:{self.line}"


@cache
def text_of(page: Path) -> str:
    return page.read_text()


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = text_of(page)
    return [
        Block(
            name(page), text.count("\n", 0, found.start()) + 1, found[2].strip(),
            re.sub(rf"^{found[1]}", "", found[3], flags=re.MULTILINE),
        )
        for found in _FENCE.finditer(text)
    ]  # fmt: skip


def prose(page: Path) -> str:
    """A page without its blocks."""
    return _FENCE.sub("", text_of(page))


@dataclass(frozen=True)
class Command:
    """What is typed at once, and what the page shows as its output."""

    where: str
    text: str
    output: str


def commands(block: Block) -> Iterator[Command]:
    """Of a console: what follows each prompt; of a script: its lines."""
    prompt = "$ " if block.language == "console" else ""
    lines = iter(enumerate(block.text.splitlines(), block.line + 1))
    typed, shown, at = "", [], block.line
    for number, line in lines:
        if not line.startswith(prompt):
            shown.append(line)
            continue
        if typed:
            yield Command(f"{block.page}:{at}", typed, "\n".join(shown))
        typed, shown, at = line.removeprefix(prompt), [], number
        while typed.endswith("\\"):
            typed = typed[:-1] + next(lines)[1].strip()
    if typed:
        yield Command(f"{block.page}:{at}", typed, "\n".join(shown))


def links(page: Path) -> list[str]:
    """Targets of a page's links, as they are written."""
    return re.findall(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)", prose(page))


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found: dict[str, int] = {}
    for title in re.findall(r"^#+ +(.*?) *$", prose(page), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).replace("`", "").lower()
        anchor = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        found[anchor] = found.get(anchor, -1) + 1
        if found[anchor]:
            found[f"{anchor}-{found[anchor]}"] = 0
    return frozenset(found)
