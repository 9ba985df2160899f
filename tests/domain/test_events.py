"""Events: frozen, each under its own name, and held to the state they are applied to."""

from datetime import datetime
from typing import Any

import pytest
from pydantic import ValidationError

from ledger.domain import credit_grant, execution_credit
from ledger.domain.events import (
    DEFINITIONS,
    EVENT_TYPES,
    GRANT_CHANGES,
    MOVEMENTS,
    RULE_EVENTS,
    AllocationRuleChanged,
    AllocationRuleDefined,
    AllocationRuleRemoved,
    AutoRechargeDefined,
    Debited,
    Event,
    ExecutionCreditDefined,
    Expired,
    GrantChange,
    Granted,
    GrantPaymentRecorded,
    GrantScheduleDefined,
    GrantUpdated,
    LedgerEvent,
    Movement,
    Refunded,
    RuleEvent,
    ThresholdReached,
    Voided,
)
from ledger.domain.lots import LawBroken
from ledger.domain.pool import Pool
from ledger.domain.values import RULES, After, LotId, RollupType, StreamId, Terms
from tests.domain.grant_steps import pay, save_recharge, schedule, update
from tests.domain.rule_steps import change_rule, define_rule, reach, remove_rule
from tests.domain.scenario import (
    EXECUTIONS,
    GRANTS,
    Clock,
    Step,
    at,
    changed,
    consume,
    day,
    delete,
    fields_of,
    given,
    issue,
    open_credit,
    refund,
    resize,
    settle,
    units,
    void,
)

SEP = day("2026-09-01")

TOPICS: dict[type[Event], str] = {
    Granted: "ledger.granted",
    Debited: "ledger.debited",
    Refunded: "ledger.refunded",
    Voided: "ledger.voided",
    Expired: "ledger.expired",
    ExecutionCreditDefined: "ledger.execution-credit-defined",
    GrantUpdated: "ledger.grant-updated",
    GrantPaymentRecorded: "ledger.grant-payment-recorded",
    GrantScheduleDefined: "ledger.grant-schedule-defined",
    AutoRechargeDefined: "ledger.auto-recharge-defined",
    AllocationRuleDefined: "ledger.allocation-rule-defined",
    AllocationRuleChanged: "ledger.allocation-rule-changed",
    AllocationRuleRemoved: "ledger.allocation-rule-removed",
    ThresholdReached: "ledger.threshold-reached",
}
"""What is written in every log there is. A line of this table is added, never changed."""

SIGNS: dict[type[Event], int] = {Granted: +1, Debited: -1, Refunded: +1, Voided: -1, Expired: -1}


def every_event() -> dict[type[Event], LedgerEvent]:
    """One event of each type, as the domain makes them."""
    grants = given(issue("A", 10, ends=SEP), issue("B", 10), consume(5), refund(amount=1), void("B"), at(SEP), settle())
    others = given(issue("A", 10, cost=5), update("A", ends=SEP), pay("A"), schedule("S", 1), save_recharge())
    executions = given(open_credit("C", RollupType.MONTHLY, 5), pool=EXECUTIONS)
    rules = given(define_rule("R"), change_rule("R", name="another"), reach("R"), remove_rule("R"), pool=RULES)
    books = (others, grants, executions, rules)
    return {type(event): event for scenario in books for event in scenario.book.log}


EVENTS = every_event()


def subclasses(parent: type[Any]) -> set[type[Any]]:
    return {each for child in parent.__subclasses__() for each in {child} | subclasses(child)}


def test_the_table_of_events_is_complete() -> None:
    assert set(EVENT_TYPES) == set(TOPICS) == set(EVENTS) == subclasses(Event) - {Movement, GrantChange, RuleEvent}
    assert len(MOVEMENTS) + len(GRANT_CHANGES) + len(DEFINITIONS) == len(EVENT_TYPES)
    assert subclasses(Movement) == MOVEMENTS
    assert subclasses(GrantChange) == GRANT_CHANGES
    assert subclasses(RuleEvent) == RULE_EVENTS


@pytest.mark.parametrize("event_type", TOPICS)
def test_an_event_is_stored_under_a_name_of_its_own(event_type: type[Event]) -> None:
    """An inherited topic would store one event under the name of another."""
    assert event_type.__dict__.get("TOPIC") == TOPICS[event_type]
    assert [other for other in EVENT_TYPES if other.TOPIC == event_type.TOPIC] == [event_type]


@pytest.mark.parametrize("event_type", TOPICS)
def test_an_event_says_its_sign_itself_and_movements_have_one(event_type: type[Event]) -> None:
    assert SIGNS.get(event_type, 0) == event_type.SIGN


@pytest.mark.parametrize("event_type", TOPICS)
def test_an_event_cannot_be_changed(event_type: type[Event]) -> None:
    event = EVENTS[event_type]
    for name in event_type.model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(event, name, getattr(event, name))
    with pytest.raises(ValidationError, match="frozen"):
        del event.originator_id


@pytest.mark.parametrize("event_type", TOPICS)
def test_an_event_takes_no_field_it_does_not_know(event_type: type[Event]) -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        event_type.model_validate(fields_of(EVENTS[event_type]) | {"surprise": 1})


@pytest.mark.parametrize("event_type", TOPICS)
def test_an_event_made_without_validation_is_the_one_validation_makes(event_type: type[Event]) -> None:
    event = EVENTS[event_type]
    validated = event_type.model_validate(fields_of(event))
    assert validated == event
    assert validated.model_dump() == event.model_dump()


@pytest.mark.parametrize("event_type", [Granted, Debited, Refunded, Voided, Expired])
def test_a_movement_against_its_sign_is_not_an_event(event_type: type[Movement]) -> None:
    event = EVENTS[event_type]
    assert isinstance(event, Movement)
    for wrong in (0, -event.amount):
        with pytest.raises(ValidationError, match="must have the sign"):
            event_type.model_validate(fields_of(event) | {"amount": wrong})


@pytest.mark.parametrize(
    "after",
    [
        After(10, 0, -1, 10),
        After(10, -1, 0, 10),
        After(-1, 0, 0, 10),
        After(10, 0, 10, -1),
        After(10, 6, 5, 10),
    ],
)
def test_a_state_that_breaks_the_law_is_not_an_event(after: After) -> None:
    with pytest.raises(ValidationError, match="breaks granted"):
        Granted.model_validate(fields_of(EVENTS[Granted]) | {"after": after})


def test_a_lot_that_ends_before_it_begins_has_no_terms() -> None:
    for ends in (SEP, day("2026-08-31")):
        with pytest.raises(ValidationError, match="must be later"):
            Terms(effective_at=SEP, expires_at=ends, created_at=SEP)


GRANTED, USED, LEFT = units(10), units(4), units(6)
OVERDRAWN = {"amount": -units(11), "after": After(GRANTED, units(11), -units(1), -units(1))}
OVERFILLED = {"amount": units(5), "after": After(GRANTED, -units(1), units(11), units(11))}
CONTRADICTIONS = [
    # what the log says that cannot be, history whose last event says it
    ("another balance of the lot",     (consume(4),),           {"after": After(GRANTED, USED, LEFT - 1, LEFT)}),
    ("another use of the lot",         (consume(4),),           {"after": After(GRANTED, USED - 1, LEFT, LEFT)}),
    ("another total of the lot",       (consume(4),),           {"after": After(GRANTED + 1, USED, LEFT, LEFT)}),
    ("another balance of the pool",    (consume(4),),           {"after": After(GRANTED, USED, LEFT, LEFT + 1)}),
    ("more drawn than there is",       (consume(4),),           OVERDRAWN),
    ("more given back than was drawn", (consume(4), refund()),  OVERFILLED),
    ("a debit that names none",        (consume(4),),           {"debit_id": None}),
    ("a void of more than is left",    (void("A"),),            {"amount": -units(11)}),
    ("a lapse of less than it says",   (at(SEP), settle()),     {"amount": -units(9)}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("history", "changes"),
    [case[1:] for case in CONTRADICTIONS],
    ids=[case[0] for case in CONTRADICTIONS],
)
def test_an_event_that_contradicts_the_state_stops_the_fold(
    history: tuple[Step | Clock, ...], changes: dict[str, Any]
) -> None:
    *before, last = given(issue("A", 10, ends=SEP), *history).book.log
    pool = Pool(GRANTS)
    for event in before:
        pool.evolve(event)
    with pytest.raises(LawBroken):
        pool.evolve(changed(last, **changes))


@pytest.mark.parametrize("event_type", [Debited, Refunded, Voided, Expired])
def test_a_grant_does_not_move_before_it_is_issued(event_type: type[Event]) -> None:
    with pytest.raises(LawBroken, match="before it was issued"):
        credit_grant.evolve(None, EVENTS[event_type])


@pytest.mark.parametrize("event_type", [GrantUpdated, GrantPaymentRecorded])
def test_a_grant_does_not_change_before_it_is_issued(event_type: type[Event]) -> None:
    with pytest.raises(LawBroken, match="before it was issued"):
        credit_grant.evolve(None, EVENTS[event_type])


CHANGED = After(GRANTED, 0, GRANTED, GRANTED)
MOVED = [
    ("another balance of the lot",   {"after": CHANGED._replace(balance=GRANTED - 1)}),
    ("another use of the lot",       {"after": CHANGED._replace(used=1)}),
    ("another total of the lot",     {"after": CHANGED._replace(granted=GRANTED + 1)}),
    ("another balance of the pool",  {"after": CHANGED._replace(pool_balance=GRANTED + 1)}),
    ("a lot that there is not",      {"lot": LotId("other")}),
    ("a stream that there is not",   {"originator_id": StreamId("other")}),
    ("a version left out",           {"originator_version": 3}),
]  # fmt: skip


@pytest.mark.parametrize("step", [update("A", ends=SEP), pay("A")], ids=["updated", "paid"])
@pytest.mark.parametrize("changes", [case[1] for case in MOVED], ids=[case[0] for case in MOVED])
def test_a_grant_that_becomes_another_moves_no_credit(step: Step, changes: dict[str, Any]) -> None:
    issued, change = given(issue("A", 10, cost=5), step).book.log
    pool = Pool(GRANTS)
    pool.evolve(issued)
    assert isinstance(change, GrantChange)
    assert change.after == CHANGED
    with pytest.raises(LawBroken):
        pool.evolve(changed(change, **changes))


def test_a_grant_is_issued_once() -> None:
    event = EVENTS[Granted].model_copy(update={"originator_version": 1})
    grant = credit_grant.evolve(None, event)
    with pytest.raises(LawBroken, match="issued twice"):
        credit_grant.evolve(grant, event)


def test_a_grant_is_not_an_execution_credit_nor_the_other_way_round() -> None:
    event_type: type[Event]
    for event_type in DEFINITIONS:
        with pytest.raises(LawBroken, match="is a grant, which"):
            credit_grant.evolve(None, EVENTS[event_type])
    for event_type in set(EVENT_TYPES) - {ExecutionCreditDefined}:
        with pytest.raises(LawBroken, match="before it was defined"):
            execution_credit.evolve(None, EVENTS[event_type])
    credit = execution_credit.evolve(None, EVENTS[ExecutionCreditDefined].model_copy(update={"originator_version": 1}))
    for event_type in GRANT_CHANGES | DEFINITIONS - {ExecutionCreditDefined}:
        with pytest.raises(LawBroken, match="is an execution credit, which"):
            execution_credit.evolve(credit, EVENTS[event_type])


def test_versions_of_a_stream_are_gapless_over_all_its_commands() -> None:
    executions = given(
        open_credit("C", RollupType.MONTHLY, 100), consume(10, "d"), refund("d", 5), resize("C", 120), resize("C", 90),
        at(day("2026-06-01")), settle(), consume(1), delete("C"), pool=EXECUTIONS,
    )  # fmt: skip
    versions = [event.originator_version for event in executions.book.log]
    assert versions == list(range(1, len(versions) + 1))
    assert executions.book.credit("C").version == len(versions)


def test_terms_in_force_are_named_by_the_version_that_holds_them() -> None:
    scenario = given(open_credit("C", RollupType.MONTHLY, 10), resize("C", 20), pool=EXECUTIONS).when(consume(1))
    (debit,) = scenario.events
    assert isinstance(debit, Debited)
    holder = scenario.book.log[debit.terms_version - 1]
    assert isinstance(holder, Granted)
    assert (holder.lot, holder.originator_version) == (debit.lot, debit.terms_version)


def test_instants_in_events_are_aware() -> None:
    instants = [
        value for event in EVENTS.values() for value in fields_of(event).values() if isinstance(value, datetime)
    ]
    assert instants
    assert {instant.utcoffset() for instant in instants} == {SEP.utcoffset()}
