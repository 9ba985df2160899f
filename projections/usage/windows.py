"""Windows of time and their parts: the units that a series has points for, and the rows that a sum reads. In UTC."""

from datetime import timedelta
from typing import NamedTuple

from ledger.domain.instants import Instant, add_months
from ledger.domain.values import Word


class UsageWindow(NamedTuple):
    """[start, end), to the microsecond; start < end."""

    start: Instant
    end: Instant


class PointSize(Word):
    """The unit of the calendar that a point stands for."""

    HOUR = "HOUR"
    DAY = "DAY"
    MONTH = "MONTH"


class Grain(Word):
    """What one row sums up: a day, an hour, or a single instant."""

    DAY = "DAY"
    HOUR = "HOUR"
    INSTANT = "INSTANT"


class Stretch(NamedTuple):
    """A part of a window, to be read from the rows of one grain."""

    grain: Grain
    start: Instant
    end: Instant


DAY, HOUR = timedelta(days=1), timedelta(hours=1)
LENGTHS = {Grain.DAY: DAY, Grain.HOUR: HOUR}


def stretches(window: UsageWindow, size: PointSize) -> list[Stretch]:
    """The window cut without gap or overlap, each part to be read from the coarsest rows that lie wholly in it.

    Whole days, whole hours beside them, and single instants in the hours that the window's edges cut: at most five
    parts. A row also lies wholly in one point; so points by the hour are read from no days.
    """
    grains = (Grain.HOUR,) if size is PointSize.HOUR else (Grain.DAY, Grain.HOUR)
    return _cut(window.start, window.end, grains)


def point_starts(window: UsageWindow, size: PointSize) -> list[Instant]:
    """The beginning of each unit that the window touches, oldest first; the first may lie before the window."""
    first, last = unit_start(window.start, size), window.end - timedelta(microseconds=1)
    if size is PointSize.MONTH:
        months = (last.year - first.year) * 12 + last.month - first.month
        return [add_months(first, month) for month in range(months + 1)]
    unit = HOUR if size is PointSize.HOUR else DAY
    return [first + unit * number for number in range((last - first) // unit + 1)]


def unit_start(instant: Instant, size: PointSize) -> Instant:
    """The beginning of the hour, day or month that an instant lies in."""
    hour = instant.replace(minute=0, second=0, microsecond=0)
    match size:
        case PointSize.HOUR:
            return hour
        case PointSize.DAY:
            return hour.replace(hour=0)
        case PointSize.MONTH:
            return hour.replace(day=1, hour=0)


def _cut(start: Instant, end: Instant, grains: tuple[Grain, ...]) -> list[Stretch]:
    if start == end:
        return []
    if not grains:
        return [Stretch(Grain.INSTANT, start, end)]
    grain, *finer = grains
    unit, size = LENGTHS[grain], PointSize(grain)
    before = unit_start(start, size)
    # Compared by length: the last unit of the calendar has no end that could be written.
    after = before + unit if end - before >= unit else end
    first = start if before == start else after
    last = max(first, unit_start(end, size))
    whole = [Stretch(grain, first, last)] if first < last else []
    return [*_cut(start, first, tuple(finer)), *whole, *_cut(last, end, tuple(finer))]
