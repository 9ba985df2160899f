"""Bad input is refused by the name of its field, before anything is written, whatever was given."""

from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest

from ledger.application import (
    BlockingLedger,
    ChangeAllocationRule,
    Command,
    ConsumeCredits,
    CreateGrantSchedule,
    DefineAllocationRule,
    DeleteExecutionCredit,
    EndGrantSchedule,
    InvoiceTold,
    IssueGrant,
    MarkInvoicePaid,
    OpenExecutionCredit,
    Receipt,
    RechargePool,
    RecordGrantPayment,
    RecordThreshold,
    RefundDebit,
    RemoveAllocationRule,
    SaveAutoRecharge,
    SettleDue,
    UpdateExecutionCredit,
    UpdateGrant,
    VoidGrant,
)
from ledger.domain.credits import credits_of
from ledger.domain.instants import add_months
from ledger.domain.refusals import InvalidArgument
from ledger.domain.values import RULES, Actor, ActorKind, Kind, PoolKey, RollupType
from ledger.store.database import Database, Role

CREDIT = "018f0000-0000-7000-8000-000000000001"
FINE: dict[type[Any], dict[str, Any]] = {
    ConsumeCredits: {"holder": "acme", "currency": "c", "amount": 1},
    IssueGrant: {"holder": "acme", "currency": "c", "amount": 1, "display_name": "g", "grant_type": "PAID"},
    RefundDebit: {"transaction_id": "018f0000-0000-7000-8000-000000000001"},
    VoidGrant: {"grant": "cg-1"},
    OpenExecutionCredit: {"company": "c", "credit_type": "DAST", "credits": 1, "rollup_type": "ADDON"},
    UpdateExecutionCredit: {"credit": CREDIT, "credits": 1},
    DeleteExecutionCredit: {"credit": CREDIT},
    UpdateGrant: {"grant": "cg-1", "priority": 1},
    RecordGrantPayment: {"grant": "cg-1", "collection": "PROCESSING"},
    InvoiceTold: {"billing_id": "in_1", "status": "OPEN"},
    MarkInvoicePaid: {"grant": "cg-1"},
    CreateGrantSchedule: {
        "holder": "acme", "currency": "c", "display_name": "s", "amount": 1, "billing_period": "MONTH",
        "cadence": "MONTHLY", "rollover_periods": 1,
    },
    EndGrantSchedule: {"schedule": "018f0000-0000-7000-8000-000000000001"},
    SaveAutoRecharge: {
        "holder": "acme", "currency": "c", "enabled": True, "threshold": 1, "target": 2, "unit_price": "0.5",
    },
    RechargePool: {"holder": "acme", "currency": "c"},
    SettleDue: {"due_pool": PoolKey(Kind.CREDIT_GRANT, "acme", "c", None)},
    DefineAllocationRule: {"name": "r", "account_groups": ["g"], "allocated": 1, "alarm_threshold": 1},
    ChangeAllocationRule: {"rule": CREDIT},
    RemoveAllocationRule: {"rule": CREDIT},
    RecordThreshold: {
        "rule": CREDIT, "month": "2026-01", "used": 1, "allocated": 1, "alarm_threshold": 1, "reached_position": 1,
        "reached_at": datetime(2026, 1, 1, tzinfo=UTC), "caused_by": "t",
    },
}  # fmt: skip
TEXTS: tuple[Any, ...] = ("", "x" * 201, "a\0b", "\ud800", 5, b"bytes", [], object())
AMOUNTS: tuple[Any, ...] = (
    0,
    -1,
    "0",
    "-1",
    "1e99",
    "NaN",
    "Infinity",
    "",
    " 1",
    "1_0",
    "0.0000000001",
    10**19,
    1.5,
    True,
    [],
    b"1",
)
INSTANTS = (datetime(2026, 1, 1), "2026-01-01", 5, True)  # noqa: DTZ001  # without a zone, on purpose
OBJECTS = (
    True,
    5,
    "x",
    [1],
    {"a": object()},
    {1: 2},
    {1: 1, "b": 2},
    {"a": "\0"},
    {"a": "\ud800"},
    {"a": float("nan")},
)
HUGE = {"a": "x" * 16_400}

NOT_WHOLE: tuple[Any, ...] = ("0.5", "1.000000001", Decimal("2.5"), 2**31, "2147483648", 10**18)
"""Amounts that credits of grants may have, and execution credits may not."""
MONEY = (-1, "x", 1.5, "0.0000000001", "NaN", 10**19)
MAYBE: tuple[Any, ...] = ("yes", 1, None, [])
"""What is neither true nor false."""

BAD: list[tuple[type[Any], str, str, Any]] = [
    (ConsumeCredits, "holder", "holder", TEXTS),
    (ConsumeCredits, "currency", "currency", TEXTS),
    (ConsumeCredits, "resource", "resource", TEXTS),
    (ConsumeCredits, "amount", "amount", (*AMOUNTS, None)),
    (ConsumeCredits, "use_at", "useAt", INSTANTS),
    (ConsumeCredits, "kind", "kind", ("GRANT", None, 5, [], "ALLOCATION_RULE", Kind.ALLOCATION_RULE)),
    (ConsumeCredits, "account_groups", "accountGroupIds", ("g", 5, [5], [""], ["g"] * 1001)),
    (ConsumeCredits, "dimensions", "dimensions", (*OBJECTS, HUGE, {"a": 1}, {"": "x"})),
    (ConsumeCredits, "idempotency_key", "idempotencyKey", ("", "x" * 256, "a\0b", "\ud800", 5, b"k", [], object())),
    (ConsumeCredits, "actor", "actor", (None, "bob", ("NOPE", "x"), Actor("NOPE", "x"), Actor(ActorKind.SYSTEM, ""))),  # type: ignore[arg-type]
    (ConsumeCredits, "correlation_id", "correlationId", TEXTS),
    (ConsumeCredits, "causation_id", "causationId", TEXTS),
    (IssueGrant, "display_name", "displayName", TEXTS),
    (IssueGrant, "grant_type", "grantType", ("FREE", "", None, 5)),
    (IssueGrant, "cost", "cost", (-1, "x", None, 1.5, "0.0000000001")),
    (IssueGrant, "cost_currency", "costCurrency", ("usd", "US", "USDX", "US1", "US\n", "", None, 7)),
    (IssueGrant, "priority", "priority", (-1, 101, "x", None, 0.5)),
    (IssueGrant, "effective_at", "effectiveAt", INSTANTS),
    (IssueGrant, "expires_at", "expireAt", INSTANTS),
    (IssueGrant, "comment", "comment", TEXTS),
    (IssueGrant, "metadata", "metadata", (*OBJECTS, HUGE, {"a": float("nan")})),
    (RefundDebit, "transaction_id", "transactionId", TEXTS),
    (RefundDebit, "amount", "amount", AMOUNTS),
    (RefundDebit, "reason", "reason", TEXTS),
    (RefundDebit, "kind", "kind", ("GRANT", None, 5, [], "ALLOCATION_RULE", Kind.ALLOCATION_RULE)),
    (VoidGrant, "grant", "id", TEXTS),
    (VoidGrant, "reason", "reason", TEXTS),
    (OpenExecutionCredit, "company", "companyId", TEXTS),
    (OpenExecutionCredit, "credit_type", "creditType", ("SAST", None)),
    (OpenExecutionCredit, "rollup_type", "rollupType", ("WEEKLY", None)),
    (OpenExecutionCredit, "credits", "credits", (*AMOUNTS, *NOT_WHOLE, None)),
    (OpenExecutionCredit, "period_anchor", "periodAnchor", INSTANTS),
    (OpenExecutionCredit, "company_label", "companyLabel", TEXTS),
    (UpdateExecutionCredit, "credit", "id", TEXTS),
    (UpdateExecutionCredit, "credits", "credits", (*AMOUNTS, *NOT_WHOLE)),
    (UpdateExecutionCredit, "credits", "input", (None,)),
    (UpdateExecutionCredit, "rollup_type", "rollupType", ("WEEKLY", "", 5, [])),
    (DeleteExecutionCredit, "credit", "id", TEXTS),
    (IssueGrant, "payment_method", "paymentCollectionMethod", ("CASH", "", None, 5)),
    (IssueGrant, "awaits_payment", "awaitPaymentConfirmation", MAYBE),
    (UpdateGrant, "grant", "id", TEXTS),
    (UpdateGrant, "display_name", "displayName", TEXTS),
    (UpdateGrant, "effective_at", "effectiveAt", INSTANTS),
    (UpdateGrant, "expires_at", "expireAt", INSTANTS),
    (UpdateGrant, "priority", "priority", (-1, 101, "x", 0.5)),
    (UpdateGrant, "priority", "input", (None,)),
    (UpdateGrant, "comment", "comment", TEXTS),
    (UpdateGrant, "metadata", "metadata", (*OBJECTS, HUGE)),
    (UpdateGrant, "clears", "clears", (("priority",), ("displayName", "comment"), "comment", None, 5, ([],))),
    (RecordGrantPayment, "grant", "creditGrantId", TEXTS),
    (RecordGrantPayment, "collection", "paymentCollection", ("PAID", "", None, 5)),
    (RecordGrantPayment, "invoice", "invoice", ("in_1", 5, {}, [])),
    (InvoiceTold, "billing_id", "invoice.billingId", (*TEXTS, None)),
    (InvoiceTold, "status", "invoice.status", ("DRAFT", "", None, 5)),
    (InvoiceTold, "created_at", "invoice.createdAt", INSTANTS),
    (InvoiceTold, "updated_at", "invoice.updatedAt", INSTANTS),
    (InvoiceTold, "due_at", "invoice.dueDate", INSTANTS),
    (InvoiceTold, "currency", "invoice.currency", ("usd", "", 7)),
    (InvoiceTold, "total", "invoice.total", MONEY),
    (InvoiceTold, "amount_due", "invoice.amountDue", MONEY),
    (InvoiceTold, "requires_action", "invoice.requiresAction", MAYBE),
    (InvoiceTold, "error_message", "invoice.errorMessage", ("", "x" * 1001, "a\0b", 5)),
    (InvoiceTold, "payment_url", "invoice.paymentUrl", ("", "x" * 2001, "\ud800", 5)),
    (InvoiceTold, "pdf_url", "invoice.pdfUrl", ("", "x" * 2001, "\ud800", 5)),
    (MarkInvoicePaid, "grant", "creditGrantId", TEXTS),
    (CreateGrantSchedule, "holder", "holder", TEXTS),
    (CreateGrantSchedule, "currency", "currency", TEXTS),
    (CreateGrantSchedule, "resource", "resource", TEXTS),
    (CreateGrantSchedule, "display_name", "displayName", TEXTS),
    (CreateGrantSchedule, "amount", "amountPerPeriod", (*AMOUNTS, None)),
    (CreateGrantSchedule, "billing_period", "billingPeriod", ("WEEK", "", None, 5)),
    (CreateGrantSchedule, "cadence", "cadence", ("DAILY", "", None, 5)),
    (CreateGrantSchedule, "anchor_at", "anchorAt", INSTANTS),
    (CreateGrantSchedule, "priority", "priority", (-1, 101, "x", None, 0.5)),
    (CreateGrantSchedule, "cost", "cost", (*MONEY, None)),
    (CreateGrantSchedule, "cost_currency", "costCurrency", ("usd", "US\n", None)),
    (CreateGrantSchedule, "rollover_max", "rollover.maxAmount", AMOUNTS),
    (CreateGrantSchedule, "rollover_periods", "rollover.expiresAfterPeriods", (0, -1, 1201, 1.5, True, "2", [])),
    (EndGrantSchedule, "schedule", "schedule", TEXTS),
    (SaveAutoRecharge, "holder", "holder", TEXTS),
    (SaveAutoRecharge, "currency", "currency", TEXTS),
    (SaveAutoRecharge, "enabled", "isEnabled", MAYBE),
    (SaveAutoRecharge, "threshold", "thresholdValue", (*AMOUNTS, None)),
    (SaveAutoRecharge, "target", "targetBalance", (*AMOUNTS, None, "0.999999999")),
    (SaveAutoRecharge, "max_spend", "maxSpendLimit", (-1, "x", 1.5)),
    (SaveAutoRecharge, "expiration_period", "grantExpirationPeriod", ("OneMonth", "", 5)),
    (SaveAutoRecharge, "unit_price", "unitPrice", (*MONEY, None)),
    (SaveAutoRecharge, "unit_price", "unitPrice", ("9999999999999999999",)),
    (SaveAutoRecharge, "price_currency", "unitPrice.currency", ("usd", "", None)),
    (SaveAutoRecharge, "payment_method", "paymentCollectionMethod", ("CASH", None)),
    (RechargePool, "holder", "holder", TEXTS),
    (RechargePool, "currency", "currency", TEXTS),
    (SettleDue, "due_pool", "pool", (None, "x", ("CREDIT_GRANT", "a", "c", None))),
    (SettleDue, "due_pool", "kind", (RULES, PoolKey(Kind.ALLOCATION_RULE, "acme", "c", None))),
]


@pytest.mark.parametrize(("command", "field", "wire", "values"), BAD, ids=[f"{c.__name__}.{f}" for c, f, _, _ in BAD])
def test_a_bad_value_is_refused_by_its_field(command: type[Any], field: str, wire: str, values: Any) -> None:
    for value in values:
        with pytest.raises(InvalidArgument) as refused:
            command(**FINE[command] | {field: value})
        assert refused.value.field == wire, value


@pytest.mark.parametrize("command", FINE, ids=lambda command: command.__name__)
def test_the_same_command_without_the_bad_value_is_fine(command: type[Any]) -> None:
    command(**FINE[command])


def test_every_command_is_held_to_its_input() -> None:
    def below(command: type[Command]) -> set[type[Command]]:
        found = {command} if hasattr(command, "operation") else set()
        return found.union(*(below(kind) for kind in command.__subclasses__()))

    assert below(Command) - set(FINE) == set()


def test_what_does_not_go_together_is_refused_by_what_is_missing() -> None:
    recharge, plan = FINE[SaveAutoRecharge], FINE[CreateGrantSchedule]
    together: list[tuple[type[Any], dict[str, Any], str]] = [
        (SaveAutoRecharge, recharge | {"unit_price": 0, "max_spend": 5}, "unitPrice"),
        (CreateGrantSchedule, plan | {"rollover_periods": None, "rollover_max": 5}, "rollover.expiresAfterPeriods"),
        (UpdateGrant, {"grant": "cg-1"}, "input"),
        (UpdateExecutionCredit, {"credit": CREDIT}, "input"),
    ]
    for command, fields, wire in together:
        with pytest.raises(InvalidArgument) as refused:
            command(**fields)
        assert refused.value.field == wire
    SaveAutoRecharge(**recharge | {"enabled": False, "threshold": None, "target": None, "max_spend": 0})
    UpdateGrant(grant="cg-1", metadata={})
    UpdateExecutionCredit(credit=CREDIT, rollup_type=RollupType.YEARLY)


@pytest.mark.parametrize("amount", NOT_WHOLE)
def test_execution_credits_are_used_and_refunded_in_whole_ones(amount: Any) -> None:
    for command in (ConsumeCredits, RefundDebit):
        with pytest.raises(InvalidArgument) as refused:
            command(**FINE[command] | {"amount": amount, "kind": Kind.EXECUTION_CREDIT})
        assert refused.value.facts == {"field": "amount", "reason": "must be a whole number of at most 2147483647"}
        command(**FINE[command] | {"amount": amount})


@pytest.mark.parametrize("amount", [1, "1.000", Decimal("7.0"), 2**31 - 1, "2147483647"])
def test_a_whole_amount_may_be_spelled_in_any_way_and_be_as_large_as_the_wire_has_room_for(amount: Any) -> None:
    kind = Kind.EXECUTION_CREDIT
    for command in (ConsumeCredits, RefundDebit):
        assert command(**FINE[command] | {"amount": amount, "kind": kind}).amount == credits_of(amount)
    assert OpenExecutionCredit(**FINE[OpenExecutionCredit] | {"credits": amount}).credits == credits_of(amount)
    assert UpdateExecutionCredit(credit=CREDIT, credits=amount).credits == credits_of(amount)


def test_a_zone_that_fails_is_bad_input() -> None:
    class Broken(tzinfo):
        def utcoffset(self, _: datetime | None) -> Any:
            raise RuntimeError("broken")

        dst = tzname = utcoffset

    with pytest.raises(InvalidArgument):
        ConsumeCredits(holder="a", currency="c", amount=1, use_at=datetime(2026, 1, 1, tzinfo=Broken()))


def test_what_is_no_command_is_refused(books: BlockingLedger) -> None:
    for wrong in ([None], ["x"], [ConsumeCredits]):
        with pytest.raises(InvalidArgument):
            books.ledger.execute_many_blocking(wrong)  # type: ignore[arg-type]


def test_a_member_of_an_enumeration_is_kept_as_the_text_it_stands_for(
    books: BlockingLedger, database: Database
) -> None:
    class Currency(str, Enum):  # noqa: UP042  # the older kind, whose str() is its name
        CREDITS = "credits"

    books.issue_grant(holder="acme", currency=Currency.CREDITS, amount=1, display_name="g", grant_type="PAID")
    with database.connect(Role.WRITER) as connection:
        for table in ("events", "open_lots"):
            assert connection.execute(f"SELECT currency FROM {table}".encode()).fetchone() == {"currency": "credits"}
    assert books.consume(holder="acme", currency="credits", amount=1).pool_balance == 0


def test_a_list_that_its_caller_changes_meanwhile_is_carried_out_as_it_was(books: BlockingLedger) -> None:
    books.issue_grant(holder="acme", currency="c", amount=10, display_name="g", grant_type="PAID")
    commands = [ConsumeCredits(holder="acme", currency="c", amount=1) for _ in range(3)]
    taken = iter(commands)
    assert len(books.ledger.execute_many_blocking(taken)) == 3


def test_a_thing_named_by_either_name_has_one_set_of_keys(books: BlockingLedger) -> None:
    issued = books.issue_grant(holder="acme", currency="c", amount=10, display_name="g", grant_type="PAID")
    readable = vars(issued.events[0])["grant"].readable_id
    first = books.void_grant(grant=readable, idempotency_key="v")
    for name in (issued.stream_id, issued.stream_id.upper(), readable):
        again = books.void_grant(grant=name, idempotency_key="v")
        assert (again.replayed, again.transaction_id) == (True, first.transaction_id)


def test_an_id_may_be_given_in_capitals(books: BlockingLedger) -> None:
    opened = books.open_execution_credit(company="c", credit_type="DAST", credits=10, rollup_type="ADDON")
    update: Callable[..., Receipt] = books.update_execution_credit
    first = update(credit=opened.stream_id, credits=20, idempotency_key="r")
    assert (
        update(credit=opened.stream_id.upper(), credits=20, idempotency_key="r").transaction_id == first.transaction_id
    )
    debit = books.consume(holder="c", currency="DAST", amount=5, kind=Kind.EXECUTION_CREDIT)
    refund = books.refund(transaction_id=debit.transaction_id.upper(), kind=Kind.EXECUTION_CREDIT)
    assert refund.draws == debit.draws


def test_a_command_that_moves_nothing_has_a_receipt_that_says_so(books: BlockingLedger) -> None:
    opened = books.open_execution_credit(company="c", credit_type="DAST", credits=10, rollup_type="ADDON")
    same = books.update_execution_credit(credit=opened.stream_id, credits=10)
    assert (same.lot_id, same.pool_balance, same.amount, same.draws) == (None, None, 0, ())
    assert same.stream_id == opened.stream_id
    nothing = books.execute(SettleDue(due_pool=PoolKey(Kind.CREDIT_GRANT, "acme", "c", None)))
    assert (nothing.position, nothing.recorded_at, nothing.events) == (0, None, ())


def test_a_period_beyond_the_calendar_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        add_months(datetime(9999, 12, 31, tzinfo=UTC), 1)
