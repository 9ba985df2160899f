"""Where the log has a holder's events: in stretches, so that no question about many of them takes long."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from projections.read_model import ENTRIES
from projections.reading import Reader
from projections.reports.as_of import report_sql

LOOK_UP_EVENTS = 10
"""To look an event up by its position costs as much as to read so many that follow one another (measured)."""


class Stretch(NamedTuple):
    """The log after a position and up to another; `positions` are those to look up there, None: it is read whole."""

    after: int
    until: int
    positions: list[int] | None = None


def log_stretches(after: int, until: int, events_max: int, *, newest_first: bool) -> Iterator[Stretch]:
    """All of the log, so many events at a time."""
    begins = range(after, until, events_max)
    for begin in reversed(begins) if newest_first else begins:
        yield Stretch(begin, min(begin + events_max, until))


def holder_stretches(
    reader: Reader, wanted: Mapping[str, Any], after: int, until: int, events_max: int, *, newest_first: bool
) -> Iterator[Stretch]:
    """Those with the events of a holder; to read one costs at most what `events_max` events of the log do.

    Where a tenth of the log is the holder's, it is read whole. Refuses: PositionNotReached.
    """
    look_ups_max = max(1, events_max // LOOK_UP_EVENTS)
    for places in _places(reader, wanted, after, until, events_max, newest_first=newest_first):
        for first in range(0, len(places), look_ups_max):
            some = places[first : first + look_ups_max]
            if newest_first:
                stretch = Stretch(some[-1] - 1, until, some)
                until = stretch.after
            else:
                stretch = Stretch(after, some[-1], some)
                after = stretch.until
            dense = len(some) * LOOK_UP_EVENTS >= stretch.until - stretch.after
            yield stretch._replace(positions=None) if dense else stretch


def _places(
    reader: Reader, wanted: Mapping[str, Any], after: int, until: int, limit: int, *, newest_first: bool
) -> Iterator[list[int]]:
    with reader.snapshot((ENTRIES,), at_least=until):
        pass  # it is reached from here on: no page waits for it again
    text, bounds = report_sql("places"), {"newest_first": newest_first, "limit": limit}
    while after < until:
        with reader.at_once((ENTRIES,), until, at_least=until) as snapshot:
            found = snapshot.one(ENTRIES, text, {**wanted, **bounds, "after": after, "until": until})
        assert found is not None
        places: list[int] = found["positions"] or []
        yield places
        if len(places) < limit:
            return
        after, until = (after, places[-1] - 1) if newest_first else (places[-1], until)
