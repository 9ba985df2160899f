"""What is written to the log is what is read from it, whatever the texts in it."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ledger.domain.credits import AMOUNT_MAX
from ledger.domain.events import (
    EVENT_TYPES,
    GRANT_CHANGES,
    MOVEMENTS,
    RULE_EVENTS,
    AutoRechargeDefined,
    Debited,
    ExecutionCreditDefined,
    Expired,
    Granted,
    GrantScheduleDefined,
    LedgerEvent,
    Movement,
    RechargesDone,
    RechargeSettings,
    Rollover,
    RuleDetails,
    SchedulePlan,
    Spend,
    ThresholdReached,
)
from ledger.domain.grant_details import Cost, GrantDetails, Invoice, Origin, Payment, Recharge, ScheduledPart
from ledger.domain.values import (
    Actor,
    ActorKind,
    After,
    BillingPeriod,
    Cadence,
    Cause,
    CreditType,
    DocumentId,
    DocumentReference,
    ExpirationPeriod,
    GrantType,
    InvoiceStatus,
    Kind,
    LotId,
    PaymentCollection,
    PaymentMethod,
    PoolKey,
    RollupType,
    StreamId,
    Terms,
    Transaction,
    TransactionId,
)
from ledger.store.mapper import COLUMNS, LedgerMapper, event_of_row, fields_of_line
from tests.domain.scenario import Book
from tests.laws.moves import books
from tests.store.golden import AMOUNTS, units_of

ASSIGNED_BY_THE_APPEND = ("position", "transaction_last")
INSTANTS = ("recorded_at", "effective_at", "use_at")
NUMBERS = ("version", "schema_version", "terms_version")

NASTY = [
    *("\t", "\n", "\r", "\\", "\\N", "\\n", "\\t", "\\\\t"),
    *('"', "'", ",", "{", "}", "{}", "NULL", " ", "\u2028", "ü", "😀"),
]
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12) | st.lists(
    st.sampled_from(NASTY), min_size=1, max_size=5
).map("".join)
uuids = st.uuids().map(str)
instants = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001  # zone apart
amounts = st.integers(1, 20) | st.integers(1, AMOUNT_MAX) | st.sampled_from([10**9, AMOUNT_MAX])
documents = st.builds(DocumentReference, uuids.map(DocumentId), st.text("0123456789abcdef", min_size=64, max_size=64))
transactions = st.builds(
    Transaction,
    uuids.map(TransactionId),
    instants,
    st.builds(Actor, st.sampled_from(ActorKind), texts),
    st.none() | texts,
    st.none() | texts,
    st.none() | documents,
)
pools = st.builds(PoolKey, st.sampled_from(Kind), texts, texts, st.none() | texts)
decimals = st.integers(0, 10**11).map(lambda units: Decimal(units).scaleb(-9))
costs = st.builds(Cost, amount=decimals, currency=st.sampled_from(["USD", "EUR"]))
streams = uuids.map(StreamId)
invoices = st.builds(
    Invoice,
    billing_id=texts,
    status=st.sampled_from(InvoiceStatus),
    created_at=instants,
    updated_at=instants,
    due_at=st.none() | instants,
    currency=st.none() | st.just("USD"),
    total=st.none() | decimals,
    amount_due=st.none() | decimals,
    requires_action=st.booleans(),
    texts=st.none() | documents,
)
payments = st.builds(
    Payment,
    method=st.sampled_from(PaymentMethod),
    collection=st.sampled_from(PaymentCollection),
    paid_at=st.none() | instants,
    invoice=st.none() | invoices,
)
details = st.builds(
    GrantDetails,
    readable_id=texts,
    cost=costs,
    payment=payments,
    scheduled=st.none() | st.builds(ScheduledPart, schedule_id=streams, part=st.integers(0, 10**6)),
    rolled_over_from=st.none() | st.builds(Origin, grant_id=streams, readable_id=texts),
    recharge=st.none() | st.builds(Recharge, configuration_id=streams, number=st.integers(1, 10**6)),
    texts=st.none() | documents,
)
plans = st.builds(
    SchedulePlan,
    cadence=st.sampled_from(Cadence),
    billing_period=st.sampled_from(BillingPeriod),
    amount=amounts,
    anchor_at=instants,
    priority=decimals,
    cost=costs,
    rollover=st.none()
    | st.builds(Rollover, max_amount=st.none() | amounts, expires_after_periods=st.integers(1, 1200)),
    first_part=st.integers(0, 10**6),
    created_at=instants,
    ended_at=st.none() | instants,
)
recharge_settings = st.builds(
    RechargeSettings,
    enabled=st.booleans(),
    threshold=st.none() | amounts,
    target=st.none() | amounts,
    max_spend=st.none() | st.just(0) | amounts,
    expiration_period=st.none() | st.sampled_from(ExpirationPeriod),
    unit_price=costs,
    payment_method=st.sampled_from(PaymentMethod),
)
recharges_done = st.builds(
    RechargesDone,
    grants=st.integers(0, 10**6),
    spend=st.none() | st.builds(Spend, month=st.just("2026-01"), amount=amounts, currency=st.just("USD")),
)
percents = st.integers(0, 100)
allocations = st.integers(0, 2**31 - 1)
rules = st.builds(
    RuleDetails,
    name=texts,
    account_groups=st.lists(texts, min_size=1, max_size=4).map(tuple),
    allocated=allocations,
    alarm_threshold=percents,
    currency=st.none() | texts,
    created_at=instants,
    removed_at=st.none() | instants,
)
TYPES = sorted(EVENT_TYPES, key=lambda event_type: event_type.TOPIC)


@st.composite
def terms(draw: st.DrawFn) -> Terms:
    begins, ends = sorted(draw(st.lists(instants, min_size=2, max_size=2, unique=True)))
    return Terms(
        effective_at=begins,
        expires_at=draw(st.none() | st.just(ends)),
        created_at=draw(instants),
        priority=draw(decimals),
        awaiting_payment=draw(st.booleans()),
    )


@st.composite
def events(draw: st.DrawFn) -> LedgerEvent:
    event_type = draw(st.sampled_from(TYPES))
    values: dict[str, Any] = {
        "originator_id": draw(uuids.map(StreamId)),
        "originator_version": draw(st.integers(1, 2**31 - 1)),
        "transaction": draw(transactions),
        "pool": draw(pools),
    }
    if event_type is ExecutionCreditDefined:
        values |= {
            "credit_type": draw(st.sampled_from(CreditType)),
            "rollup_type": draw(st.sampled_from(RollupType)),
            "credits": draw(amounts),
            "anchor_at": draw(instants),
            "created_at": draw(instants),
            "deleted_at": draw(st.none() | instants),
            "next_rollup_type": draw(st.none() | st.sampled_from(RollupType)),
            "first_month": draw(st.integers(0, 120_000)),
        }
    elif event_type is GrantScheduleDefined:
        values["plan"] = draw(plans)
    elif event_type is AutoRechargeDefined:
        values |= {"settings": draw(recharge_settings), "done": draw(recharges_done)}
        values |= {"created_at": draw(instants), "saved_at": draw(instants)}
    elif event_type in RULE_EVENTS:
        values["rule"] = draw(rules)
    else:
        used, balance, gone, elsewhere = draw(st.tuples(*[st.just(0) | amounts] * 4))
        values |= {
            "lot": draw(uuids.map(LotId)),
            "grant_type": draw(st.sampled_from(GrantType)),
            "effective_at": draw(instants),
            "cause": draw(st.sampled_from(Cause)),
            "terms_version": draw(st.integers(1, 2**31 - 1)),
            "after": After(used + balance + gone, used, balance, balance + elsewhere),
        }
    if event_type in MOVEMENTS:
        values |= {
            "grant_type": draw(st.none() | st.sampled_from(GrantType)),
            "amount": event_type.SIGN * draw(amounts),
            "use_at": draw(st.none() | instants),
            "debit_id": draw(st.none() | uuids),
            "account_groups": draw(st.none() | st.lists(texts, max_size=4).map(tuple)),
        }
    if event_type is Granted:
        values |= {"terms": draw(terms()), "grant": draw(st.none() | details)}
    elif event_type in GRANT_CHANGES:
        values |= {"terms": draw(terms()), "grant": draw(details)}
    elif event_type is Expired:
        values["rolled_over_to"] = draw(st.none() | uuids)
    elif event_type is ThresholdReached:
        values |= {"month": draw(instants).strftime("%Y-%m"), "used": draw(amounts), "allocated": draw(allocations)}
        values |= {"alarm_threshold": draw(percents), "reached_position": draw(st.integers(1, 2**63 - 1))}
        values["reached_at"] = draw(instants)
    return cast("LedgerEvent", event_type.model_validate(values))


def row_of(line: str) -> dict[str, Any]:
    """A rendered line as our connections load it back."""
    columns = [column for column in COLUMNS if column not in ASSIGNED_BY_THE_APPEND]
    row: dict[str, Any] = dict(zip(columns, fields_of_line(line), strict=True))
    readers: dict[str, Any] = dict.fromkeys(INSTANTS, datetime.fromisoformat)
    readers |= dict.fromkeys(AMOUNTS, units_of) | dict.fromkeys(NUMBERS, int)
    readers |= {"data": json.loads, "account_groups": array_of}
    for column, read in readers.items():
        if row[column] is not None:
            row[column] = read(row[column])
    return row | {"position": 1}


def array_of(text: str) -> list[str]:
    """A one-dimensional text[] as PostgreSQL reads it; every element of ours is quoted."""
    assert (text[0], text[-1]) == ("{", "}")
    elements: list[str] = []
    characters = iter(text[1:-1])
    for character in characters:
        assert character == ('"' if not elements else ",")
        if elements:
            assert next(characters) == '"'
        element = ""
        while (character := next(characters)) != '"':
            element += next(characters) if character == "\\" else character
        elements.append(element)
    return elements


def read_back(mapper: LedgerMapper, event: LedgerEvent) -> LedgerEvent:
    line = mapper.to_stored_event(event).line
    assert line.endswith("\n")
    assert line.count("\n") == 1
    assert "\r" not in line
    return event_of_row(row_of(line))


@given(st.lists(events(), min_size=1, max_size=3))
def test_every_event_comes_back_as_it_was_written(written: list[LedgerEvent]) -> None:
    """Several by one mapper, which renders once what neighbours share."""
    mapper = LedgerMapper()
    for event in [*written, *reversed(written)]:
        assert read_back(mapper, event) == event


@given(books())
def test_a_history_read_back_is_the_history(book: Book) -> None:
    mapper = LedgerMapper()
    assert [read_back(mapper, event) for event in book.log] == book.log


@given(st.lists(texts, max_size=6))
@example(NASTY)
@example(["NULL", "null", "", "\\N", "a,b", '{"a"}'])
def test_account_groups_keep_every_character(groups: list[str]) -> None:
    back = read_back(LedgerMapper(), _debit(account_groups=tuple(groups)))
    assert isinstance(back, Movement)
    assert back.account_groups == tuple(groups)


@pytest.mark.parametrize("text", NASTY)
def test_a_text_with_special_characters_keeps_its_column(text: str) -> None:
    pool = PoolKey(Kind.CREDIT_GRANT, f"h{text}", f"{text}c", text)
    debit = _debit(pool=pool, transaction=_transaction(actor=Actor(ActorKind.API_KEY, text), correlation_id=text))
    assert read_back(LedgerMapper(), debit) == debit


def test_an_event_is_rendered_under_its_topic() -> None:
    debit = _debit()
    assert row_of(LedgerMapper().to_stored_event(debit).line)["type"] == debit.TOPIC == "ledger.debited"


def _transaction(**changes: Any) -> Transaction:
    plain = Transaction(
        TransactionId("t"), datetime(2026, 1, 1, tzinfo=UTC), Actor(ActorKind.SYSTEM, "ledger"), None, None, None
    )
    return plain._replace(**changes)


def _debit(**changes: Any) -> Debited:
    values: dict[str, Any] = {
        "originator_id": "s",
        "originator_version": 2,
        "transaction": _transaction(),
        "pool": PoolKey(Kind.CREDIT_GRANT, "acme", "tokens", None),
        "lot": "s",
        "grant_type": GrantType.PAID,
        "amount": -1,
        "effective_at": datetime(2026, 1, 1, tzinfo=UTC),
        "use_at": datetime(2026, 1, 1, tzinfo=UTC),
        "cause": Cause.CONSUMED,
        "debit_id": "t",
        "account_groups": None,
        "terms_version": 1,
        "after": After(10, 1, 9, 9),
    }
    return Debited.model_validate(values | changes)
