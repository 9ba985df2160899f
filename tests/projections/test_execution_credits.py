"""The read model of execution credits says what the events say, and at any instant what the writer would write."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from psycopg import Connection
from psycopg.rows import DictRow

from ledger.application import BlockingLedger, CreditLedger
from ledger.domain.decision import Decision
from ledger.domain.due import settle_due
from ledger.domain.events import Debited, ExecutionCreditDefined, Granted, LedgerEvent, Refunded
from ledger.domain.execution_credit import ExecutionCredit, evolve
from ledger.domain.instants import Instant
from ledger.domain.pool import Pool
from ledger.domain.values import (
    SYSTEM,
    Cause,
    CreditType,
    Kind,
    PoolKey,
    RollupType,
    StreamId,
    Transaction,
    TransactionId,
)
from ledger.store.clock import settable_clock
from ledger.store.database import Database, Role
from ledger.store.documents import load_documents
from ledger.store.mapper import event_of_row
from ledger.store.migrate import migrate
from ledger.store.sql import query
from projections.execution_credits.queries import (
    CreditVersion,
    ExecutionCreditRow,
    ExecutionCreditsFilter,
    TransactionRow,
    documents_of_debits,
    execution_credits_as_of,
    execution_credits_by_id,
    page_of_execution_credits,
    transactions_of,
)
from projections.paging import NumberedPage
from projections.read_model import EXECUTION_CREDITS
from projections.reading import Snapshot
from projections.registry import prepare
from projections.runner import advance
from tests.conftest import START, Hands, drop
from tests.domain.scenario import MICROSECOND
from tests.history import HOLDERS, Play, holders, rollups, which, whole
from tests.projections.test_cuts import ends, folded, rows

acts = st.one_of(
    *(st.tuples(st.just("open"), holders, whole, rollups, st.integers(0, 24 * 900)) for _ in range(3)),
    *(st.tuples(st.just("debit"), holders, whole) for _ in range(4)),
    *(st.tuples(st.just("refund"), which, st.none(), st.none() | whole) for _ in range(2)),
    st.tuples(st.just("resize"), which, whole),
    *(st.tuples(st.just("turn"), which, rollups, st.none() | whole) for _ in range(3)),
    st.tuples(st.just("delete"), which),
    *(st.tuples(st.just("wait"), st.integers(0, 24 * 100)) for _ in range(3)),
    st.tuples(st.just("settle")),
)
histories = st.lists(acts, min_size=30, max_size=60)
of_histories = settings(
    max_examples=6, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
EARLIER_PERIOD_REFUNDED = [
    ("open", HOLDERS[0], 5, RollupType.MONTHLY, 0),
    ("debit", HOLDERS[0], 3), ("wait", 24 * 29), ("debit", HOLDERS[0], 2), ("refund", 0, None, 2),
]  # fmt: skip
"""How every history begins: the last event is not about the present period."""
FAR = timedelta(days=9 * 365)


class Played(NamedTuple):
    """A history that was played, its events in order, and an empty read model to fold them into."""

    play: Play
    events: Sequence[LedgerEvent]
    connection: Connection[DictRow]

    def rows(self, now: Instant = START) -> dict[StreamId, ExecutionCreditRow]:
        """Every row, as it is read at an instant. At the very beginning no period has ended: rows as they are kept."""
        return execution_credits_by_id(at(self.connection, now), self.play.credits)


def at(connection: Connection[DictRow], now: Instant) -> Snapshot:
    return Snapshot(
        connection, {EXECUTION_CREDITS.name: EXECUTION_CREDITS}, position=0, positions={}, stale=False, now=now
    )


@contextmanager
def played(server_dsn: str, acts: Sequence[Any]) -> Iterator[Played]:
    database = Database(server_dsn, "t_credits")
    migrate(database)
    try:
        with (
            CreditLedger(database, clock=settable_clock()) as ledger,
            database.connect(Role.PROJECTOR) as connection,
        ):
            prepare(connection, database, [EXECUTION_CREDITS])
            play = Play(BlockingLedger(ledger), Hands(database))
            play.all([*EARLIER_PERIOD_REFUNDED, *acts])
            with ledger.connection() as log:
                wanted = {"after": 0, "until": 10**6, "types": None, "limit": 10**6}
                events = [event_of_row(row) for row in log.execute(query("log_rows"), wanted)]
            yield Played(play, events, connection)
    finally:
        drop(database)


def told(events: Sequence[LedgerEvent]) -> ExecutionCreditRow:
    """A credit as its aggregate is, folded from its own events."""
    credit: ExecutionCredit | None = None
    for event in events:
        credit = evolve(credit, event)
    assert credit is not None
    definition, document = credit.definition, events[0].transaction.document
    return ExecutionCreditRow(
        credit=credit.stream_id,
        company=definition.pool.holder,
        credit_type=definition.credit_type,
        rollup_type=definition.rollup_type,
        next_rollup_type=definition.next_rollup_type,
        credits=definition.credits,
        anchor_at=definition.anchor_at,
        first_month=definition.first_month,
        created_at=definition.created_at,
        updated_at=last_change(events),
        deleted_at=definition.deleted_at,
        document_id=None if document is None else document.document_id,
        ends_at=credit.present_lot.terms.expires_at,
        used=credit.present_lot.used,
        version=credit.version,
    )


def last_change(events: Sequence[LedgerEvent]) -> Instant:
    """The last definition, debit or refund, or the last period's beginning; a turn is no more than that."""
    periods = [event for event in events if isinstance(event, Granted) and event.cause is not Cause.RESIZED]
    renewals = {event.transaction.transaction_id for event in periods if event.cause is Cause.RENEWED}
    acts = [
        event.transaction.recorded_at
        for event in events
        if isinstance(event, ExecutionCreditDefined | Debited | Refunded)
        and event.transaction.transaction_id not in renewals
    ]
    return max(*acts, *(period.terms.effective_at for period in periods))


def settled(events: Sequence[LedgerEvent], now: Instant) -> dict[StreamId, ExecutionCreditRow]:
    """Every credit after the writer has written what is due by an instant; what it writes counts as no version."""
    pools: dict[PoolKey, Pool] = {}
    for event in events:
        pools.setdefault(event.pool, Pool(event.pool)).evolve(event)
    written = streams(events)
    versions = {credit: len(own) for credit, own in written.items()}
    for pool in pools.values():
        ids = map(str, count())
        transaction = Transaction(TransactionId("settling"), now, SYSTEM, None, None, None)
        decision = Decision(pool, transaction, ids.__next__)
        settle_due(decision)
        for event in decision.events:
            written[event.originator_id].append(event)
    return {credit: told(own)._replace(version=versions[credit]) for credit, own in written.items()}


def streams(events: Sequence[LedgerEvent]) -> dict[StreamId, list[LedgerEvent]]:
    """The events of each credit."""
    found: dict[StreamId, list[LedgerEvent]] = {}
    for event in events:
        found.setdefault(event.originator_id, []).append(event)
    return found


def instants(data: st.DataObject, played: Played, position: int) -> list[Instant]:
    """Instants from an event's on: around the ends of periods, and any, also long after the next event."""
    now = played.events[position - 1].transaction.recorded_at
    boundaries = [row.ends_at for row in played.rows().values() if row.ends_at is not None]
    around = [end + step * MICROSECOND for end in boundaries for step in (-1, 0, 1)]
    any_time = st.integers(0, FAR // MICROSECOND).map(lambda step: now + step * MICROSECOND)
    drawn = data.draw(st.lists(st.sampled_from(around) | any_time if around else any_time, min_size=4, max_size=8))
    return [now, *(instant for instant in drawn if instant > now)]


def cuts(data: st.DataObject, played: Played) -> Iterator[int]:
    """Folds the history by pieces; yields where each ends."""
    places = ends(played.connection)
    after = 0
    for until in sorted(data.draw(st.sets(st.sampled_from(places), max_size=6)) | {places[-1]}):
        EXECUTION_CREDITS.fold(played.connection, after, until)
        yield until
        after = until


@of_histories
@given(acts=histories, data=st.data())
def test_a_row_is_what_the_credits_own_events_say(server_dsn: str, acts: list[Any], data: st.DataObject) -> None:
    with played(server_dsn, acts) as history:
        for position in cuts(data, history):
            expected = {credit: told(own) for credit, own in streams(history.events[:position]).items()}
            assert history.rows() == expected


@of_histories
@given(acts=histories, data=st.data())
def test_a_read_computes_what_the_writer_would_write(server_dsn: str, acts: list[Any], data: st.DataObject) -> None:
    with played(server_dsn, acts) as history:
        for position in cuts(data, history):
            for now in instants(data, history, position):
                assert history.rows(now) == settled(history.events[:position], now)


@of_histories
@given(acts=histories, jumps=st.lists(st.integers(1, 24 * 800), min_size=3, max_size=5))
def test_what_is_written_later_is_what_was_read_before(server_dsn: str, acts: list[Any], jumps: list[int]) -> None:
    with played(server_dsn, acts) as history:
        connection, play = history.connection, history.play
        advance(connection, EXECUTION_CREDITS)
        for hours in jumps:
            play.one(("wait", hours))
            read = history.rows(play.hands.now)
            play.one(("settle",))
            advance(connection, EXECUTION_CREDITS)
            written = history.rows()
            assert {credit: row._replace(version=read[credit].version) for credit, row in written.items()} == read


@of_histories
@given(acts=histories, data=st.data())
def test_the_cuts_of_the_windows_do_not_matter(server_dsn: str, acts: list[Any], data: st.DataObject) -> None:
    with played(server_dsn, acts) as history:
        connection = history.connection
        for _ in cuts(data, history):
            pass
        followed, places = rows(connection, EXECUTION_CREDITS), ends(connection)
        assert folded(connection, EXECUTION_CREDITS, places[-1:], "_whole") == followed
        assert folded(connection, EXECUTION_CREDITS, places, "_each") == followed


@of_histories
@given(acts=histories, data=st.data(), limit=st.integers(1, 4))
def test_pages_show_the_living_credits_of_a_filter_in_the_order_of_their_creation(
    server_dsn: str, acts: list[Any], data: st.DataObject, limit: int
) -> None:
    with played(server_dsn, acts) as history:
        advance(history.connection, EXECUTION_CREDITS)
        for now in instants(data, history, len(history.events)):
            living = [row for row in history.rows(now).values() if row.deleted_at is None]
            living.sort(key=lambda row: (row.created_at, row.credit))
            for companies in (None, (), HOLDERS[:1], HOLDERS[1:]):
                for rollup in (None, *RollupType):
                    expected = [
                        row
                        for row in living
                        if (companies is None or row.company in companies) and rollup in (None, row.rollup_type)
                    ]
                    wanted = ExecutionCreditsFilter(companies, None, rollup)
                    assert paged(at(history.connection, now), wanted, limit) == expected


def paged(snapshot: Snapshot, wanted: ExecutionCreditsFilter, limit: int) -> list[ExecutionCreditRow]:
    """All pages one after the other, and one beyond them; each says how many there are in all."""
    found: list[ExecutionCreditRow] = []
    for number in count(1):
        page = page_of_execution_credits(snapshot, wanted, NumberedPage(number, limit))
        found += page.rows
        assert len(page.rows) <= limit
        if not page.rows:
            assert page.total == len(found)
            return found
    raise AssertionError


@of_histories
@given(acts=histories, data=st.data(), limit=st.integers(1, 5))
def test_transactions_are_the_debits_and_refunds_up_to_a_version_newest_first(
    server_dsn: str, acts: list[Any], data: st.DataObject, limit: int
) -> None:
    """As they were answered to those who made them."""
    with played(server_dsn, acts) as history:
        own = streams(history.events)
        wanted = [CreditVersion(credit, len(events)) for credit, events in own.items()]
        wanted += [CreditVersion(credit, data.draw(st.integers(1, version))) for credit, version in wanted]
        wanted = list(dict.fromkeys(wanted))
        expected = {
            as_of: [
                TransactionRow.of(event)
                for event in reversed(own[as_of.credit][: as_of.version])
                if isinstance(event, Debited | Refunded)
            ]
            for as_of in wanted
        }
        found: dict[CreditVersion, list[TransactionRow]] = {as_of: [] for as_of in wanted}
        for number in range(1, 2 + max(map(len, expected.values())) // limit):
            pages = transactions_of(history.connection, wanted, NumberedPage(number, limit), rows_max=10**6)
            for as_of, page in pages.items():
                assert len(page) <= limit
                found[as_of] += page
        assert found == expected


@of_histories
@given(acts=histories)
def test_a_credit_as_of_an_event_is_what_its_events_say_up_to_that_one(server_dsn: str, acts: list[Any]) -> None:
    """From the first grant on, which comes with the creation. Nothing has followed the log."""
    with played(server_dsn, acts) as history:
        expected = {
            CreditVersion(credit, version): told(own[:version])._replace(
                updated_at=own[version - 1].transaction.recorded_at
            )
            for credit, own in streams(history.events).items()
            for version in range(2, len(own) + 1)
        }
        assert history.rows() == {}
        assert execution_credits_as_of(history.connection, list(expected)) == expected


def folded_row(database: Database, credit: str, now: Instant = START) -> ExecutionCreditRow:
    """One credit with the read model at the head, as it is read at an instant, or as it is kept."""
    with followed(database) as connection:
        return execution_credits_by_id(at(connection, now), [credit])[StreamId(credit)]


@contextmanager
def followed(database: Database) -> Iterator[Connection[DictRow]]:
    """The read model at the head of the log."""
    with database.connect(Role.PROJECTOR) as connection:
        prepare(connection, database, [EXECUTION_CREDITS])
        advance(connection, EXECUTION_CREDITS)
        yield connection


def opened(books: BlockingLedger, rollup: RollupType, company: str = "acme", **fields: Any) -> str:
    values = {"company": company, "credit_type": CreditType.DAST, "credits": 10, "rollup_type": rollup} | fields
    return books.open_execution_credit(**values).stream_id


def debit(books: BlockingLedger, amount: int, **fields: Any) -> str:
    return books.consume(
        holder="acme", currency="DAST", amount=amount, kind=Kind.EXECUTION_CREDIT, **fields
    ).transaction_id


FEB = datetime(2026, 2, 28, 12, tzinfo=UTC)
MARCH = datetime(2026, 3, 31, 12, tzinfo=UTC)


def test_a_renewal_counts_at_its_periods_beginning_whenever_it_is_written(
    books: BlockingLedger, database: Database, hands: Hands
) -> None:
    credit = opened(books, RollupType.MONTHLY)
    debit(books, 3)
    hands.set(MARCH + timedelta(days=9))
    read = folded_row(database, credit, hands.now)
    books.settle_due()
    assert folded_row(database, credit).updated_at == read.updated_at == MARCH


def test_a_turn_that_a_renewal_brings_is_no_change_of_its_own(
    books: BlockingLedger, database: Database, hands: Hands
) -> None:
    credit = opened(books, RollupType.MONTHLY)
    books.update_execution_credit(credit=credit, rollup_type=RollupType.YEARLY)
    hands.set(MARCH)
    read = folded_row(database, credit, hands.now)
    books.settle_due()
    assert folded_row(database, credit).updated_at == read.updated_at == FEB


def test_a_debit_that_first_writes_a_renewal_counts_when_it_is_made(
    books: BlockingLedger, database: Database, hands: Hands
) -> None:
    credit = opened(books, RollupType.MONTHLY)
    hands.set(MARCH + timedelta(days=9))
    debit(books, 3)
    row = folded_row(database, credit, hands.now)
    assert (row.updated_at, row.used) == (hands.now, 3 * 10**9)


def test_a_refund_of_an_earlier_period_changes_the_credit_but_not_what_is_used(
    books: BlockingLedger, database: Database, hands: Hands
) -> None:
    credit = opened(books, RollupType.MONTHLY)
    former = debit(books, 3)
    hands.set(FEB + timedelta(days=1))
    debit(books, 2)
    hands.set(FEB + timedelta(days=2))
    books.refund(transaction_id=former, kind=Kind.EXECUTION_CREDIT)
    row = folded_row(database, credit)
    assert (row.updated_at, row.used, row.ends_at) == (hands.now, 2 * 10**9, MARCH)


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize(
    ("now",              "monthly", "quarterly"),
    [(FEB - MICROSECOND, [0, 1],    []),
     (FEB,               [1],       [0]),
     (FEB + MICROSECOND, [1],       [0])],
    ids=["just before", "at", "just after"],
)  # fmt: skip
def test_a_turned_credit_changes_its_filter_at_the_instant_of_the_renewal(
    books: BlockingLedger, database: Database, hands: Hands, now: Instant,
    monthly: list[int], quarterly: list[int], recorded: bool,
) -> None:  # fmt: skip
    made = [opened(books, RollupType.MONTHLY, company) for company in ("acme", "other", "deleted")]
    for credit in (made[0], made[2]):
        books.update_execution_credit(credit=credit, rollup_type=RollupType.QUARTERLY)
    books.delete_execution_credit(credit=made[2])
    if recorded:
        hands.set(now)
        books.settle_due()
    with followed(database) as connection:
        for rollup, expected in ((RollupType.MONTHLY, monthly), (RollupType.QUARTERLY, quarterly)):
            found = paged(at(connection, now), ExecutionCreditsFilter(rollup_type=rollup), 1)
            assert [row.credit for row in found] == [made[place] for place in expected]
            assert {row.rollup_type for row in found} <= {rollup}


def test_a_page_shows_one_credit_type(books: BlockingLedger, database: Database) -> None:
    made = [opened(books, RollupType.ADDON, credit_type=of) for of in CreditType]
    with followed(database) as connection:
        for of, credit in zip(CreditType, made, strict=True):
            found = paged(at(connection, START), ExecutionCreditsFilter(credit_type=of), 1)
            assert [(row.credit, row.credit_type) for row in found] == [(credit, of)]


def test_a_period_whose_end_lies_beyond_the_calendar_has_none(
    books: BlockingLedger, database: Database, hands: Hands
) -> None:
    hands.set(datetime(9999, 10, 31, tzinfo=UTC))
    credit = opened(books, RollupType.MONTHLY)
    last = datetime(9999, 12, 31, tzinfo=UTC)
    read = folded_row(database, credit, last)
    hands.set(last)
    books.settle_due()
    written = folded_row(database, credit)
    assert written == read._replace(version=written.version)
    assert (written.ends_at, written.updated_at) == (None, last)


def test_a_label_is_found_by_the_credits_creation(books: BlockingLedger, database: Database) -> None:
    credit = opened(books, RollupType.MONTHLY, company_label="Acme")
    debit(books, 3, dimensions={"projectId": "7"})
    row = folded_row(database, credit)
    assert row.document_id is not None
    with database.connect(Role.READER) as connection:
        assert execution_credits_as_of(connection, [row.as_of]) == {row.as_of: row}
        texts = load_documents(connection, [row.document_id])
    assert texts[row.document_id]["company_label"] == "Acme"


def test_a_project_is_found_by_its_debit_for_the_refunds_too(books: BlockingLedger, database: Database) -> None:
    credit = opened(books, RollupType.MONTHLY)
    named = debit(books, 3, dimensions={"projectId": "7"})
    books.refund(transaction_id=named, amount=1, kind=Kind.EXECUTION_CREDIT, reason="a text of its own")
    unnamed = debit(books, 1)
    books.refund(transaction_id=unnamed, kind=Kind.EXECUTION_CREDIT, reason="a text of its own")
    with database.connect(Role.READER) as connection:
        as_of = CreditVersion(StreamId(credit), 9)
        [found] = transactions_of(connection, [as_of], NumberedPage(1, 9), rows_max=9).values()
        documents = documents_of_debits(connection, {row.debit_id for row in found})
        texts = load_documents(connection, documents.values())
    assert [row.debit_id for row in found] == [unnamed, unnamed, named, named]
    assert {debit: texts[document] for debit, document in documents.items()} == {
        named: {"dimensions": {"projectId": "7"}}
    }
