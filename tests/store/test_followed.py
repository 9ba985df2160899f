"""What a reactor that must miss nothing is told of the log: every use and every rule, in order, by transactions."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from ledger.application import BlockingLedger, RecordThreshold
from ledger.domain.credits import credits_of
from ledger.domain.threshold_watch import Recorded, RuleTold, Step, Used
from ledger.domain.values import Kind, StreamId
from ledger.store.database import Database, Role
from ledger.store.followed import followed, keep_followed, log_stretch, threshold_steps, thresholds_reached
from tests.conftest import START, Hands

HEAD = 14


@pytest.fixture
def log(books: BlockingLedger, hands: Hands) -> Sequence[Step]:
    """A log with something of everything in it, and what it should come to; positions are counted in the margin."""
    ends = START + timedelta(hours=3)
    for amount in (1, 2, 10):  # 1, 2, 3
        books.issue_grant(
            holder="acme", currency="c", amount=amount, display_name="g", grant_type="PAID", expires_at=ends
        )
    used_at = START - timedelta(days=31)
    rule = books.define_allocation_rule(name="r", account_groups=["h", "g"], allocated=1, alarm_threshold=80)  # 4
    three = books.consume(holder="acme", currency="c", amount=5, account_groups=("h", "g"), use_at=used_at)  # 5, 6, 7
    books.consume(holder="acme", currency="c", amount=1)  # 8: names no group
    hands.set(ends)
    back = books.refund(transaction_id=three.transaction_id, amount="2.5")  # 9: the lapse, 10, 12: back, 11, 13: ended
    month = "2025-12"
    reached = RecordThreshold(
        rule=rule.stream_id, month=month, used=credits_of(5), allocated=1, alarm_threshold=80,
        reached_position=three.position, reached_at=START, caused_by=three.transaction_id,
    )  # fmt: skip
    books.execute(reached)  # 14
    (defined,) = rule.events
    named = (used_at, "c", ("g", "h"))
    return [
        RuleTold(4, rule.transaction_id, START, rule.stream_id, vars(defined)["rule"]),
        Used(7, three.transaction_id, START, *named, credits_of(5)),
        Used(12, back.transaction_id, ends, *named, -credits_of("2.5")),
        Recorded(rule.stream_id, month),
    ]


def test_each_transaction_that_counts_is_one_step(
    log: Sequence[Step], books: BlockingLedger, database: Database
) -> None:
    """A debit is one use however many lots paid; what a refund restores and ends again is no use."""
    with database.connect(Role.WRITER) as connection:
        assert list(threshold_steps(connection, after=0, until=HEAD)) == list(log)
        assert list(threshold_steps(connection, after=4, until=8)) == [log[1]]
        assert list(threshold_steps(connection, after=7, until=8)) == []
        (told,) = [step for step in log if isinstance(step, RuleTold)]
        assert thresholds_reached(connection) == {(told.rule, "2025-12")}


def test_a_stretch_of_the_log_ends_where_a_transaction_does(
    log: Sequence[Step], books: BlockingLedger, database: Database
) -> None:
    with database.connect(Role.WRITER) as connection:
        ends = [log_stretch(connection, after=after, events_max=1) for after in (0, 3, 4, 7, 8, 9, 13)]
        assert ends == [(end, HEAD) for end in (1, 4, 7, 8, 9, 13, 14)]
        assert log_stretch(connection, after=3, events_max=2) == (7, HEAD)
        assert log_stretch(connection, after=0, events_max=HEAD) == (HEAD, HEAD)
        assert log_stretch(connection, after=HEAD, events_max=5) == (HEAD, HEAD)


def test_an_empty_log_ends_at_0(database: Database) -> None:
    with database.connect(Role.WRITER) as connection:
        assert log_stretch(connection, after=0, events_max=5) == (0, 0)
        assert list(threshold_steps(connection, after=0, until=0)) == []


def test_uses_of_execution_credits_count_as_any(books: BlockingLedger, database: Database) -> None:
    books.open_execution_credit(company="acme", credit_type="DAST", credits=10, rollup_type="ADDON")
    debit = books.consume(
        holder="acme", currency="DAST", amount=4, kind=Kind.EXECUTION_CREDIT, account_groups=("g", "h", "g")
    )
    books.refund(transaction_id=debit.transaction_id, amount=1, kind=Kind.EXECUTION_CREDIT)
    with database.connect(Role.WRITER) as connection:
        steps = threshold_steps(connection, after=0, until=debit.position + 1)
    assert [(step.currency, step.account_groups, step.used) for step in steps if isinstance(step, Used)] == [
        ("DAST", ("g", "h"), credits_of(4)),
        ("DAST", ("g", "h"), -credits_of(1)),
    ]


def test_how_far_a_reactor_has_come_never_goes_back(database: Database) -> None:
    """Whoever of several processes keeps it last; each reactor has its own."""
    with database.connect(Role.WRITER) as connection:
        assert followed(connection, "threshold") == 0
        for kept, then in ((5, 5), (3, 5), (9, 9), (9, 9)):
            keep_followed(connection, "threshold", kept)
            assert followed(connection, "threshold") == then
        assert followed(connection, "another") == 0
        assert thresholds_reached(connection) == set[tuple[StreamId, str]]()
