"""Bar charts as SVG: one group of bars for each load, one bar for each server, its figure beside it."""

import html
from collections.abc import Mapping, Sequence

COLOURS = ("#2a6fbb", "#6ea8dc", "#b7b7b7", "#d98f3e", "#5b9a5b", "#a06cb0", "#b5524c", "#7a7a7a")
WIDTH, NAMES, FIGURES, BAR, GAP, TOP = 820, 150, 90, 16, 30, 52


def bars(title: str, groups: Mapping[str, Mapping[str, float]], unit: str) -> str:
    """The chart of a figure by load and server; each group has a scale of its own, from zero."""
    servers = list(dict.fromkeys(server for group in groups.values() for server in group))
    parts, y = [_text(10, 22, title, "title")], TOP
    for name, group in groups.items():
        parts.append(_text(10, y - 6, name, "group"))
        largest = max(group.values(), default=0.0) or 1.0
        for server, value in group.items():
            length = max(1.0, (WIDTH - NAMES - FIGURES) * value / largest)
            colour = COLOURS[servers.index(server) % len(COLOURS)]
            parts.append(_text(NAMES - 8, y + BAR - 4, server, "name"))
            parts.append(f'<rect x="{NAMES}" y="{y}" width="{length:.1f}" height="{BAR - 3}" fill="{colour}"/>')
            parts.append(_text(NAMES + length + 6, y + BAR - 4, f"{_figure(value)} {unit}", "figure"))
            y += BAR
        y += GAP
    return "\n".join([*_head(y - GAP + 14), *parts, "</svg>", ""])


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text x="{x:.1f}" y="{y}" class="{kind}">{html.escape(text)}</text>'


def _head(height: int) -> Sequence[str]:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">',
        "<style>text { font: 12px sans-serif; fill: #222 } .title { font-size: 15px; font-weight: bold }",
        ".group { font-weight: bold } .name { text-anchor: end }</style>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
    )
