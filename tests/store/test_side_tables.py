"""The tables beside the log follow from the log alone, whatever happened."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings

from ledger.application import BlockingLedger, CreditLedger
from ledger.domain.events import (
    AllocationRuleRemoved,
    AutoRechargeDefined,
    ExecutionCreditDefined,
    Granted,
    GrantScheduleDefined,
    LedgerEvent,
    RuleEvent,
    SchedulePlan,
    ThresholdReached,
)
from ledger.domain.execution_credit import ExecutionCredit
from ledger.domain.instants import FOREVER, Instant
from ledger.domain.pool import Pool
from ledger.domain.values import RULES, PoolKey
from ledger.store.clock import settable_clock
from ledger.store.database import Database, Role
from ledger.store.mapper import event_of_row
from ledger.store.migrate import migrate
from ledger.store.pools import load_pools
from tests.conftest import Hands, drop
from tests.history import Play, histories
from tests.laws.naive_schedules import NaiveSchedule


@settings(max_examples=6, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=histories)
def test_open_lots_and_due_follow_from_the_log(server_dsn: str, acts: list[Any]) -> None:
    database = Database(server_dsn, "t_side")
    migrate(database)
    try:
        with CreditLedger(database, clock=settable_clock()) as ledger:
            Play(BlockingLedger(ledger), Hands(database)).all(acts)
        with database.connect(Role.WRITER) as connection:
            pools: dict[PoolKey, Pool] = {}
            for row in connection.execute("SELECT * FROM events ORDER BY position"):
                event = event_of_row(row)
                if event.pool != RULES:
                    pools.setdefault(event.pool, Pool(event.pool)).evolve(event)
            open_rows = connection.execute("SELECT stream_id, lot, definition_version FROM open_lots").fetchall()
            due_rows = connection.execute("SELECT stream_id, act, due_at FROM due").fetchall()
            claims = connection.execute("SELECT kind, value, stream_id FROM claims").fetchall()
            loaded = load_pools(connection, list(pools))
            log = [event_of_row(row) for row in connection.execute("SELECT * FROM events ORDER BY position")]
    finally:
        drop(database)
    assert by_stream(open_rows) == {stream: (lot, version) for stream, lot, version, _, _ in told(pools)}
    due = {stream: (act, end) for stream, _, _, act, end in told(pools) if end != FOREVER}
    assert len(due_rows) == len(by_stream(due_rows))
    assert by_stream(due_rows) == due | {stream: ("SCHEDULE", begin) for stream, begin in next_parts(log).items()}
    live = {stream for stream, _, version, _, _ in told(pools) if version is not None}
    assert {row["stream_id"] for row in claims if row["kind"] == "LIVE_EXECUTION_CREDIT"} == live
    others = [row for row in claims if row["kind"] != "LIVE_EXECUTION_CREDIT"]
    assert sorted((row["kind"], row["value"], row["stream_id"]) for row in others) == sorted(claims_of(log))
    for key, pool in pools.items():
        assert loaded[key].balance == pool.balance
        assert [(lot.lot_id, lot.balance, lot.burn_down_key) for lot in loaded[key].lots] == [
            (lot.lot_id, lot.balance, lot.burn_down_key) for lot in pool.lots
        ]
        assert all(loaded[key].version(stream) == pool.version(stream) for stream in loaded[key].aggregates)
        assert definitions(loaded[key]) == definitions(pool)
        assert loaded[key].schedules == pool.schedules
        assert [(lot.details, lot.texts) for lot in loaded[key].lots] == [(lot.details, lot.texts) for lot in pool.lots]


def told(pools: dict[PoolKey, Pool]) -> list[tuple[Any, ...]]:
    """What may still pay, told by the domain from the events alone."""
    rows: list[tuple[Any, ...]] = []
    for pool in pools.values():
        for aggregate in pool.aggregates.values():
            if isinstance(aggregate, ExecutionCredit):
                if aggregate.live:
                    lot = aggregate.present_lot
                    version = aggregate.definition_version
                    rows.append((aggregate.stream_id, lot.lot_id, version, "RENEWAL", lot.expires_at))
            else:
                (lot,) = aggregate.lots.values()
                if lot.balance > 0:
                    rows.append((aggregate.stream_id, lot.lot_id, None, "EXPIRY", lot.expires_at))
    return rows


def definitions(pool: Pool) -> dict[str, ExecutionCreditDefined]:
    """What each living execution credit is at present."""
    return {
        stream: credit.definition
        for stream, credit in pool.aggregates.items()
        if isinstance(credit, ExecutionCredit) and credit.live
    }


def next_parts(log: Sequence[LedgerEvent]) -> dict[str, Instant]:
    """When each schedule that has not ended grants next: its anchor, stepped by what it has granted so far."""
    plans: dict[str, SchedulePlan] = {}
    parts: dict[str, int] = {}
    for event in log:
        if isinstance(event, GrantScheduleDefined):
            plans[event.originator_id] = event.plan
            parts.setdefault(event.originator_id, event.plan.first_part)
        elif isinstance(event, Granted) and event.grant is not None and event.grant.scheduled is not None:
            parts[event.grant.scheduled.schedule_id] = event.grant.scheduled.part + 1
    return {
        stream: NaiveSchedule(plan, parts[stream]).begins(parts[stream])
        for stream, plan in plans.items()
        if plan.ended_at is None
    }


def claims_of(log: Sequence[LedgerEvent]) -> Iterator[tuple[str, str, str]]:
    """What each grant, each automatic recharge and each allocation rule holds alone, told from the log."""
    rules = {event.originator_id: event for event in log if isinstance(event, RuleEvent)}
    removed = {event.originator_id for event in log if isinstance(event, AllocationRuleRemoved)}
    for stream, last in rules.items():
        if stream not in removed:
            yield "RULE_NAME", last.rule.name, stream
    for event in log:
        if isinstance(event, ThresholdReached):
            yield "THRESHOLD", json.dumps([event.originator_id, event.month]), event.originator_id
        if isinstance(event, AutoRechargeDefined) and event.originator_version == 1:
            yield "AUTO_RECHARGE", json.dumps([event.pool.holder, event.pool.currency]), event.originator_id
        if not isinstance(event, Granted) or event.grant is None:
            continue
        grant, stream = event.grant, event.originator_id
        yield "GRANT_READABLE_ID", grant.readable_id, stream
        if grant.scheduled is not None:
            yield "SCHEDULED_PART", json.dumps([grant.scheduled.schedule_id, grant.scheduled.part]), stream
        if grant.rolled_over_from is not None:
            yield "ROLLED_OVER", grant.rolled_over_from.grant_id, stream
        if grant.recharge is not None:
            yield "RECHARGE", json.dumps([grant.recharge.configuration_id, grant.recharge.number]), stream


def by_stream(rows: list[dict[str, Any]]) -> dict[str, tuple[Any, ...]]:
    return {row["stream_id"]: tuple(value for name, value in row.items() if name != "stream_id") for row in rows}
