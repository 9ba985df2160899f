"""The tables beside the log follow from the log alone, whatever happened."""

from typing import Any

from hypothesis import HealthCheck, Phase, given, settings

from ledger.application import BlockingLedger, CreditLedger
from ledger.domain.execution_credit import ExecutionCredit
from ledger.domain.instants import FOREVER
from ledger.domain.pool import Pool
from ledger.domain.values import PoolKey
from ledger.store.clock import settable_clock
from ledger.store.database import Database, Role
from ledger.store.mapper import event_of_row
from ledger.store.migrate import migrate
from ledger.store.pools import load_pools
from tests.conftest import Hands, drop
from tests.history import Play, histories


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
                pools.setdefault(event.pool, Pool(event.pool)).evolve(event)
            open_rows = connection.execute("SELECT stream_id, lot, definition_version FROM open_lots").fetchall()
            due_rows = connection.execute("SELECT stream_id, act, due_at FROM due").fetchall()
            claims = connection.execute("SELECT kind, stream_id FROM claims").fetchall()
            loaded = load_pools(connection, list(pools))
    finally:
        drop(database)
    assert by_stream(open_rows) == {stream: (lot, version) for stream, lot, version, _, _ in told(pools)}
    assert by_stream(due_rows) == {stream: (act, end) for stream, _, _, act, end in told(pools) if end != FOREVER}
    live = {stream for stream, _, version, _, _ in told(pools) if version is not None}
    assert {row["stream_id"] for row in claims if row["kind"] == "LIVE_EXECUTION_CREDIT"} == live
    for key, pool in pools.items():
        assert loaded[key].balance == pool.balance
        assert [(lot.lot_id, lot.balance, lot.burn_down_key) for lot in loaded[key].lots] == [
            (lot.lot_id, lot.balance, lot.burn_down_key) for lot in pool.lots
        ]
        assert all(loaded[key].version(stream) == pool.version(stream) for stream in loaded[key].aggregates)


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


def by_stream(rows: list[dict[str, Any]]) -> dict[str, tuple[Any, ...]]:
    return {row["stream_id"]: tuple(value for name, value in row.items() if name != "stream_id") for row in rows}
