"""Events on their way to subscribers: from the commit to another process, and to many that must miss nothing.

The service is the command, in a process of its own; so are writers and subscribers. All of them read the machine's one
monotonic clock. The commit is when the writer knows of it, before it answers anybody.
"""

import signal
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import NamedTuple

import httpx

from ledger.store.database import Database, Role
from ledger.store.migrate import migrate
from ledger.store.sql import statement
from projections.windows import log_head
from scripts.benchmark.measure import Measurement, Row, Target, progress
from scripts.benchmark.news import by_notification, by_socket
from scripts.benchmark.places import Place
from scripts.benchmark.processes import KEY, Service, beside, write_at_once, write_steadily
from scripts.benchmark.processors import Meter
from scripts.benchmark.report import Section
from scripts.benchmark.subscribers import Seen, Source, subscribe
from service.feed.messages import EVERYTHING, message_of
from service.feed.pages import Log

PER_SECOND = 500
P50_MS_MAX, P99_MS_MAX = 5.0, 50.0
POOLS = 64
SOME, MANY = 50, 200
"""Subscribers: beside the one that is measured; and at once, while the service is restarted."""
CLIENT_PROCESSES = WRITER_PROCESSES = 4
CALLERS = 8
"""Of each of those writers."""
LOOK_EVERY_SECONDS = 0.02
PAGE_EVENTS = 1000


class Crowd(NamedTuple):
    """What many subscribers saw while the service was restarted; seconds, bytes."""

    events: int
    subscribers: int
    lost: int
    doubled: int
    reordered: int
    reconnects: int
    written_per_second: float
    delivered_per_second: float
    last_had_it_after_seconds: float
    service_memory_bytes_max: int
    service_cpu_seconds: float

    @property
    def whole(self) -> bool:
        return self.lost == self.doubled == self.reordered == 0


BY_NOTIFICATION = "a row by NOTIFY, LISTEN, SELECT"
TO_ONE = "an event to 1 subscriber"


def measure_events(place: Place, runs: int, seconds: float, crowd_events: int | None) -> Section:
    """Deliveries; with so many events for a crowd, also many subscribers, and the log by pages."""
    database = place.database()
    migrate(database)
    rows = _rows(_deliveries(database, place.postmaster, runs, seconds))
    title, about = "Commit to subscriber", f"{PER_SECOND} events a second. Python is the service's process."
    if crowd_events is None:
        return Section("events", title, about, rows)
    crowd = _crowd(database, crowd_events)
    progress("the log by pages")
    pages, encoding = _pages(database), _encoding(database)
    return Section(
        "events",
        title,
        about,
        rows,
        more=_more(crowd, pages, encoding),
        data={
            "crowd": crowd._asdict(),
            "pages": {"events": pages.count, "per_second": pages.per_second},
            "encoding_us": 1000 * encoding.percentile_ms(0.5),
        },
        faults=[] if crowd.whole else ["events lost, doubled or reordered"],
    )


def _deliveries(database: Database, postmaster: int | None, runs: int, seconds: float) -> dict[str, list[Measurement]]:
    meter = Meter(postmaster)
    plan: dict[str, Callable[[], Measurement]] = {
        "there and back by loopback TCP": lambda: meter.measure(partial(by_socket, PER_SECOND, seconds)),
        BY_NOTIFICATION: lambda: meter.measure(partial(by_notification, database, PER_SECOND, seconds)),
        TO_ONE: lambda: _delivery(database, postmaster, 1, seconds),
        f"an event to {SOME} subscribers": lambda: _delivery(database, postmaster, SOME, seconds),
    }
    measured: dict[str, list[Measurement]] = {name: [] for name in plan}
    for run in range(runs):
        for name, measure in plan.items():
            progress(f"run {run + 1} of {runs}: {name}")
            measured[name].append(measure())
    return measured


def _rows(measured: dict[str, list[Measurement]]) -> list[Row]:
    notified = [run.percentile_ms(0.50) for run in measured[BY_NOTIFICATION]]
    rows = []
    for name, runs in measured.items():
        beside = {
            "max ms": [run.percentile_ms(1.0) for run in runs],
            "p50 to that of NOTIFY": [
                run.percentile_ms(0.50) / other for run, other in zip(runs, notified, strict=True)
            ],
        }
        met = [run.percentile_ms(0.50) <= P50_MS_MAX and run.percentile_ms(0.99) <= P99_MS_MAX for run in runs]
        must = Target(f"{P50_MS_MAX:.0f} / {P99_MS_MAX:.0f} ms", met) if name == TO_ONE else None
        rows.append(Row(name, runs, must, beside=beside))
    return rows


def _delivery(database: Database, postmaster: int | None, subscribers: int, seconds: float) -> Measurement:
    """From an event's commit until a subscriber has it; of all subscribers and events."""
    count = int(PER_SECOND * seconds)
    with Service(database) as service, beside(write_steadily, database, POOLS, PER_SECOND, seconds) as writer:
        writer.recv()
        after = _head(database)
        source = Source(service.port, KEY, after, after + count)
        with beside(subscribe, source, subscribers, True) as clients:
            clients.recv()

            def deliver() -> Measurement:
                writer.send("go")
                return _seen(writer.recv(), clients.recv())

            return Meter(postmaster, python=service.seconds).measure(deliver)


def _seen(committed: Sequence[int], all_seen: Sequence[Seen]) -> Measurement:
    """From when each event was committed to when each subscriber had it, in ns of the machine's monotonic clock."""
    latencies = []
    for seen in all_seen:
        assert len(seen.arrivals) == len(committed), seen
        latencies += [(there - here) / 1e9 for here, there in zip(committed, seen.arrivals, strict=True)]
    return Measurement(len(committed), (committed[-1] - committed[0]) / 1e9, latencies)


def _crowd(database: Database, events: int) -> Crowd:
    """Many subscribers while some processes write; in the middle the service is ended, and later killed."""
    progress(f"{MANY} subscribers while {WRITER_PROCESSES} processes write {events:,} events")
    with ExitStack() as stack:
        service = stack.enter_context(Service(database))
        debits = events // WRITER_PROCESSES
        writers = [
            stack.enter_context(beside(write_at_once, database, POOLS // WRITER_PROCESSES, CALLERS, debits))
            for _ in range(WRITER_PROCESSES)
        ]
        for writer in writers:
            writer.recv()
        after = _head(database)
        source = Source(service.port, KEY, after, after + debits * WRITER_PROCESSES)
        clients = [
            stack.enter_context(beside(subscribe, source, MANY // CLIENT_PROCESSES)) for _ in range(CLIENT_PROCESSES)
        ]
        for client in clients:
            client.recv()
        begun = time.monotonic_ns()
        for writer in writers:
            writer.send("go")
        for number, place in ((signal.SIGTERM, 1), (signal.SIGKILL, 2)):
            _wait_for(database, after + events * place // 3)
            progress(f"{number.name} at position {_head(database):,}")
            service.end(number)
            service.start()
        written = max(writer.recv() for writer in writers)
        progress("all is written")
        seen: list[Seen] = [each for client in clients for each in client.recv()]
        service.end()
        ended = max(each.ended_at for each in seen)
        count = debits * WRITER_PROCESSES
        return Crowd(
            events=count,
            subscribers=len(seen),
            lost=sum(len(each.missing) for each in seen),
            doubled=sum(each.doubled for each in seen),
            reordered=sum(each.reordered for each in seen),
            reconnects=sum(each.connections - 1 for each in seen),
            written_per_second=count / (written - begun) * 1e9,
            delivered_per_second=count * len(seen) / (ended - begun) * 1e9,
            last_had_it_after_seconds=(ended - written) / 1e9,
            service_memory_bytes_max=service.memory_bytes_max,
            service_cpu_seconds=service.cpu_seconds,
        )


def _pages(database: Database) -> Measurement:
    """The whole log, page by page, through the service."""
    latencies, count = [], 0
    headers = {"X-API-KEY": KEY}
    with Service(database) as service, httpx.Client(base_url=service.url, headers=headers) as http:
        service.wait_for_read_models()
        asked = f"/v1/events?limit={PAGE_EVENTS}"
        caught_up = False
        while not caught_up:
            begun = time.perf_counter()
            answer = http.get(asked).raise_for_status()
            latencies.append(time.perf_counter() - begun)
            count += answer.content.count(b'{"specversion":')
            asked = answer.links["next"]["url"]
            caught_up = answer.headers["X-Ledger-Caught-Up"] == "true"
    return Measurement(count, sum(latencies), latencies)


def _encoding(database: Database) -> Measurement:
    """From a row to a message, in this process; rows of the end of the log."""
    pages = Log()
    with database.connect(Role.READER) as connection:
        log, head = pages.look(connection)
        wanted = {name: list(each) for name, each in EVERYTHING._asdict().items()}
        bounds = {"after": max(0, head - 10 * PAGE_EVENTS), "until": head, "limit": None}
        rows = connection.execute(statement("service", "queries/feed/events.sql"), bounds | wanted).fetchall()
    latencies = []
    for row in rows:
        begun = time.perf_counter()
        message_of(row, log)
        latencies.append(time.perf_counter() - begun)
    return Measurement(len(latencies), sum(latencies), latencies)


def _wait_for(database: Database, position: int) -> None:
    with database.connect(Role.READER) as connection:
        while log_head(connection) < position:
            time.sleep(LOOK_EVERY_SECONDS)


def _head(database: Database) -> int:
    with database.connect(Role.READER) as connection:
        return log_head(connection)


def _more(crowd: Crowd, pages: Measurement, encoding: Measurement) -> str:
    lines = [
        f"{crowd.subscribers} subscribers at once while {WRITER_PROCESSES} processes wrote {crowd.events:,} events "
        f"({crowd.written_per_second:,.0f} a second) and the service was ended once and killed once:",
        "",
        "| lost | doubled | reordered | reconnects | delivered/s | the last had it all after | memory | CPU |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|",
        f"| {crowd.lost} | {crowd.doubled} | {crowd.reordered} | {crowd.reconnects} "
        f"| {crowd.delivered_per_second:,.0f} | {crowd.last_had_it_after_seconds:.1f} s "
        f"| {crowd.service_memory_bytes_max / 2**20:.0f} MiB | {crowd.service_cpu_seconds:.0f} s |",
        "",
        f"By pages of {PAGE_EVENTS:,}: {pages.count:,} events, {pages.per_second:,.0f} a second; a message "
        f"is made of its row in {1000 * encoding.percentile_ms(0.5):.1f} µs.",
    ]
    return "\n".join(lines)
