"""Windows of time as sums of buckets: some added, some taken away again, so that few are read whatever the window."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from ledger.domain.instants import FOREVER, Instant
from ledger.domain.values import Word


class Grain(Word):
    """What one row sums up: a day, an hour or ten minutes, from where they begin in UTC, or a single instant."""

    DAY = "DAY"
    HOUR = "HOUR"
    TEN_MINUTES = "TEN_MINUTES"
    INSTANT = "INSTANT"


class Part(NamedTuple):
    """Buckets of one grain that begin in [start, end); no end: all from `start` on. `sign` is +1 or -1."""

    grain: Grain
    start: Instant
    end: Instant | None
    sign: int


LENGTHS = {Grain.DAY: timedelta(days=1), Grain.HOUR: timedelta(hours=1), Grain.TEN_MINUTES: timedelta(minutes=10)}
"""From the coarsest to the finest; each is a multiple of the next."""
BUCKETS = tuple(LENGTHS)
ORIGIN = datetime(1970, 1, 1, tzinfo=UTC)
"""Where a bucket of every grain begins."""


def parts(start: Instant, end: Instant | None) -> list[Part]:
    """The window [start, end), or all from `start` on, from whole buckets and single instants.

    Both edges are moved to the nearest day, and what is then too much or missing is mended by hours, and so on: at
    each edge never more than half a day is read in hours, half an hour in tens of minutes, five minutes in instants.
    """
    if end is None:
        day = _nearest(start, Grain.DAY)
        return [Part(Grain.DAY, day, None, +1), *_between(start, day, BUCKETS[1:], +1)]
    return list(_cover(start, end, BUCKETS, +1)) if start < end else []


def _cover(start: Instant, end: Instant, grains: tuple[Grain, ...], sign: int) -> Iterator[Part]:
    if not grains:
        yield Part(Grain.INSTANT, start, end, sign)
        return
    grain, *finer = grains
    first, last = _nearest(start, grain), _nearest(end, grain)
    if first < last:
        yield Part(grain, first, last, sign)
    yield from _between(start, first, tuple(finer), sign)
    yield from _between(last, end, tuple(finer), sign)


def _between(start: Instant, end: Instant, grains: tuple[Grain, ...], sign: int) -> Iterator[Part]:
    """From one instant to another; backwards it is taken away."""
    if start < end:
        yield from _cover(start, end, grains, sign)
    elif end < start:
        yield from _cover(end, start, grains, -sign)


def _nearest(instant: Instant, grain: Grain) -> Instant:
    """The nearest beginning of a bucket; the one before, where the calendar has no next."""
    length = LENGTHS[grain]
    into = (instant - ORIGIN) % length
    before = instant - into
    return before if into <= length / 2 or FOREVER - before < length else before + length
