"""Tables, targets and the page made of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Table:
    """One table; every cell is text already."""

    title: str
    note: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Target:
    """What was set out to be reached, and what was measured; None if the measurement does not allow a verdict."""

    text: str
    measured: str
    reached: bool | None

    @property
    def verdict(self) -> str:
        """One word or two for the page."""
        return "not judged" if self.reached is None else "reached" if self.reached else "**missed**"


@dataclass(frozen=True)
class Plot:
    """A picture that stands beside the page."""

    title: str
    file: str
    svg: str


@dataclass
class Section:
    """One part of the page: what is measured, against what, and the figures."""

    title: str
    text: str
    tables: list[Table] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)


def microseconds(seconds: float) -> str:
    """A duration with three significant digits or whole microseconds."""
    value = seconds * 1e6
    return f"{value:,.0f} µs" if value >= 100 else f"{value:.1f} µs" if value >= 10 else f"{value:.2f} µs"


def times(ratio: float) -> str:
    """A ratio with two or three significant digits."""
    return f"{ratio:,.0f}x" if ratio >= 100 else f"{ratio:.1f}x" if ratio >= 10 else f"{ratio:.2f}x"


def render(title: str, introduction: str, sections: Sequence[Section]) -> str:
    """The page as Markdown: all targets first, then every section."""
    parts = [f"# {title}", introduction.strip(), "## Targets", _targets(sections)]
    for section in sections:
        parts += [f"## {section.title}", section.text.strip()]
        parts += [f"![{plot.title}]({plot.file})" for plot in section.plots]
        for table in section.tables:
            parts += [f"### {table.title}", table.note.strip(), _table(table.header, table.rows)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _targets(sections: Sequence[Section]) -> str:
    rows = [[target.verdict, target.text, target.measured] for section in sections for target in section.targets]
    return _table(["", "target", "measured"], rows)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])
