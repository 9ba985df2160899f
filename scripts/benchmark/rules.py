"""The row of allocation rules: 300 of them with their usage in any window, over few events and over many.

Each answer is asked for through the REST door, in this process. The uses are written to the log as rows, without
commands: what is measured is reading.
"""

import asyncio
import random
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from psycopg import sql

from ledger.application import DefineAllocationRule, Receipt
from ledger.store.clock import settable_clock
from ledger.store.database import Database, Role
from projections.read_model import RULE_MODELS
from projections.reading import CONNECTIONS_MAX
from projections.runner import advance
from scripts.benchmark.measure import Measurement, Row, at_most, merged, progress
from scripts.benchmark.places import Place
from scripts.benchmark.processors import Meter
from scripts.benchmark.report import Section
from service.app import build_app
from service.bootstrap import RunningLedger, open_ledger
from service.reads import Threads
from service.rest.rules import RULES
from service.server import parts_of
from service.settings import read_settings

FEW_EVENTS = 10_000
SETS, GROUPS, RULES_THERE_ARE = 200, 100, 300
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 30
END = BEGINNING + timedelta(days=DAYS, hours=11, minutes=29, seconds=31)
RATIO_MAX = 1.5
EVENTS_AT_ONCE = 500_000
WINDOW_EVENTS = 100_000
KEY = "the-key-of-the-benchmark"

USES = """
INSERT INTO events (
    position, transaction_last, stream_id, version, type, schema_version, transaction_id, recorded_at, actor_kind,
    actor_key, effective_at, use_at, cause, kind, holder, currency, grant_type, lot, amount, debit_id, account_groups,
    terms_version, lot_granted, lot_used, lot_balance, pool_balance, data
)
SELECT
    n, n, lot.id, n, 'ledger.debited', 1, debit.id, used.at, 'SYSTEM', 'bench', used.at, used.at, 'CONSUMED',
    'CREDIT_GRANT', 'bench', 'credits', 'PAID', lot.id, -1.25, debit.id, named.account_groups,
    1, 1e15, 1.25 * n, 1e15 - 1.25 * n, 1e15 - 1.25 * n, '{}'
FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
CROSS JOIN (SELECT '018f0000-0000-7000-8000-000000000001'::uuid AS id) AS lot
CROSS JOIN LATERAL (SELECT ('018f0000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid AS id) AS debit
CROSS JOIN LATERAL (SELECT %(beginning)s + %(length)s * (n / %(events)s::double precision) AS at) AS used
CROSS JOIN LATERAL (
    SELECT (%(sets)s::text[])[1 + n %% cardinality(%(sets)s::text[])]::text[] AS account_groups
) AS named
"""


ANSWERS = 31
"""Of each window and ledger, in each run."""


def measure_rules(place: Place, events: int, runs: int) -> Section:
    """The time of one answer for each of some windows, asked of the two ledgers in turns."""
    with ExitStack() as stack:
        few = stack.enter_context(_door(place.database("few"), FEW_EVENTS))
        many = stack.enter_context(_door(place.database("many"), events))
        asked = asyncio.run(_ask(few, many, Meter(place.postmaster), runs))
    all_of = [tuple(merged(each) for each in zip(*run, strict=True)) for run in zip(*asked.values(), strict=True)]
    asked["all of them"] = [(few, many) for few, many in all_of]
    return Section(
        "rules",
        "Rules with their usage",
        f"{RULES_THERE_ARE} rules with usage over {SETS} sets of account groups, {events:,} events in {DAYS} days; "
        f"beside them the same over {FEW_EVENTS:,} events, asked in turns. {ANSWERS} answers a run; the door and who "
        "asks are in one process.",
        [_row(name, answers) for name, answers in asked.items()],
        data={"few_events": FEW_EVENTS, "many_events": events, "few": {
            name: [{"p50_ms": few.percentile_ms(0.5), "p99_ms": few.percentile_ms(0.99)} for few, _ in answers]
            for name, answers in asked.items()
        }},
    )  # fmt: skip


Answers = tuple[Measurement, Measurement]
"""Of one run: over few events, and over many."""


def _row(name: str, answers: Sequence[Answers]) -> Row:
    few, many = ([statistics.median(run.latencies) for run in side] for side in zip(*answers, strict=True))
    ratio = [long / short for short, long in zip(few, many, strict=True)]
    beside = {f"ms over {FEW_EVENTS:,}": [1000 * each for each in few], "ratio": ratio}
    return Row(name, [run for _, run in answers], at_most(ratio, RATIO_MAX, f"{RATIO_MAX} times"), beside=beside)


async def _ask(few: Any, many: Any, meter: Meter, runs: int) -> dict[str, list[Answers]]:
    async with _client(few) as of_few, _client(many) as of_many:
        asked: dict[str, list[Answers]] = {name: [] for name, _ in _windows()}
        for run in range(runs):
            progress(f"run {run + 1} of {runs}: {len(asked)} windows")
            for name, time_range in _windows():
                for client in (of_few, of_many):
                    await _answer(client, time_range, meter)  # the first one warms up
                parts: dict[httpx.AsyncClient, list[Measurement]] = {of_few: [], of_many: []}
                for turn in range(ANSWERS):
                    for client in (of_few, of_many) if turn % 2 else (of_many, of_few):
                        parts[client].append(await _answer(client, time_range, meter))
                asked[name].append((merged(parts[of_few]), merged(parts[of_many])))
    return asked


async def _answer(client: httpx.AsyncClient, time_range: Mapping[str, Any], meter: Meter) -> Measurement:
    before = meter.read()
    begun = time.perf_counter()
    answer = await client.post(RULES, json={"timeRange": time_range})
    taken = time.perf_counter() - begun
    spent = meter.since(before)
    assert len(answer.json()["rules"]) == RULES_THERE_ARE, answer.text
    assert "x-ledger-stale" not in answer.headers
    return Measurement(1, taken, [taken], spent)


FARTHEST = timedelta(hours=11, minutes=25)
"""After the beginning of a day: as far as can be from every bucket that could be read instead."""


def _client(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://bench", headers={"X-API-KEY": KEY}, timeout=60
    )


def _windows() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every kind of range, and absolute ones whose both edges lie anywhere."""
    for unit in ("hour", "day", "week", "month", "year"):
        yield f"the last {unit}", {"type": "relative", "value": {"unit": unit, "amount": 1}}
    yield "this month to now", {"type": "to_now", "value": "month"}
    drawn = random.Random(1)
    for number in range(1, 7):
        edges = sorted(drawn.uniform(0, DAYS) for _ in range(2))
        start, end = ((BEGINNING + timedelta(days=edge)).timestamp() for edge in edges)
        value = {"startTime": int(1000 * start), "endTime": int(1000 * end)}
        yield f"absolute, {edges[1] - edges[0]:.1f} days, no. {number}", {"type": "absolute", "value": value}
    for days in (1, 17):
        start, end = ((BEGINNING + timedelta(days=day) + FARTHEST).timestamp() for day in (3, 3 + days))
        value = {"startTime": int(1000 * start), "endTime": int(1000 * end)}
        yield f"absolute, {days} days, the dearest edges", {"type": "absolute", "value": value}


@contextmanager
def _door(database: Database, events: int) -> Iterator[Any]:
    """The REST door of a ledger with so many uses, all folded into what rules are read from."""
    with ExitStack() as stack:
        running = stack.enter_context(
            open_ledger(database.dsn, schema=database.schema, clock=settable_clock(), following=False)
        )
        _write(running, events)
        threads = Threads(CONNECTIONS_MAX)
        stack.callback(threads.close)
        settings = read_settings({"LEDGER_RULE_REQUESTS_BURST": "1000000"})
        yield build_app(parts_of(running, settings, threads, KEY))


def _write(running: RunningLedger, events: int) -> None:
    drawn = random.Random(0)
    groups = [f"group-{number:03}" for number in range(GROUPS)]
    sets = {tuple(sorted(drawn.sample(groups, drawn.randint(1, 4)))) for _ in range(2 * SETS)}
    given = {
        "beginning": BEGINNING,
        "length": timedelta(days=DAYS),
        "events": events,
        "sets": ["{" + ",".join(each) + "}" for each in sorted(sets)[:SETS]],
    }
    with running.database.connect(Role.OWNER) as connection:
        for first in range(1, events + 1, EVENTS_AT_ONCE):
            last = min(first + EVENTS_AT_ONCE - 1, events)
            connection.execute(USES, given | {"first": first, "last": last})
            progress(f"{last:,} of {events:,} uses written")
    running.set_clock(END)
    rules = [
        DefineAllocationRule(
            name=f"rule {number:03}",
            account_groups=drawn.sample(groups, drawn.randint(1, 10)),
            allocated=drawn.randint(0, 10**6),
            alarm_threshold=drawn.randint(0, 100),
        )
        for number in range(RULES_THERE_ARE)
    ]
    assert all(isinstance(each, Receipt) for each in running.ledger.execute_many_blocking(rules))
    with running.database.connect(Role.PROJECTOR) as connection:
        for model in RULE_MODELS:
            begun = time.perf_counter()
            while advance(connection, model, window_events=WINDOW_EVENTS):
                pass
            progress(f"{model.name} folded in {time.perf_counter() - begun:.0f} s")
    with running.database.connect(Role.OWNER) as connection:
        connection.execute("VACUUM ANALYZE events")
        for model in RULE_MODELS:
            connection.execute(sql.SQL("VACUUM ANALYZE {}").format(model.table))
