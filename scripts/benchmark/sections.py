"""Which sections there are, how large each is, and what each needs to be measured."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from scripts.benchmark.places import Place
from scripts.benchmark.report import Section

ORDER = ("debits", "http", "events", "rebuild", "rules", "replay")
WHOLE = ("debits", "http", "events", "rebuild", "rules")
"""What one call without a name measures."""
EVENTS = {"events": 50_000, "rebuild": 5_000_000, "rules": 10_000_000, "replay": 2_000_000}
"""Of a section that is called by its name; `events` has them for its crowd of subscribers."""
EVENTS_OF_WHOLE = EVENTS | {"rebuild": 3_000_000}
EVENTS_OF_QUICK = {"events": 4_000, "rebuild": 100_000, "rules": 100_000, "replay": 100_000}
HISTORY, HISTORY_OF_QUICK = 1_000_000, 10_000
RUNS, RUNS_OF_QUICK = 3, 1
SECONDS, SECONDS_OF_QUICK = 3.0, 0.5


@dataclass(frozen=True)
class Size:
    """How much is measured. `seconds` is the length of a run of one debit row; rows of others have a multiple of it."""

    runs: int
    seconds: float
    history: int
    events: Mapping[str, int]
    alone: bool
    """Called by its name: with what takes long, which the whole call leaves out."""


def size(
    *, alone: bool, quick: bool, runs: int | None, seconds: float | None, history: int | None, events: int | None
) -> Size:
    """The defaults of a whole call, of one section, or of a smoke run, where nothing else was asked for."""
    counts = EVENTS_OF_QUICK if quick else EVENTS if alone else EVENTS_OF_WHOLE
    return Size(
        runs or (RUNS_OF_QUICK if quick else RUNS),
        seconds or (SECONDS_OF_QUICK if quick else SECONDS),
        history or (HISTORY_OF_QUICK if quick else HISTORY),
        counts if events is None else dict.fromkeys(counts, events),
        alone,
    )


def measure(name: str, place: Place, size: Size) -> Section:
    """Imports only what is measured: a process beside this one imports as much, and is waited for."""
    return _MEASURES[name](place, size)


def _debits(place: Place, size: Size) -> Section:
    from scripts.benchmark.debit_rows import measure_debits

    return measure_debits(place, size.runs, size.seconds, size.history)


def _http(place: Place, size: Size) -> Section:
    from scripts.benchmark.http_rows import measure_http

    return measure_http(place, size.runs, size.seconds)


def _events(place: Place, size: Size) -> Section:
    from scripts.benchmark.events import measure_events

    return measure_events(place, size.runs, 5 * size.seconds, size.events["events"] if size.alone else None)


def _rebuild(place: Place, size: Size) -> Section:
    from scripts.benchmark.rebuild import measure_rebuilds

    return measure_rebuilds(place, size.events["rebuild"], size.runs, 10 * size.seconds if size.alone else None)


def _rules(place: Place, size: Size) -> Section:
    from scripts.benchmark.rules import measure_rules

    return measure_rules(place, size.events["rules"], size.runs)


def _replay(place: Place, size: Size) -> Section:
    from scripts.benchmark.replay import measure_replays

    return measure_replays(place, size.events["replay"], size.runs)


_MEASURES: Mapping[str, Callable[[Place, Size], Section]] = dict(
    zip(ORDER, (_debits, _http, _events, _rebuild, _rules, _replay), strict=True)
)
