"""Deferred revenue: every billionth of every grant's cost is somewhere, at any two clocks."""

from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any, NamedTuple

import pytest

from ledger.application import IssueGrant, UpdateGrant
from ledger.domain.credits import credits_decimal
from ledger.domain.instants import Instant, instant_text
from ledger.domain.values import BillingPeriod, Cadence, GrantType, PaymentMethod
from projections.read_model import ENTRIES
from projections.reading import Reader
from projections.reports.deferred_revenue import FIGURES
from projections.reports.report import Report
from service.audit.deferred_revenue import DEFERRED_REVENUE
from tests.audit.naive_revenue import TICK, naive_rows
from tests.conftest import START
from tests.history import HOLDERS, Play
from tests.projections.followed import Followed, followed_ledger
from tests.projections.test_cuts import ends

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
Sums = tuple[int, ...]
METHODS = tuple(PaymentMethod)
MONTH, AT_ONCE = BillingPeriod.MONTH, Cadence.BEGINNING_OF_BILLING_PERIOD
ACTS = ("sell", "plan", "consume", "refund", "mark paid", "delay", "void", "wait", "settle")
WEIGHTS = (25, 6, 45, 25, 25, 9, 22, 16, 2)
OPENING, CARRIED_IN, CARRIED_OUT, CLOSING = 0, 2, 7, 8


def history(dice: Random, *, dated_back: bool) -> list[Any]:
    """Acts of three customers who buy, subscribe, use and give back; some of what they buy is never paid."""

    def amount(most: int) -> Decimal:
        return credits_decimal(dice.randint(1, most * 10**9))

    def act() -> Any:
        holder, which = dice.choice(HOLDERS), dice.randrange(10**6)
        match dice.choices(ACTS, WEIGHTS)[0]:
            case "sell":
                lasts, begins = dice.choice([0, *range(24, 24 * 40, 24)]), dice.randint(-48, 96)
                terms = lasts, begins, dice.choice(METHODS), dice.random() < 0.5
                return "sell", holder, amount(30), amount(50), dice.choice(["USD", "EUR"]), *terms
            case "plan":
                anchored, cap = dice.randint(-24 * 40, 24), dice.choice([None, amount(9)])
                return "plan", holder, amount(20), MONTH, AT_ONCE, anchored, cap, dice.randint(1, 2)
            case "consume":
                return "consume", holder, amount(8), dated_back and dice.random() < 0.5, ()
            case "refund":
                return "refund", which, dice.choice([None, amount(3)]), None
            case "delay":
                return "delay", dice.randint(0, 96)
            case "wait":
                return "wait", dice.choice([1, 30, 24 * dice.randint(1, 20)])
            case "settle":
                return ("settle",)
            case name:
                return name, which

    return [act() for _ in range(190)]


class Sales(Play):
    """Plays acts that have to do with costs."""

    def one(self, act: Any) -> None:
        match act:
            case ("sell", holder, amount, cost, currency, lasts, begins, method, awaits):
                now = self.hands.now
                begin = now + begins * HOUR
                self._do(
                    IssueGrant(
                        holder=holder, currency="credits", amount=amount, cost=cost, cost_currency=currency,
                        display_name="pack", grant_type=GrantType.PAID, payment_method=method, awaits_payment=awaits,
                        effective_at=begin, expires_at=None if lasts == 0 else max(begin, now) + lasts * HOUR,
                    )
                )  # fmt: skip
            case ("delay", hours) if self.grants:
                begin = self.hands.now + hours * HOUR
                self._do(UpdateGrant(grant=self.grants[-1], effective_at=begin))
            case _:
                super().one(act)


class Books(NamedTuple):
    """A history that was played, and the log of it."""

    reader: Reader
    log: list[Any]
    positions: list[int]
    dated_back: bool

    def told(self, position: int, **texts: str | Instant) -> dict[tuple[str, ...], Sums]:
        """The money columns by what the row is about; each row's difference is 0, and no row is nothing else."""
        given = {
            name.strip("_"): value if isinstance(value, str) else instant_text(value) for name, value in texts.items()
        }
        report = DEFERRED_REVENUE.ask(self.reader, given | {"recorded_as_of": str(position)})
        assert isinstance(report, Report)
        rows = {row[: -len(FIGURES)]: row[-len(FIGURES) :] for row in report.rows}
        assert len(rows) == len(report.rows)
        assert all(row[-1] == 0 and any(row) for row in rows.values()), given
        told = {tuple(map(str, group)): tuple(map(int, map(str, row[:-1]))) for group, row in rows.items()}
        assert report.notes or all(row[CLOSING] >= 0 for row in told.values())
        assert self.dated_back or not report.notes
        return told

    def until(self, position: int) -> list[Any]:
        return [row for row in self.log if row["position"] <= position]


def places_of(log: list[Any]) -> list[Instant]:
    """Where something is dated, a tick beside it, and ahead of it all."""
    dated = {
        START + 1000 * DAY,
        *(row[name] for row in log for name in ("effective_at", "recorded_at", "lot_effective_at") if row[name]),
    }
    return sorted({instant + tick for instant in dated for tick in (-TICK, 0 * TICK, TICK)})


def played(followed: Followed, dice: Random, *, dated_back: bool) -> Books:
    Sales(followed.books, followed.hands).all(history(dice, dated_back=dated_back))
    with followed.at_head([ENTRIES]) as snapshot:
        log = snapshot.connection.execute("SELECT * FROM movements ORDER BY position").fetchall()
        return Books(followed.reader, log, ends(snapshot.connection), dated_back)


def added(rows: dict[tuple[str, ...], Sums], *columns: int) -> dict[tuple[str, ...], Sums]:
    """Summed by these of the group's columns."""
    sums: dict[tuple[str, ...], Sums] = {}
    for group, row in rows.items():
        by = tuple(group[column] for column in columns)
        sums[by] = tuple(map(sum, zip(row, sums.get(by, (0,) * len(row)), strict=True)))
    return {by: row for by, row in sums.items() if any(row)}


def check_against_a_second_telling(books: Books, dice: Random) -> list[Sums]:
    """At every position, and between any two instants."""
    found: list[Sums] = []
    for position in books.positions:
        log = books.until(position)
        start, end = sorted(dice.sample(places_of(log), 2))
        begun = dice.random() < 0.7
        rows = books.told(position, to=end, **({"from_": start} if begun else {}))
        assert {group[3]: row for group, row in rows.items()} == naive_rows(log, start if begun else None, end - TICK)
        carried = [(row[CARRIED_IN], row[CARRIED_OUT]) for row in rows.values()]
        assert sum(into for into, _ in carried) == sum(out for _, out in carried)
        found += rows.values()
    return found


def check_cuts_and_sums(books: Books, dice: Random) -> None:
    """Two periods that meet are the one that holds both, and each way to sum is of the same."""
    position = books.positions[-1]
    first, second, third = sorted(dice.sample(places_of(books.log), 3))
    one = books.told(position, from_=first, to=second)
    other = books.told(position, from_=second, to=third)
    both = books.told(position, from_=first, to=third)
    for grant in one | other | both:
        nothing = (0,) * (CLOSING + 1)
        before, after, whole = (rows.get(grant, nothing) for rows in (one, other, both))
        assert before[CLOSING] == after[OPENING]
        flows = zip(before[1:CLOSING], after[1:CLOSING], strict=True)
        assert whole == (before[OPENING], *map(sum, flows), after[CLOSING])
    assert added(both, 0, 1, 4) == books.told(position, from_=first, to=third, by="customer")
    assert added(both, 1, 4) == books.told(position, from_=first, to=third, by="currency")
    for holder in HOLDERS:
        theirs = {group: row for group, row in both.items() if group[0] == holder}
        assert books.told(position, from_=first, to=third, customer=holder) == theirs


@pytest.mark.parametrize(("seed", "dated_back"), [(0, False), (2, False), (5, True), (13, True)])
def test_every_cost_is_told_to_the_billionth_at_any_two_clocks(server_dsn: str, seed: int, dated_back: bool) -> None:
    """Random sales, uses, refunds, payments, voids, lapses and rollovers, and a second telling of each.

    Where uses are dated back, some grant has been used up twice between them and a refund, and that is said.
    """
    dice = Random(seed)
    with followed_ledger(server_dsn) as followed:
        books = played(followed, dice, dated_back=dated_back)
        seen = check_against_a_second_telling(books, dice)
        check_cuts_and_sums(books, dice)
        for end in () if dated_back else dice.sample(places_of(books.log), 9):
            assert all(min(row) >= 0 for row in books.told(books.positions[-1], to=end).values())
    assert all(any(column) for column in zip(*seen, strict=True))
    assert any(row[CLOSING] < 0 for row in seen) == dated_back
    assert any(row["cause"] == "REFUND" for row in books.log)
