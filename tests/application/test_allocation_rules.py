"""Allocation rules on a real log: a name is one rule's alone, a threshold is recorded once, whoever writes."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any, TypeAlias

import pytest

from ledger.application import (
    BlockingLedger,
    ChangeAllocationRule,
    Command,
    ConsumeCredits,
    CreditLedger,
    DefineAllocationRule,
    DeleteExecutionCredit,
    EndGrantSchedule,
    Receipt,
    RecordThreshold,
    RefundDebit,
    RemoveAllocationRule,
    UpdateExecutionCredit,
    UpdateGrant,
    VoidGrant,
)
from ledger.application.limits import WriterLimits
from ledger.application.receipts import Outcome
from ledger.domain.credits import credits_of
from ledger.domain.events import AllocationRuleChanged, AllocationRuleDefined, ThresholdReached
from ledger.domain.refusals import AllocationRuleExists, AllocationRuleNotFound, IdempotencyKeyReused, NotStorable
from ledger.domain.values import RULES, Kind, TransactionId
from ledger.store.clock import settable_clock
from ledger.store.database import Database, Role
from ledger.store.migrate import migrate
from tests.conftest import START, Hands, drop

Both: TypeAlias = tuple[BlockingLedger, BlockingLedger]
UNKNOWN = "018f0000-0000-7000-8000-000000000001"
ROUNDS = 10


@pytest.fixture(scope="module")
def shared(server_dsn: str) -> Iterator[Database]:
    """One ledger for all tests here; each has names of its own."""
    database = Database(server_dsn, f"t_{secrets.token_hex(6)}")
    migrate(database)
    Hands(database)
    yield database
    drop(database)


@pytest.fixture(scope="module")
def both(shared: Database) -> Iterator[Both]:
    """Two writers; the second looks at the log anew after every few events that the first one wrote."""
    hasty = WriterLimits(catch_up_events_max=5)
    clock = settable_clock()
    with CreditLedger(shared, clock=clock) as one, CreditLedger(shared, clock=clock, limits=hasty) as other:
        yield BlockingLedger(one), BlockingLedger(other)


def define(name: str, **others: Any) -> DefineAllocationRule:
    rule: dict[str, Any] = {"account_groups": ["g"], "allocated": 100, "alarm_threshold": 80}
    return DefineAllocationRule(name=name, **rule | others)


def change(rule: str, **changes: Any) -> ChangeAllocationRule:
    return ChangeAllocationRule(rule=rule, **changes)


def reach(rule: str, month: str = "2026-01") -> RecordThreshold:
    return RecordThreshold(
        rule=rule, month=month, used=80 * 10**9, allocated=100, alarm_threshold=80, reached_position=7,
        reached_at=START, caused_by=TransactionId("t"),
    )  # fmt: skip


def told(outcomes: Sequence[Outcome]) -> list[str]:
    """What each command was answered with: `done`, `again`, `nothing`, or what stood in its way."""
    return [
        type(each).__name__
        if not isinstance(each, Receipt)
        else "again" if each.replayed else "done" if each.events else "nothing"
        for each in outcomes
    ]  # fmt: skip


def run(books: BlockingLedger, *commands: Command) -> list[Outcome]:
    """All of them in one batch."""
    return books.ledger.execute_many_blocking(commands)


def race(*sent: tuple[BlockingLedger, Command]) -> list[Outcome]:
    """Each writer is sent its command by a thread of its own, all at the same moment."""
    start = Barrier(len(sent))

    def send(books: BlockingLedger, command: Command) -> Outcome:
        start.wait()
        return run(books, command)[0]

    with ThreadPoolExecutor(len(sent)) as threads:
        return list(threads.map(send, *zip(*sent, strict=True)))


def holder_of(database: Database, name: str) -> str | None:
    with database.connect(Role.WRITER) as connection:
        row = connection.execute("SELECT stream_id FROM claims WHERE kind = 'RULE_NAME' AND value = %s", [name])
        found = row.fetchone()
    return None if found is None else found["stream_id"]


def test_of_two_who_give_a_name_at_once_one_has_it(both: Both, shared: Database) -> None:
    for number in range(ROUNDS):
        name = f"at once {number}"
        outcomes = race(*((books, define(name)) for books in both * 3))
        assert sorted(told(outcomes)) == ["AllocationRuleExists"] * 5 + ["done"]
        (made,) = [outcome.stream_id for outcome in outcomes if isinstance(outcome, Receipt)]
        assert holder_of(shared, name) == made
        assert {outcome.facts["name"] for outcome in outcomes if isinstance(outcome, AllocationRuleExists)} == {name}


def test_of_two_renamed_alike_at_once_one_is_and_the_name_it_had_is_free(both: Both, shared: Database) -> None:
    for number in range(ROUNDS):
        wanted = f"alike {number}"
        rules = [both[each].execute(define(f"former {each} {number}")).stream_id for each in (0, 1)]
        outcomes = race(*((books, change(rule, name=wanted)) for books, rule in zip(both, rules, strict=True)))
        assert sorted(told(outcomes)) == ["AllocationRuleExists", "done"]
        won = told(outcomes).index("done")
        former = [holder_of(shared, f"former {each} {number}") for each in (won, 1 - won)]
        assert [holder_of(shared, wanted), *former] == [rules[won], None, rules[1 - won]]
        assert told(run(both[1], define(wanted), define(f"former {won} {number}"))) == ["AllocationRuleExists", "done"]


def test_two_rules_swap_their_names_in_one_batch(both: Both, shared: Database) -> None:
    one, other = both
    a, b = (one.execute(define(f"swap {name}")).stream_id for name in "ab")
    swap = [change(a, name="swap x"), change(b, name="swap a"), change(a, name="swap b")]
    assert told(run(other, *swap)) == ["done"] * 3
    assert [holder_of(shared, f"swap {name}") for name in "abx"] == [b, a, None]
    assert told(run(one, define("swap a"), define("swap b"), define("swap x"))) == [
        *["AllocationRuleExists"] * 2,
        "done",
    ]


def test_a_name_goes_on_to_the_next_rule_within_one_batch(both: Both, shared: Database) -> None:
    one, other = both
    first = one.execute(define("goes on")).stream_id
    outcomes = run(
        other, define("goes on"), RemoveAllocationRule(rule=first), change(first, allocated=1), define("goes on")
    )
    assert told(outcomes) == ["AllocationRuleExists", "done", "AllocationRuleNotFound", "done"]
    second = outcomes[3]
    assert isinstance(second, Receipt)
    assert holder_of(shared, "goes on") == second.stream_id != first
    back = [change(second.stream_id, name="gone on"), change(second.stream_id, name="goes on")]
    assert told(run(one, *back)) == ["done"] * 2
    assert [holder_of(shared, name) for name in ("goes on", "gone on")] == [second.stream_id, None]
    assert told(run(other, RemoveAllocationRule(rule=second.stream_id))) == ["done"]
    assert holder_of(shared, "goes on") is None


def test_names_that_differ_in_anything_are_two(both: Both) -> None:
    names = ["differ", "Differ", "differ ", "d\u00edffer", "di\u0301ffer", "\ttab\\N", "\u202e"]
    names += ["x" * 200, "x" * 199, "\U0001f600" * 200]
    assert told(run(both[0], *map(define, names))) == ["done"] * len(names)
    assert told(run(both[1], *map(define, names))) == ["AllocationRuleExists"] * len(names)


def test_what_another_process_wrote_about_rules_is_seen_at_once(both: Both) -> None:
    one, other = both
    rule = one.execute(define("seen")).stream_id
    for number, books in enumerate((other, one, other, one, other), 2):
        (event,) = books.execute(change(rule, allocated=number)).events
        assert isinstance(event, AllocationRuleChanged)
        assert (event.originator_version, event.rule.allocated, event.rule.name) == (number, number, "seen")
    one.remove_allocation_rule(rule=rule)
    assert told(run(other, change(rule, allocated=9), define("seen"))) == ["AllocationRuleNotFound", "done"]


def test_rules_of_another_process_leave_what_is_known_of_pools_as_it_is(both: Both) -> None:
    """Also where they came in by the hundred since this one last looked."""
    one, other = both
    for books in both:
        books.issue_grant(holder="calm", currency="c", amount=1000, display_name="g", grant_type="PAID")
    use = ConsumeCredits(holder="calm", currency="c", amount=1)
    left = 2000
    for number, count in enumerate((1, 3, 4, 5, 6, 60)):
        for here, there in ((one, other), (other, one)):
            there_names = [define(f"calm {number} {place} {here is one}") for place in range(count)]
            assert told(run(there, *there_names)) == ["done"] * count
            left -= 1
            assert here.execute(use).pool_balance == credits_of(left)


@pytest.mark.parametrize("size", [3, 30, 300])
def test_rules_and_uses_in_one_batch_are_decided_in_their_order(both: Both, size: int) -> None:
    """In one that goes out as a pipeline, and in one that goes in by COPY."""
    one, other = both
    holder = f"mixed {size}"
    one.issue_grant(holder=holder, currency="c", amount=size, display_name="g", grant_type="PAID")
    use = ConsumeCredits(holder=holder, currency="c", amount=1, account_groups=("g",))
    rules = [define(f"mixed {size} {number % 2}", idempotency_key=f"{size} {number % 4}") for number in range(size)]
    outcomes = run(other, *(command for pair in zip(rules, [use] * size, strict=True) for command in pair), use)
    taken = ["AllocationRuleExists"] * 2
    expected = ["done", "done", *taken, *["again", "again", *taken] * size]
    assert told(outcomes[:-1:2]) == expected[:size]
    assert told(outcomes[1::2]) == ["done"] * size
    assert told(outcomes[-1:]) == ["InsufficientCredits"]
    positions = [each.position for each in outcomes if isinstance(each, Receipt) and not each.replayed]
    assert positions == [*range(positions[0], positions[0] + size + 2)]


KEYED: list[tuple[str, Callable[[str], Command], dict[str, Any], tuple[str, ...]]] = [
    # the command under its key; what another body has instead, and the fields that are said to differ
    ("define", lambda rule: define("kept anew", idempotency_key="k"),
     {"name": "kept otherwise", "account_groups": ("h",), "allocated": 1, "alarm_threshold": 1, "currency": "c"},
     ("accountGroups", "alarmThreshold", "allocatedCredits", "currency", "name")),
    ("change", lambda rule: change(rule, allocated=7, idempotency_key="k"),
     {"allocated": 8, "name": "kept"}, ("allocatedCredits", "name")),
    ("change nothing", lambda rule: change(rule, idempotency_key="k2"), {"allocated": 100}, ("allocatedCredits",)),
    ("remove", lambda rule: RemoveAllocationRule(rule=rule, idempotency_key="k"), {}, ()),
]  # fmt: skip


def test_the_first_answer_stands_whatever_becomes_of_the_rule(both: Both) -> None:
    """Changed, removed, its name given to another: the same key and body is the same answer again."""
    one, other = both
    rule = one.execute(define("kept")).stream_id
    commands = [command(rule) for _, command, _, _ in KEYED]
    first = [one.execute(command) for command in commands]
    one.change_allocation_rule(rule=first[0].stream_id, name="kept, not anew")
    one.define_allocation_rule(name="kept anew", account_groups=["h"], allocated=0, alarm_threshold=0)
    for books in (one, other, other):
        assert run(books, *commands) == [receipt._replace(replayed=True) for receipt in first]
        assert [books.execute(command) for command in commands] == [each._replace(replayed=True) for each in first]
    for (_, _, otherwise, differing), command in zip(KEYED, commands, strict=True):
        if otherwise:
            with pytest.raises(IdempotencyKeyReused) as refused:
                other.execute(replace(command, **otherwise))
            assert refused.value.facts == {"key": command.idempotency_key, "differing": differing}


def test_a_key_is_one_among_all_new_rules_and_among_those_of_each_act_on_a_rule(both: Both) -> None:
    one, other = both
    made = one.execute(define("scope", idempotency_key="s"))
    assert other.execute(define("scope", idempotency_key="s")) == made._replace(replayed=True)
    second = other.execute(define("scope two", idempotency_key="s2"))
    outcomes = run(
        one,
        *(change(made.stream_id, idempotency_key="s"), change(second.stream_id, idempotency_key="s")),
        change(second.stream_id.upper(), idempotency_key="s"),
        RemoveAllocationRule(rule=second.stream_id.upper(), idempotency_key="s"),
        RemoveAllocationRule(rule=second.stream_id, idempotency_key="s"),
    )
    assert told(outcomes) == ["done", "done", "again", "done", "again"]


def test_a_refused_rule_keeps_no_key(both: Both) -> None:
    one, other = both
    first = one.execute(define("no key")).stream_id
    assert told(run(other, define("no key", idempotency_key="nk"))) == ["AllocationRuleExists"]
    one.remove_allocation_rule(rule=first)
    assert told(run(other, define("no key", idempotency_key="nk"))) == ["done"]


def test_an_empty_change_is_an_event_and_changes_nothing(both: Both) -> None:
    (made,) = both[0].execute(define("empty", currency="c")).events
    assert isinstance(made, AllocationRuleDefined)
    (event,) = both[1].execute(change(made.originator_id)).events
    assert isinstance(event, AllocationRuleChanged)
    assert (event.originator_version, event.rule, event.pool) == (2, made.rule, RULES)


def test_only_a_rule_is_found_as_a_rule_and_a_rule_as_nothing_else(both: Both) -> None:
    one, other = both
    grant = one.issue_grant(holder="found", currency="c", amount=1, display_name="g", grant_type="PAID")
    credit = one.open_execution_credit(company="found", credit_type="DAST", credits=1, rollup_type="ADDON")
    schedule = one.create_grant_schedule(
        holder="found", currency="d", display_name="s", amount=1, billing_period="MONTH", cadence="MONTHLY"
    )
    rule = one.execute(define("found"))
    no_rules = (UNKNOWN, "x", grant.stream_id, credit.stream_id, schedule.stream_id, rule.transaction_id, "cg-1")
    for books in (one, other):
        for name in no_rules:
            outcomes = run(books, change(name, allocated=1), RemoveAllocationRule(rule=name), reach(name))
            assert [type(each) for each in outcomes] == [AllocationRuleNotFound] * 3
            assert [each.facts for each in outcomes if isinstance(each, AllocationRuleNotFound)] == [{"rule": name}] * 3
        assert told(
            run(
                books,
                *(UpdateGrant(grant=rule.stream_id, priority=1), VoidGrant(grant=rule.stream_id)),
                UpdateExecutionCredit(credit=rule.stream_id, credits=1),
                DeleteExecutionCredit(credit=rule.stream_id),
                EndGrantSchedule(schedule=rule.stream_id),
                *(RefundDebit(transaction_id=name) for name in (rule.stream_id, rule.transaction_id)),
                change(rule.stream_id.upper(), allocated=1),
            )
        ) == [
            *("CreditGrantNotFound", "CreditGrantNotFound", "ExecutionCreditNotFound", "ExecutionCreditNotFound"),
            *("GrantScheduleNotFound", "TransactionNotFound", "TransactionNotFound", "done"),
        ]


def test_a_threshold_is_recorded_once_whoever_saw_it(both: Both, shared: Database) -> None:
    rules = [both[0].execute(define(f"reached {number}")).stream_id for number in range(ROUNDS)]
    for rule in rules:
        assert sorted(told(race(*((books, reach(rule)) for books in both * 3)))) == ["done", *["nothing"] * 5]
    one_batch = [reach(rules[0], "2026-02"), reach(rules[0], "2026-02"), reach(rules[1], "2026-02"), reach(rules[0])]
    assert told(run(both[1], *one_batch)) == ["done", "nothing", "done", "nothing"]
    with CreditLedger(shared, clock=settable_clock()) as restarted:
        assert told(run(BlockingLedger(restarted), *map(reach, rules))) == ["nothing"] * ROUNDS


def test_a_threshold_is_recorded_also_of_a_rule_that_was_removed_meanwhile(both: Both) -> None:
    rule = both[0].execute(define("late")).stream_id
    outcomes = run(both[1], RemoveAllocationRule(rule=rule), reach(rule), define("late"), reach(rule))
    assert told(outcomes) == ["done", "done", "done", "nothing"]
    assert isinstance(outcomes[1], Receipt)
    (event,) = outcomes[1].events
    assert isinstance(event, ThresholdReached)
    assert (event.rule.removed_at, event.used, event.reached_at) == (START, credits_of(80), START)
    assert (event.transaction.actor, event.transaction.causation_id) == (("SYSTEM", "threshold"), "t")


def test_a_rule_that_cannot_be_stored_fails_alone_and_gives_no_name(both: Both, shared: Database) -> None:
    one, other = both
    poison = "ALTER TABLE events ADD CONSTRAINT no_poison CHECK (data -> 'rule' ->> 'name' <> 'poison') NOT VALID"
    with shared.connect(Role.OWNER) as connection:
        connection.execute(poison)
    rules = [define(f"beside {number}") for number in range(20)]
    use = ConsumeCredits(holder="beside", currency="c", amount=1, kind=Kind.CREDIT_GRANT)
    one.issue_grant(holder="beside", currency="c", amount=1, display_name="g", grant_type="PAID")
    outcomes = run(one, *rules[:13], define("poison"), use, *rules[13:], *rules[:2])
    assert told(outcomes) == ["done"] * 13 + ["NotStorable"] + ["done"] * 8 + ["AllocationRuleExists"] * 2
    assert isinstance(outcomes[13], NotStorable)
    with shared.connect(Role.OWNER) as connection:
        connection.execute("ALTER TABLE events DROP CONSTRAINT no_poison")
    assert told(run(other, define("poison"), rules[7])) == ["done", "AllocationRuleExists"]
