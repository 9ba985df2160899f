"""What is said of projections: lines for people, and JSON for programs."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from projections.comparison import ChangedRow, Comparison
from projections.rebuild import Rebuilt
from projections.registry import model_named
from projections.status import Overview
from service.cli.frame import table

COLUMNS = ("name", "version", "state", "position", "head", "lag", "behind", "rate", "eta")
RIGHT = ("position", "head", "lag", "behind", "rate", "eta")


def status_lines(seen: Overview) -> Iterator[str]:
    rows = [
        (
            each.name,
            each.version,
            each.state,
            each.position,
            each.head,
            each.lag_events,
            f"{each.lag_seconds:.1f} s",
            "-" if each.events_per_second is None else f"{each.events_per_second:,.0f}/s",
            "-" if each.eta_seconds is None else f"{each.eta_seconds:.1f} s",
        )
        for each in seen.projections
    ]
    yield from table(COLUMNS, rows, right=RIGHT)
    for each in seen.projections:
        if each.error is not None:
            where = "" if each.error_position is None else f" at position {each.error_position}"
            yield f"{each.name} {each.version} failed{where}: {' '.join(each.error.split())}"
    for said in seen.skips:
        since = f"since {said.skipped_at:%Y-%m-%d} ({said.skipped_by})"
        yield f"{said.name} leaves out position {said.position} {since}: {said.reason}"
    if not seen.projections:
        yield "none of this version has begun: start credit-ledger serve or credit-ledger worker"
    elif not seen.followed:
        yield "nobody follows the log: start credit-ledger serve or credit-ledger worker"


def rebuilt_data(done: Rebuilt) -> dict[str, Any]:
    comparison = None if done.comparison is None else comparison_data(done.comparison)
    return {**done._asdict(), "seconds": round(done.seconds, 3), "comparison": comparison}


def comparison_data(found: Comparison) -> dict[str, Any]:
    return {**found._asdict(), "differing": found.differing, "sample": [row._asdict() for row in found.sample]}


def rebuilt_lines(done: Rebuilt) -> Iterator[str]:
    took = f"at position {done.position}, after {done.seconds:.1f} s"
    yield f"{done.name}: {done.build} serves {took}; {done.replaced} is kept"
    if done.comparison is not None:
        yield from comparison_lines(done.name, done.comparison, parting=False)


def comparison_lines(name: str, found: Comparison, *, parting: bool = True) -> Iterator[str]:
    """How two builds differ; with `parting`, where, which a rehearsal has looked for."""
    if not found.differing:
        yield f"{name}: {found.rows_after:,} rows at position {found.position}, byte for byte the same"
        return
    yield (
        f"{name}: {found.differing:,} rows differ at position {found.position} ({found.changed:,} changed, "
        f"{found.added:,} added, {found.removed:,} removed; {found.rows_before:,} before, {found.rows_after:,} after)"
    )
    if parting:
        yield f"  {_parting(found)}"
    yield from (f"  {_changed(name, row)}" for row in found.sample)


def _parting(found: Comparison) -> str:
    if found.parted_at is None:
        return "the log tells of none of them"
    if found.same_fold:
        return f"the first event that they are made of is at position {found.parted_at}; one fold made both"
    return f"the two part at position {found.parted_at}"


def _changed(name: str, row: ChangedRow) -> str:
    """The row by its key, and what differs: `holder=acme currency=credits: balance 5 -> 7`."""
    there = row.after or row.before or {}
    key = " ".join(
        f"{column}={'-' if there[column] is None else there[column]}"
        for column in model_named(name).key
        if column in there
    )
    if row.before is None or row.after is None:
        return f"{'added' if row.before is None else 'removed'} {key}"
    columns = sorted(row.before.keys() | row.after.keys())
    told = [(column, row.before.get(column), row.after.get(column)) for column in columns]
    return f"changed {key}: " + ", ".join(
        f"{column} {_plain(was)} -> {_plain(is_)}" for column, was, is_ in told if was != is_
    )


def _plain(value: object) -> object:
    return f"{value:f}" if isinstance(value, Decimal) else value
