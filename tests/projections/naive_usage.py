"""What was used, told from the log's events one by one, and random uses to tell it of."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any, NamedTuple

from hypothesis import strategies as st
from psycopg import Connection
from psycopg.rows import DictRow

from ledger.application import Command, ConsumeCredits, Receipt, RefundDebit
from ledger.domain.credits import Credits, credits_decimal
from ledger.domain.instants import Instant
from ledger.domain.values import Kind
from projections.usage.windows import DAY, HOUR
from tests.conftest import START
from tests.projections.followed import Followed

TICK = timedelta(microseconds=1)
TEN_MINUTES = timedelta(minutes=10)
GROUPS = ("a", "b", 'c "\\{},', "\u00e9\U0001f43b", "NULL")
POOLS = (
    (Kind.CREDIT_GRANT, "credits"),
    (Kind.CREDIT_GRANT, "tokens"),
    (Kind.EXECUTION_CREDIT, "DAST"),
)
CURRENCIES = tuple(currency for _, currency in POOLS)
FIRST_USE_AT = START - 70 * DAY

steps = st.sampled_from((DAY, HOUR, TEN_MINUTES))
beside = st.sampled_from((-TICK, 0 * TICK, TICK)) | st.integers(-(10**11), 10**11).map(lambda number: number * TICK)
"""At a boundary, a microsecond beside it, or up to a day and four hours."""


@st.composite
def instants(draw: st.DrawFn) -> Instant:
    """Near where buckets meet, within some months; none is in the future, once the clock has gone on a little."""
    step = draw(steps)
    at = FIRST_USE_AT.replace(hour=0) + draw(st.integers(0, 68 * DAY // step)) * step + draw(beside)
    return max(at, FIRST_USE_AT)


amounts = st.integers(1, 3 * 10**9).map(credits_decimal)
group_sets = st.lists(st.sampled_from(GROUPS), max_size=4)
uses = st.tuples(
    *(st.just("use"), st.none() | instants()),
    *(st.sampled_from(POOLS), st.integers(1, 3), amounts, group_sets),
)
refunds = st.tuples(st.just("refund"), st.integers(0, 10**6), st.none() | st.integers(1, 2), st.none() | amounts)
waits = st.tuples(st.just("wait"), st.integers(0, 10**11))
histories = st.lists(st.one_of(uses, uses, uses, refunds, waits), min_size=20, max_size=40)


def endow(followed: Followed) -> None:
    """Give acme something to use since long ago, in lots so small that many a use takes of two."""
    for kind, currency in POOLS:
        if kind is Kind.CREDIT_GRANT:
            for number in range(200):
                followed.books.issue_grant(
                    holder="acme", currency=currency, amount=5, display_name=str(number), grant_type="PAID",
                    effective_at=FIRST_USE_AT - DAY,
                )  # fmt: skip
        else:
            followed.books.open_execution_credit(
                company="acme", credit_type=currency, credits=10**6, rollup_type="ADDON", period_anchor=FIRST_USE_AT
            )


def play(followed: Followed, acts: Iterable[Any]) -> None:
    """Play acts one after the other; what is refused is refused."""
    debits: list[tuple[str, Kind]] = []
    for act in acts:
        match act:
            case ("wait", ticks):
                followed.hands.set(followed.hands.now + ticks * TICK)
            case ("use", use_at, (kind, currency), whole, amount, groups):
                amount = amount if kind is Kind.CREDIT_GRANT else whole
                used = _carried_out(
                    followed,
                    ConsumeCredits(
                        holder="acme", currency=currency, kind=kind, amount=amount, use_at=use_at,
                        account_groups=tuple(groups),
                    ),
                )  # fmt: skip
                debits += [(used.transaction_id, kind)] if used is not None else []
            case ("refund", which, whole, amount) if debits:
                debit, kind = debits[which % len(debits)]
                amount = amount if kind is Kind.CREDIT_GRANT else whole
                _carried_out(followed, RefundDebit(transaction_id=debit, amount=amount, kind=kind))


def _carried_out(followed: Followed, command: Command) -> Receipt | None:
    outcome = followed.books.ledger.execute_many_blocking([command])[0]
    return outcome if isinstance(outcome, Receipt) else None


class NaiveUse(NamedTuple):
    """One event: what a debit took (above zero) or what came back of it, at the debit's instant."""

    position: int
    use_at: Instant
    currency: str
    groups: frozenset[str]
    used: Credits


def naive_uses(connection: Connection[DictRow]) -> list[NaiveUse]:
    """All debits and refunds; what a refund is of is its debit's to say."""
    rows = connection.execute("SELECT * FROM movements WHERE debit_id IS NOT NULL ORDER BY position").fetchall()
    debits = {row["debit_id"]: row for row in rows if row["type"] == "ledger.debited"}
    return [
        NaiveUse(
            row["position"],
            debits[row["debit_id"]]["use_at"],
            row["currency"],
            frozenset(debits[row["debit_id"]]["account_groups"] or ()),
            -row["amount"],
        )
        for row in rows
    ]


def within(
    uses: Iterable[NaiveUse], start: Instant, end: Instant | None, position: int | None = None
) -> Iterator[NaiveUse]:
    """Those of [start, end) that were recorded up to a position."""
    for use in uses:
        if start <= use.use_at and (end is None or use.use_at < end) and (position is None or use.position <= position):
            yield use


def by_set(uses: Iterable[NaiveUse]) -> Mapping[tuple[str, frozenset[str]], Credits]:
    """Summed by currency and groups, without what came to nothing."""
    sums: defaultdict[tuple[str, frozenset[str]], Credits] = defaultdict(int)
    for use in uses:
        sums[use.currency, use.groups] += use.used
    return {key: used for key, used in sums.items() if used != 0}


def of_rule(uses: Iterable[NaiveUse], groups: Iterable[str], currency: str | None) -> Credits:
    """What counts for a rule: each use that names any of its groups, once, in its currency or in any."""
    wanted = frozenset(groups)
    return sum(use.used for use in uses if wanted & use.groups and currency in (None, use.currency))
