"""The row of allocation rules: 300 of them with their usage in any window, over few events and over many.

Each answer is asked for through the REST door, in this process. The uses are written to the log as rows, without
commands: what is measured is reading.
"""

import asyncio
import json
import random
import secrets
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from psycopg import sql

from ledger.application import DefineAllocationRule, Receipt
from ledger.store.clock import settable_clock
from ledger.store.database import Role
from projections.read_model import RULE_MODELS
from projections.reading import CONNECTIONS_MAX
from projections.runner import advance
from scripts.benchmark.measure import progress
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


class Asked(NamedTuple):
    """A window, and the milliseconds that its answers took over few events and over many."""

    name: str
    few: Sequence[float]
    many: Sequence[float]

    @property
    def ratio(self) -> float:
        return statistics.median(self.many) / statistics.median(self.few)


def measure_rules(dsn: str | None, folder: Path | None, events: int, times: int) -> list[Asked]:
    """The time of one answer for each of some windows, asked of the two ledgers in turns."""
    with ExitStack() as stack:
        if dsn is None:
            from service.embedded_postgres import EmbeddedPostgres

            assert folder is not None
            dsn = stack.enter_context(EmbeddedPostgres(folder)).dsn()
        few = stack.enter_context(_door(dsn, FEW_EVENTS))
        many = stack.enter_context(_door(dsn, events))
        return asyncio.run(_ask(few, many, times))


async def _ask(few: Any, many: Any, times: int) -> list[Asked]:
    asked = []
    async with _client(few) as of_few, _client(many) as of_many:
        for name, time_range in _windows():
            taken: dict[httpx.AsyncClient, list[float]] = {of_few: [], of_many: []}
            for turn in range(times + 1):
                for client in (of_few, of_many) if turn % 2 else (of_many, of_few):
                    begun = time.perf_counter()
                    answer = await client.post(RULES, json={"timeRange": time_range})
                    taken[client].append(1000 * (time.perf_counter() - begun))
                    rules = answer.json()["rules"]
                    assert len(rules) == RULES_THERE_ARE, answer.text
                    assert "x-ledger-stale" not in answer.headers
            asked.append(Asked(name, taken[of_few][1:], taken[of_many][1:]))  # the first one warms up
    return asked


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
def _door(dsn: str, events: int) -> Iterator[Any]:
    """The REST door of a ledger with so many uses, all folded into what rules are read from."""
    with ExitStack() as stack:
        schema = f"bench_{secrets.token_hex(4)}"
        running = stack.enter_context(open_ledger(dsn, schema=schema, clock=settable_clock(), following=False))
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


def as_markdown(asked: Sequence[Asked], events: int) -> str:
    lines = [
        f"{RULES_THERE_ARE} rules with usage over {SETS} sets of account groups, {DAYS} days; medians in ms.",
        "",
        f"| window | {FEW_EVENTS:,} events | {events:,} events | ratio | |",
        "|---|--:|--:|--:|---|",
    ]
    for each in asked:
        few, many = statistics.median(each.few), statistics.median(each.many)
        lines.append(f"| {each.name} | {few:.1f} | {many:.1f} | {each.ratio:.2f} | {_verdict(each.ratio)} |")
    few, many = (statistics.median(took for each in asked for took in getattr(each, side)) for side in ("few", "many"))
    lines.append(f"| all of them | {few:.1f} | {many:.1f} | {many / few:.2f} | {_verdict(many / few)} |")
    return "\n".join(lines)


def as_json(asked: Sequence[Asked], events: int) -> str:
    return json.dumps(
        {"few_events": FEW_EVENTS, "many_events": events, "ratio_max": RATIO_MAX, "windows": [
            {"name": each.name, "few_ms": each.few, "many_ms": each.many, "ratio": each.ratio} for each in asked
        ]},
        indent=2,
    )  # fmt: skip


def _verdict(ratio: float) -> str:
    return "must" if ratio <= RATIO_MAX else "below must"
