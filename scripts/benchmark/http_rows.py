"""The section of HTTP: debits through the doors of one service process, as a user has it, beside its barest answer.

The service is the command: it checks keys, logs each request, follows the log and folds every read model meanwhile.
Who asks is a process of its own. What a debit costs the service includes folding it, however late.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection
from urllib.parse import urlsplit

import uvloop

from scripts.benchmark import http_load
from scripts.benchmark.debits import Pools
from scripts.benchmark.measure import Measurement, Row, at_least, progress, ratios
from scripts.benchmark.places import Place
from scripts.benchmark.processes import KEY, Service, beside, beside_seconds
from scripts.benchmark.processors import Meter, children_seconds
from scripts.benchmark.report import Section
from scripts.benchmark.yardsticks import insert_one_row
from service.bootstrap import open_ledger

HOLDERS = 64
CONNECTIONS, CONNECTIONS_OF_LISTS = 64, 4
LENGTH = 1_000
LISTS_PER_SECOND = 15
"""Lists in a run, for each second that it should take: a service that keeps its must is quicker."""
BY_INSERT = "INSERT of one row, 1 connection"
BARE = f"GET /livez, {CONNECTIONS} connections"
SINGLE = f"POST /v1/debits, {CONNECTIONS} connections"
ALONE = "POST /v1/debits, 1 connection"
BATCHES = f"POST /v1/debits:batch, {LENGTH:,} debits each, {CONNECTIONS_OF_LISTS} connections"
CONSUME = f"consumeCredits, {CONNECTIONS} connections"
CONSUME_MANY = f"consumeCreditsAsync, {LENGTH:,} debits each, {CONNECTIONS_OF_LISTS} connections"
MUST = {SINGLE: 1_500, BATCHES: 15_000}
"""Debits a second."""


def measure_http(place: Place, runs: int, seconds: float) -> Section:
    """Every row once in every run; each begins when what was written before is folded."""
    database = place.database()
    with open_ledger(place.dsn, schema=place.schema, following=False) as running:
        holders = Pools(running.ledger, HOLDERS).holders
    with Service(database) as service:
        meter = Meter(place.postmaster, python=service.seconds, client=beside_seconds)
        plan = _plan(service, holders, seconds)
        measured: dict[str, list[Measurement]] = {name: [] for name in (BY_INSERT, *plan)}
        for run in range(runs):
            progress(f"run {run + 1} of {runs}: {BY_INSERT}")
            insert = partial(insert_one_row, database, 1, seconds)
            measured[BY_INSERT].append(Meter(place.postmaster, client=children_seconds).measure(insert))
            for name, work in plan.items():
                progress(f"run {run + 1} of {runs}: {name}")
                measured[name].append(meter.measure(partial(_folded, service, work)))
    return Section(
        "http",
        "HTTP",
        "One process of `credit-ledger serve` with nothing switched off: it follows the log, folds the read models and "
        "logs every request. Python is the service's process, folding included; the client is the one that asks.",
        [_row(name, measured) for name in measured],
    )


def _plan(service: Service, holders: Sequence[str], seconds: float) -> dict[str, Callable[[], Measurement]]:
    url = service.url
    lists = max(1, round(LISTS_PER_SECOND * seconds))
    singles = (url, KEY, holders, CONNECTIONS, seconds)
    many = (url, KEY, holders, LENGTH, CONNECTIONS_OF_LISTS, lists)
    return {
        BARE: partial(bare_answers, url, CONNECTIONS, seconds),
        ALONE: partial(http_load.single_debits, url, KEY, holders, 1, seconds),
        SINGLE: partial(http_load.single_debits, *singles),
        BATCHES: partial(http_load.batches, *many),
        CONSUME: partial(http_load.graphql_singles, *singles),
        CONSUME_MANY: partial(http_load.graphql_lists, *many),
    }


def _folded(service: Service, work: Callable[[], Measurement]) -> Measurement:
    done = work()
    service.wait_for_read_models()
    return done


def _row(name: str, measured: dict[str, list[Measurement]]) -> Row:
    runs = measured[name]
    must = at_least((run.per_second for run in runs), MUST[name]) if name in MUST else None
    beside = {"of GET /livez": ratios(runs, measured[BARE]), "of one-row INSERT": ratios(runs, measured[BY_INSERT])}
    return Row(name, runs, must, beside=beside)


def bare_answers(url: str, connections: int, seconds: float) -> Measurement:
    """The yardstick: the same client asks the service for the answer that does least."""
    with beside(_ask_for_bare_answers, url, connections, seconds) as pipe:
        done: Measurement = pipe.recv()
        return done


def _ask_for_bare_answers(pipe: Connection, url: str, connections: int, seconds: float) -> None:
    pipe.send(uvloop.run(_bare_answers(url, connections, seconds)))


async def _bare_answers(url: str, connections: int, seconds: float) -> Measurement:
    place = urlsplit(url)
    host, port = place.hostname or "", place.port or 80
    request = f"GET /livez HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode()
    loop = asyncio.get_running_loop()
    opened = [(await loop.create_connection(http_load.Caller, host, port))[1] for _ in range(connections)]
    latencies: list[float] = []
    started = time.perf_counter()

    async def call(caller: http_load.Caller) -> None:
        while (begun := time.perf_counter()) < started + seconds:
            await caller.ask(request)
            latencies.append(time.perf_counter() - begun)

    await asyncio.gather(*map(call, opened))
    taken = time.perf_counter() - started
    for caller in opened:
        caller.close()
    return Measurement(len(latencies), taken, latencies)
