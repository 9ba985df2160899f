"""Pages, filters and sums say the same as the rows they are made of, whatever the history and the instant."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ledger.application import BlockingLedger, ConsumeCredits, CreditLedger, InvoiceTold, Receipt, SettleDue
from ledger.domain.events import GrantChange, Movement
from ledger.domain.instants import FOREVER
from ledger.domain.values import InvoiceStatus, Kind, LotId, PoolKey
from ledger.store.clock import Clock, settable_clock
from ledger.store.database import Database, Role
from ledger.store.migrate import migrate
from ledger.store.sql import statement
from projections.entries.queries import (
    EntriesFilter,
    Entry,
    count_entries,
    page_of_entries,
    statement_of_pool,
)
from projections.lots.queries import (
    LotRow,
    LotsFilter,
    LotStatus,
    count_lots,
    grant_as_of,
    lots_by_id,
    lots_of_pool,
    names_of_grants,
    page_of_lots,
    usable_by_currency,
)
from projections.paging import Page, Window
from projections.read_model import ENTRIES, READ_MODELS
from projections.reading import Reader, Snapshot
from projections.registry import prepare
from projections.runner import advance
from projections.schedules.queries import schedules_of
from tests.conftest import Hands, drop
from tests.history import HOLDERS, Play, histories

GRANTS = Kind.CREDIT_GRANT


def forward(ask: Callable[[Window], Page[Any]], size: int, place: Callable[[Any], int]) -> list[Any]:
    """All items, page after page from the newest."""
    found: list[Any] = []
    page = ask(Window(size))
    assert not page.has_previous
    while True:
        found += page.rows
        if not page.has_next:
            return found
        page = ask(Window(size, below=place(found[-1])))
        assert page.has_previous


def backward(ask: Callable[[Window], Page[Any]], size: int, place: Callable[[Any], int]) -> list[Any]:
    """All items, page before page from the oldest."""
    found: list[Any] = []
    page = ask(Window(size, backward=True))
    assert not page.has_next
    while True:
        found = [*page.rows, *found]
        if not page.has_previous:
            return found
        page = ask(Window(size, above=place(found[0]), backward=True))
        assert page.has_next


def check_entries(snapshot: Snapshot, holder: str, size: int, types: tuple[str, ...] | None) -> None:
    pool = PoolKey(GRANTS, holder, "credits", None)
    whole = [entry for entry in statement_of_pool(snapshot, pool) if types is None or entry.type in types][::-1]
    for currency in ("credits", None):
        wanted = EntriesFilter(GRANTS, holder, None, currency, types)

        def ask(window: Window, wanted: EntriesFilter = wanted) -> Page[Entry]:
            return page_of_entries(snapshot, wanted, window)

        assert forward(ask, size, lambda entry: entry.position) == whole
        assert backward(ask, size, lambda entry: entry.position) == whole
        assert count_entries(snapshot, wanted) == len(whole)


def check_lots(snapshot: Snapshot, holder: str, size: int, status: LotStatus | None) -> None:
    rows = lots_of_pool(snapshot, PoolKey(GRANTS, holder, "credits", None))[::-1]
    wanted = LotsFilter(GRANTS, holder, None, None, status)
    whole = [row for row in rows if status is None or row.status(snapshot.now) is status]

    def ask(window: Window) -> Page[LotRow]:
        return page_of_lots(snapshot, wanted, window)

    assert forward(ask, size, lambda row: row.first_position) == whole
    assert backward(ask, size, lambda row: row.first_position) == whole
    assert count_lots(snapshot, wanted) == len(whole)


def check_sums(snapshot: Snapshot, holder: str) -> None:
    rows = lots_of_pool(snapshot, PoolKey(GRANTS, holder, "credits", None))
    found = usable_by_currency(snapshot, LotsFilter(GRANTS, holder))
    assert len(found) == (1 if rows else 0)
    for usable in found:
        now = snapshot.now
        lasting = [row for row in rows if row.status(now) in (LotStatus.ACTIVE, LotStatus.CONSUMED)]
        lasting = [row for row in lasting if row.effective_at <= now < (row.expires_at or FOREVER)]
        assert usable.granted == sum(row.granted for row in lasting)
        assert usable.used == sum(row.used for row in lasting)
        assert usable.available == sum(row.available(now) for row in rows) == usable.granted - usable.used
        waiting = [row for row in rows if row.balance and not row.awaiting_payment]
        instants = [instant for row in waiting for instant in (row.effective_at, row.expires_at)]
        instants += [schedule.next_grant_at(now) for schedule in schedules_of(snapshot, holder)]
        assert usable.valid_until == min((instant for instant in instants if instant and instant > now), default=None)


@settings(max_examples=6, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=histories, size=st.integers(1, 7), hours=st.integers(0, 48))
def test_lists_and_sums_agree_with_the_rows(server_dsn: str, acts: list[object], size: int, hours: int) -> None:
    database = Database(server_dsn, "t_lists")
    migrate(database)
    try:
        hands, clock = Hands(database), settable_clock()
        with (
            CreditLedger(database, clock=clock) as ledger,
            Reader(database, clock=clock) as reader,
            database.connect(Role.PROJECTOR) as connection,
        ):
            prepare(connection, database)
            Play(BlockingLedger(ledger), hands).all(acts)
            hands.set(hands.now + timedelta(hours=hours))  # what has fallen due since is not written yet
            for model in READ_MODELS:
                advance(connection, model)
            with reader.snapshot() as snapshot:
                for holder in HOLDERS:
                    check_entries(snapshot, holder, size, None)
                    check_entries(snapshot, holder, size, ("ledger.expired", "ledger.refunded"))
                    for status in (None, *LotStatus):
                        check_lots(snapshot, holder, size, status)
                    check_sums(snapshot, holder)
    finally:
        drop(database)


@pytest.fixture
def followed(books: BlockingLedger, database: Database, clock: Clock) -> Iterator[Snapshot]:
    """One holder's 3,000 movements, another's few."""
    books.issue_grant(holder="acme", currency="c", amount=10**6, display_name="g", grant_type="PAID")
    books.issue_grant(holder="few", currency="c", amount=10**6, display_name="g", grant_type="PAID")
    books.consume_many([ConsumeCredits(holder="acme", currency="c", amount=1) for _ in range(3000)])
    with Reader(database, clock=clock) as reader, database.connect(Role.PROJECTOR) as connection:
        prepare(connection, database)
        for model in READ_MODELS:
            advance(connection, model)
            connection.execute(model.sql("ANALYZE {table}"))
        with reader.snapshot() as snapshot:
            yield snapshot


def test_a_page_reads_the_ends_of_its_lists_alone(followed: Snapshot) -> None:
    whose = {"holder": "acme", "kind": GRANTS, "resource": "", "currency": None, "types": None}
    values = {**whose, **Window(20, below=2500).values()}
    text = ENTRIES.sql(statement("projections.entries", "page.sql"))
    plan = followed.connection.execute("EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF) " + text.as_string(), values)
    lines = [row["QUERY PLAN"] for row in plan]
    assert not [line for line in lines if "Seq Scan" in line], "\n".join(lines)
    most = max(int(float(line.split("actual rows=")[1].split()[0])) for line in lines if "actual rows=" in line)
    assert most <= 2 * 21, "\n".join(lines)


def test_a_grant_as_of_an_event_is_what_the_read_model_shows_once_it_has_that_event(
    database: Database, books: BlockingLedger, hands: Hands
) -> None:
    """Mutations answer from the log what reads show afterwards, whatever has happened to the grant."""
    pool = PoolKey(GRANTS, "acme", "c", None)
    with database.connect(Role.PROJECTOR) as connection, Reader(database, clock=settable_clock()) as reader:
        prepare(connection, database)

        def check(receipt: Receipt) -> Receipt:
            last = {LotId(one.originator_id): one for one in receipt.events if isinstance(one, Movement | GrantChange)}
            for model in READ_MODELS:
                while advance(connection, model):
                    pass
            with reader.snapshot() as snapshot:
                rows = lots_by_id(snapshot, list(last))
                assert {lot: grant_as_of(snapshot.connection, event) for lot, event in last.items()} == rows
                names = names_of_grants(snapshot.connection, [row.stream_id for row in rows.values()])
                assert names == {row.stream_id: row.readable_id for row in rows.values()}
            return receipt

        first = check(
            books.issue_grant(holder="acme", currency="c", amount=100, display_name="first", grant_type="PAID", cost=9)
        )
        grant = first.stream_id
        check(books.update_grant(grant=grant, priority=1, comment="why", expires_at=hands.now + timedelta(days=40)))
        used = check(books.consume(holder="acme", currency="c", amount=30))
        invoice = InvoiceTold(billing_id="in-1", status=InvoiceStatus.OPEN, total=9)
        check(books.record_grant_payment(grant=grant, collection="PROCESSING", invoice=invoice))
        check(books.mark_invoice_paid(grant=grant))
        check(books.refund(transaction_id=used.transaction_id, amount=10))
        check(books.void_grant(grant=grant))
        check(books.refund(transaction_id=used.transaction_id))
        check(
            books.create_grant_schedule(
                holder="acme", currency="c", display_name="plan", amount=10, billing_period="MONTH",
                cadence="MONTHLY", cost=5, rollover_max=3, rollover_periods=1,
            )
        )  # fmt: skip
        used = check(books.consume(holder="acme", currency="c", amount=5))
        hands.set(hands.now + timedelta(days=29))
        check(books.execute(SettleDue(due_pool=pool)))
        check(books.refund(transaction_id=used.transaction_id))
