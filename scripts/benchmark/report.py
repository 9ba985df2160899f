"""The report: sections of rows, as Markdown and as JSON, and whether every must was kept."""

import os
import platform
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from scripts.benchmark.measure import Comparison, Measurement, Processors, Row, Target, verdict

PROCESSORS = ("Python µs", "PostgreSQL µs", "client µs")


@dataclass(frozen=True)
class Section:
    """What was measured of one thing. `more` is Markdown that follows the tables, `data` what JSON has besides."""

    name: str
    title: str
    about: str
    rows: Sequence[Row]
    comparisons: Sequence[Comparison] = ()
    more: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    faults: Sequence[str] = ()
    """What happened that must not happen, however fast it is."""

    @property
    def below(self) -> list[str]:
        """The names of what is below its must, and the faults."""
        missed = [row.name for row in self.rows if row.must is not None and not row.must.kept]
        missed += [each.name for each in self.comparisons if not each.must.kept]
        return [*missed, *self.faults]


def heading(runs: int, version: str, *, quick: bool) -> str:
    lines = [f"{today()}, {machine()}, PostgreSQL {version}, fsync on;"]
    lines.append(f"medians of {runs} runs; a target is met where every run meets it." if runs > 1 else "one run.")
    if quick:
        lines += ["", "**Quick: a smoke run. It shows that everything runs; its figures and verdicts say little.**"]
    return "\n".join(lines)


def today() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}"


def machine() -> str:
    return f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"


def closing(sections: Sequence[Section]) -> str:
    below = [f"{section.name}: {name}" for section in sections for name in section.below]
    return "Below must: " + "; ".join(below) + "." if below else "Every must of these sections is met."


def exit_code(sections: Sequence[Section]) -> int:
    """0 where every must is met, 1 otherwise."""
    return 1 if any(section.below for section in sections) else 0


def as_markdown(section: Section) -> str:
    lines = [f"## {section.title}", "", section.about, "", *_table(section.rows)]
    if section.comparisons:
        lines += ["", "| ratio | | must | |", "|---|--:|--:|---|"]
        lines += [
            f"| {each.name} | {each.ratio:.2f} | {each.must.text} | {verdict(each.must, None)} |"
            for each in section.comparisons
        ]
    if section.more:
        lines += ["", section.more]
    return "\n".join(lines)


def small_table(title: str, of_figures: str, figures: Sequence[tuple[int, float]]) -> str:
    """Two lines: of what, and how much."""
    return "\n".join(
        [
            f"| {title} | " + " | ".join(f"{number:,}" for number, _ in figures) + " |",
            "|---|" + len(figures) * "--:|",
            f"| {of_figures} | " + " | ".join(_cell(figure) for _, figure in figures) + " |",
        ]
    )


def _table(rows: Sequence[Row]) -> Iterator[str]:
    """Columns that no row has anything for are left out."""
    costs = [place for place in range(len(PROCESSORS)) if place < 2 or any(row.microseconds[place] for row in rows)]
    beside = list(dict.fromkeys(name for row in rows for name in row.beside))
    aims = any(row.aim for row in rows)
    titles = ["per second", "p50 ms", "p99 ms", *(PROCESSORS[place] for place in costs), *beside, "must"]
    titles += ["aim"] if aims else []
    yield "| row | " + " | ".join(titles) + " | |"
    yield "|---|" + len(titles) * "--:|" + "---|"
    for row in rows:
        cells = [f"{row.per_second:,.0f}", f"{row.p50_ms:.2f}", f"{row.p99_ms:.2f}"]
        cells += [_cost(row.microseconds[place]) for place in costs]
        cells += [_figure(row.beside.get(name)) for name in beside]
        cells += [target.text if target else "" for target in ((row.must, row.aim) if aims else (row.must,))]
        yield f"| {row.name} | " + " | ".join(cells) + f" | {verdict(row.must, row.aim)} |"


def _cost(microseconds: float | None) -> str:
    return "-" if microseconds is None else f"{microseconds:,.1f}" if microseconds < 100 else f"{microseconds:,.0f}"


def _figure(figures: Sequence[float] | None) -> str:
    if figures is None:
        return ""
    return _cell(statistics.median(figures))


def _cell(figure: float) -> str:
    return f"{figure:,.2f}" if abs(figure) < 100 else f"{figure:,.0f}"


def as_data(sections: Sequence[Section], version: str, *, quick: bool) -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).isoformat(),
        "machine": machine(),
        "postgresql": version,
        "quick": quick,
        "below_must": {section.name: section.below for section in sections},
        "sections": {section.name: _section(section) for section in sections},
    }


def _section(section: Section) -> dict[str, Any]:
    return {
        "about": section.about,
        "rows": [_row(row) for row in section.rows],
        "ratios": [
            {"name": each.name, "ratio": each.ratio, "runs": each.ratios, "must": _target(each.must)}
            for each in section.comparisons
        ],
    } | dict(section.data)


def _row(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "per_second": row.per_second,
        "runs_per_second": [run.per_second for run in row.runs],
        "p50_ms": row.p50_ms,
        "p99_ms": row.p99_ms,
        "microseconds": _costs(row.microseconds),
        "beside": {name: {"median": statistics.median(runs), "runs": runs} for name, runs in row.beside.items()},
        "must": _target(row.must),
        "aim": _target(row.aim),
        "verdict": verdict(row.must, row.aim),
        "runs": [_run(run) for run in row.runs],
    }


def _run(run: Measurement) -> dict[str, Any]:
    return {
        "count": run.count,
        "seconds": run.seconds,
        "per_second": run.per_second,
        "p50_ms": run.percentile_ms(0.50),
        "p99_ms": run.percentile_ms(0.99),
        "microseconds": _costs(run.microseconds()),
    }


def _costs(microseconds: Processors) -> dict[str, float | None]:
    return microseconds._asdict()


def _target(target: Target | None) -> dict[str, Any] | None:
    return None if target is None else {"bound": target.text, "met": list(target.met)}
