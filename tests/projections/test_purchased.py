"""What was purchased: the credits of every lot that could be used at some instant of a window."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from psycopg import Connection
from psycopg.rows import DictRow

from ledger.domain.credits import Credits, credits_of
from ledger.domain.instants import FOREVER, Instant
from projections.lots.queries import purchased
from projections.read_model import READ_MODELS
from projections.reading import Snapshot
from projections.usage.windows import DAY, UsageWindow
from tests.conftest import START
from tests.history import Play, histories
from tests.projections.followed import Followed, followed_ledger

TICK = timedelta(microseconds=1)
EVER = UsageWindow(datetime(1970, 1, 1, tzinfo=UTC), FOREVER)


class NaiveLot:
    """A lot, event by event: when it may be used, as it was last told, and when it was void or awaited payment."""

    def __init__(self) -> None:
        self.granted: Credits = 0
        self.begins_at = self.ends_at = self.void_at = FOREVER
        self.awaited_until: Instant | None = None
        self.awaits = False

    def tell(self, row: DictRow) -> None:
        self.granted += row["amount"] if row["type"] == "ledger.granted" or row["cause"] == "RESIZED" else 0
        if row["lot_created_at"] is not None:
            if self.awaits and not row["lot_awaiting_payment"]:
                self.awaited_until = row["recorded_at"]
            self.awaits = row["lot_awaiting_payment"]
            self.begins_at, self.ends_at = row["lot_effective_at"], row["lot_expires_at"] or FOREVER
        if row["type"] == "ledger.voided" and row["cause"] in ("VOIDED", "DELETED"):
            self.void(row["recorded_at"])

    def void(self, instant: Instant) -> None:
        self.void_at = min(self.void_at, instant)

    def usable_at(self, instant: Instant) -> bool:
        paid = not self.awaits and (self.awaited_until is None or self.awaited_until <= instant)
        return paid and self.begins_at <= instant < self.ends_at and instant < self.void_at

    def usable_in(self, window: UsageWindow) -> bool:
        """At its first instant, or at one where the lot may become usable."""
        first = (window.start, self.begins_at, self.awaited_until or window.start)
        return any(self.usable_at(instant) for instant in first if window.start <= instant < window.end)

    @property
    def edges(self) -> set[Instant]:
        edges = {self.begins_at, self.ends_at, self.void_at, self.awaited_until or START}
        return {edge for edge in edges if edge < FOREVER - DAY}


def naive_lots(connection: Connection[DictRow]) -> list[NaiveLot]:
    """Every lot there ever was; with an execution credit its present period is gone, also where nothing was left."""
    lots: dict[str, NaiveLot] = {}
    of_stream: dict[str, list[NaiveLot]] = {}
    for row in connection.execute("SELECT * FROM movements ORDER BY position"):
        if row["lot"] is not None:
            if row["lot"] not in lots:
                lots[row["lot"]] = NaiveLot()
                of_stream.setdefault(row["stream_id"], []).append(lots[row["lot"]])
            lots[row["lot"]].tell(row)
        elif row["deleted_at"] is not None:
            for lot in of_stream[row["stream_id"]]:
                lot.void(row["recorded_at"])
    return list(lots.values())


@pytest.fixture(scope="module")
def followed(server_dsn: str) -> Iterator[Followed]:
    with followed_ledger(server_dsn) as followed:
        yield followed


@settings(max_examples=2, phases=[Phase.generate])
@given(acts=histories, data=st.data())
def test_any_window_says_what_a_count_of_the_lots_says(
    followed: Followed, acts: list[object], data: st.DataObject
) -> None:
    """Grants and credits of all sorts, with windows that touch where they begin, end, are paid and are void."""
    Play(followed.books, followed.hands).all(acts)
    with followed.at_head(READ_MODELS) as snapshot:
        lots = naive_lots(snapshot.connection)
        edges = sorted({edge + tick for lot in lots for edge in lot.edges for tick in (-TICK, 0 * TICK, TICK)})
        drawn = data.draw(st.lists(st.tuples(*2 * [st.sampled_from(edges)]), min_size=60, max_size=60))
        windows = [UsageWindow(*sorted(both)) for both in drawn if both[0] != both[1]]
        windows += [UsageWindow(start, start + TICK) for start, _ in drawn]
        for window in (EVER, *windows):
            assert purchased(snapshot, window) == sum(lot.granted for lot in lots if lot.usable_in(window)), window


def bought(snapshot: Snapshot, start: Instant, end: Instant) -> Credits:
    return purchased(snapshot, UsageWindow(start, end))


@pytest.fixture
def one(server_dsn: str) -> Iterator[Followed]:
    with followed_ledger(server_dsn) as followed:
        yield followed


def test_an_execution_credit_that_was_used_up_is_gone_with_its_deletion(one: Followed) -> None:
    """As one is of which something was left."""
    for company, used in (("used up", 5), ("left over", 4)):
        credit = one.books.open_execution_credit(
            company=company, credit_type="DAST", credits=5, rollup_type="ADDON"
        ).stream_id
        one.books.consume(holder=company, currency="DAST", amount=used, kind="EXECUTION_CREDIT")
        one.hands.set(one.hands.now + DAY)
        one.books.delete_execution_credit(credit=credit)
    with one.at_head(READ_MODELS) as snapshot:
        assert bought(snapshot, START, START + TICK) == credits_of(5)
        assert bought(snapshot, START, START + 9 * DAY) == credits_of(10)
        assert bought(snapshot, START + DAY, START + 9 * DAY) == credits_of(5)
        assert bought(snapshot, START + 2 * DAY, START + 9 * DAY) == 0


def test_a_grant_counts_from_its_payment_if_one_is_awaited_and_not_at_all_if_none_comes_in_time(one: Followed) -> None:
    def invoiced(amount: int, days: int) -> str:
        fields: dict[str, Any] = {"holder": "acme", "currency": "c", "display_name": "g", "grant_type": "PAID"}
        ends = START + days * DAY
        return one.books.issue_grant(
            **fields, amount=amount, cost=1, payment_method="INVOICE", expires_at=ends
        ).stream_id

    paid, late, void = invoiced(1, 9), invoiced(10, 2), invoiced(100, 9)
    invoiced(1000, 9)
    one.hands.set(START + DAY)
    one.books.void_grant(grant=void)
    one.books.mark_invoice_paid(grant=paid)
    one.hands.set(START + 3 * DAY)
    one.books.mark_invoice_paid(grant=late)
    with one.at_head(READ_MODELS) as snapshot:
        assert bought(snapshot, START, START + DAY) == 0
        assert bought(snapshot, START, START + DAY + TICK) == credits_of(1)
        assert bought(snapshot, START + 9 * DAY - TICK, START + 30 * DAY) == credits_of(1)
        assert bought(snapshot, START + 9 * DAY, START + 30 * DAY) == 0
