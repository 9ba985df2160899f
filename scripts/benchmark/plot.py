"""A picture of measured lines, in SVG: panels side by side, x in powers, y from nought."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, log, log10
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 560, 440
"""Of a panel, titles and ticks included; pixels."""
LEFT, RIGHT, TOP, BOTTOM = 80, 24, 84, 64
HEAD = 40
INSET = 26
"""Of the first and the last point."""
TICKS = 5
COLOURS = ("#0b5cad", "#b5541c", "#2f7d32")
HALO = 'paint-order="stroke" stroke="#ffffff" stroke-width="3"'
"""Keeps a figure readable on a line."""
TEXT, GRID, AXIS = "#222222", "#dddddd", "#555555"


@dataclass(frozen=True)
class Line:
    """Points in the order of their x, which is above nought."""

    name: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False


@dataclass(frozen=True)
class Panel:
    """Lines on the same axes. The x axis has a tick at each of `x_ticks`, the y axis at round figures from nought."""

    title: str
    x_title: str
    y_title: str
    x_ticks: Sequence[float]
    lines: Sequence[Line]


def as_svg(title: str, panels: Sequence[Panel]) -> str:
    width, height = len(panels) * WIDTH, HEAD + HEIGHT
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="DejaVu Sans, Helvetica, Arial, sans-serif" font-size="12" fill="{TEXT}">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        _text(width / 2, 26, title, size=13, anchor="middle"),
    ]
    for number, panel in enumerate(panels):
        lines += [f'<g transform="translate({number * WIDTH} {HEAD})">', *_Axes(panel).draw(), "</g>"]
    return "\n".join([*lines, "</svg>", ""])


class _Axes:
    """Where a panel's figures lie."""

    def __init__(self, panel: Panel) -> None:
        self._panel = panel
        self._first, self._last = log(min(panel.x_ticks)), log(max(panel.x_ticks))
        highest = max(y for line in panel.lines for _, y in line.points)
        self._step = round_step(highest / TICKS)
        self._steps = max(1, ceil(highest / self._step))

    def draw(self) -> Iterator[str]:
        panel = self._panel
        middle = (LEFT + WIDTH - RIGHT) / 2
        yield _text(middle, 18, panel.title, size=14, weight="bold", anchor="middle")
        yield from self._grid()
        yield _text(middle, HEIGHT - 16, panel.x_title, anchor="middle")
        turned = f'transform="rotate(-90 18 {(TOP + HEIGHT - BOTTOM) / 2})"'
        yield _text(18, (TOP + HEIGHT - BOTTOM) / 2, panel.y_title, anchor="middle", more=turned)
        for number, line in enumerate(panel.lines):
            yield from self._line(line, COLOURS[number % len(COLOURS)], number)
        for number, line in enumerate(panel.lines):
            yield from self._figures(line, COLOURS[number % len(COLOURS)])

    def _grid(self) -> Iterator[str]:
        bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
        for number in range(self._steps + 1):
            figure = number * self._step
            y = self._y(figure)
            yield f'<line x1="{LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="{GRID}"/>'
            yield _text(LEFT - 8, y + 4, told(figure, self._step), anchor="end")
        for figure in self._panel.x_ticks:
            x = self._x(figure)
            yield f'<line x1="{x:.1f}" y1="{bottom}" x2="{x:.1f}" y2="{bottom + 5}" stroke="{AXIS}"/>'
            yield _text(x, bottom + 20, told(figure, 1), anchor="middle")
        yield f'<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="{AXIS}"/>'

    def _line(self, line: Line, colour: str, number: int) -> Iterator[str]:
        dash = ' stroke-dasharray="6 4"' if line.dashed else ""
        stroke = f'fill="none" stroke="{colour}" stroke-width="2"{dash}'
        places = [(self._x(x), self._y(y)) for x, y in line.points]
        yield f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}" {stroke}/>'
        for x, y in places:
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>'
        x, y = LEFT + number * (WIDTH - LEFT - RIGHT) / 2, TOP - 38
        yield f'<line x1="{x}" y1="{y}" x2="{x + 28}" y2="{y}" {stroke}/>'
        yield _text(x + 34, y + 4, line.name)

    def _figures(self, line: Line, colour: str) -> Iterator[str]:
        """Above each point; below it where another line runs above."""
        others = [other for other in self._panel.lines if other is not line]
        for x, figure in line.points:
            below = any((self._at(other, x) or 0) > figure for other in others)
            y = min(self._y(figure) + (17 if below else -9), HEIGHT - BOTTOM - 2)
            text = told(figure, self._step / 10)
            yield _text(self._x(x), y, text, size=10, anchor="middle", colour=colour, more=HALO)

    def _at(self, line: Line, x: float) -> float | None:
        """How high a line runs at a place; None where it does not."""
        for (left, low), (right, high) in pairwise(line.points):
            if left <= x <= right:
                return low + (high - low) * (log(x) - log(left)) / (log(right) - log(left))
        return None

    def _x(self, figure: float) -> float:
        share = (log(figure) - self._first) / ((self._last - self._first) or 1)
        return LEFT + INSET + share * (WIDTH - LEFT - RIGHT - 2 * INSET)

    def _y(self, figure: float) -> float:
        return HEIGHT - BOTTOM - figure / (self._steps * self._step) * (HEIGHT - TOP - BOTTOM)


def round_step(about: float) -> float:
    """1, 2 or 5 times a power of ten, the least that is no less."""
    power = float(10 ** floor(log10(about)))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= about * 0.999)


def told(figure: float, step: float) -> str:
    """With as many places as the step has, two at most."""
    places = min(2, max(0, -floor(log10(step))))
    return f"{figure:,.{places}f}"


def _text(
    x: float, y: float, text: str, *, size: int = 12, anchor: str = "start", weight: str = "normal",
    colour: str = TEXT, more: str = "",
) -> str:  # fmt: skip
    style = f'font-size="{size}" text-anchor="{anchor}" font-weight="{weight}" fill="{colour}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style} {more}>{escape(text)}</text>'
