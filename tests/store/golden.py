"""One event of every shape there is, and the golden file of each: the row, the event and the view's row.

`python -m tests.store.golden` writes the files that are missing. A file that exists is never written again: the log
of somebody holds rows like it.
"""

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from ledger.domain.credits import credits_column
from ledger.domain.events import (
    AllocationRuleChanged,
    AllocationRuleDefined,
    AllocationRuleEvent,
    AllocationRuleRemoved,
    AutoRechargeDefined,
    Debited,
    ExecutionCreditDefined,
    Expired,
    Granted,
    GrantPaymentRecorded,
    GrantScheduleDefined,
    GrantUpdated,
    LedgerEvent,
    RechargesDone,
    RechargeSettings,
    Refunded,
    Rollover,
    RuleDetails,
    SchedulePlan,
    Spend,
    ThresholdReached,
    Voided,
)
from ledger.domain.grant_details import Cost, GrantDetails, Invoice, Origin, Payment, Recharge, ScheduledPart
from ledger.domain.values import (
    RULES,
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
from ledger.store.mapper import COLUMNS, LedgerMapper, fields_of_line

FOLDER = Path(__file__).parent.parent / "golden"
UNIT = 10**9
BEGIN = datetime(2026, 1, 31, 12, tzinfo=UTC)
END = datetime(2026, 2, 28, 12, 0, 0, 123456, tzinfo=UTC)
NOW = datetime(2026, 2, 1, 8, 30, 0, 1, tzinfo=UTC)
STREAM = StreamId("018f0000-0000-7000-8000-000000000001")
DEBIT = TransactionId("018f0000-0000-7000-8000-0000000000d1")
ODD_TEXT = 'tab\tnewline\nback\\slash "quoted" {brace} \u00e4\u20ac'

PLAIN = Transaction(DEBIT, NOW, Actor(ActorKind.SYSTEM, "ledger"), None, None, None)
FULL = Transaction(
    TransactionId("018f0000-0000-7000-8000-0000000000f1"),
    NOW,
    Actor(ActorKind.API_KEY, ODD_TEXT),
    ODD_TEXT,
    "cause-1",
    DocumentReference(DocumentId("018f0000-0000-7000-8000-0000000000a1"), "ab" * 32),
)
POOL = PoolKey(Kind.CREDIT_GRANT, "acme", "credits", None)
ODD_POOL = PoolKey(Kind.CREDIT_GRANT, ODD_TEXT, "credits", "resource-1")
COMPANY = PoolKey(Kind.EXECUTION_CREDIT, "company-1", "AI_PENTEST", None)
TERMS = Terms(effective_at=BEGIN, expires_at=END, created_at=BEGIN, priority=Decimal("12.5"))
NO_END = Terms(effective_at=BEGIN, expires_at=None, created_at=BEGIN)
OTHER = StreamId("018f0000-0000-7000-8000-000000000003")
TEXTS = DocumentReference(DocumentId("018f0000-0000-7000-8000-0000000000a2"), "cd" * 32)
RULE = RuleDetails(name="north", account_groups=("group-1",), allocated=100, alarm_threshold=80, created_at=BEGIN)
ODD_RULE = RuleDetails(
    name=ODD_TEXT, account_groups=("group-2", ODD_TEXT, "group-1"), allocated=2**31 - 1, alarm_threshold=100,
    currency=ODD_TEXT, created_at=END,
)  # fmt: skip
INVOICE = Invoice(
    billing_id="in_1", status=InvoiceStatus.OPEN, created_at=BEGIN, updated_at=NOW, due_at=END, currency="EUR",
    total=Decimal("9.90"), amount_due=Decimal("9.900000001"), requires_action=True, texts=FULL.document,
)  # fmt: skip


def _details(cost: str = "9.90", **others: Any) -> GrantDetails:
    return GrantDetails(readable_id="cg-0123456789abcdef", cost=Cost(amount=Decimal(cost), currency="EUR"), **others)


def _granted(grant_type: GrantType, cause: Cause, **others: Any) -> Granted:
    """A grant that the ledger made by itself."""
    return Granted.of(
        **_movement(
            originator_version=1, transaction=FULL, grant_type=grant_type, amount=100 * UNIT, effective_at=BEGIN,
            cause=cause, after=After(100 * UNIT, 0, 100 * UNIT, 150 * UNIT), terms=TERMS, grant=_details(**others),
        )
    )  # fmt: skip


def _change(cause: Cause, **changed: Any) -> dict[str, Any]:
    values = _movement(cause=cause, after=After(100 * UNIT, UNIT, 99 * UNIT, 150 * UNIT), terms_version=2, terms=TERMS)
    for name in ("use_at", "debit_id", "account_groups"):
        del values[name]
    return values | changed


def _schedule(**plan: Any) -> GrantScheduleDefined:
    values: dict[str, Any] = {
        "cadence": Cadence.MONTHLY, "billing_period": BillingPeriod.YEAR, "amount": 120 * UNIT + 1, "anchor_at": BEGIN,
        "priority": Decimal("12.5"), "cost": Cost(amount=Decimal("9.90"), currency="EUR"), "first_part": 3,
        "created_at": NOW,
    }  # fmt: skip
    return GrantScheduleDefined.of(
        originator_id=STREAM, originator_version=1, transaction=FULL, pool=POOL, plan=SchedulePlan(**values | plan)
    )


def _recharge(settings: RechargeSettings, done: RechargesDone) -> AutoRechargeDefined:
    return AutoRechargeDefined.of(
        originator_id=STREAM, originator_version=2, transaction=FULL, pool=POOL, settings=settings, done=done,
        created_at=BEGIN, saved_at=NOW,
    )  # fmt: skip


def _rule(event_type: type[AllocationRuleEvent], rule: RuleDetails, **others: Any) -> AllocationRuleEvent:
    values: dict[str, Any] = {"originator_id": STREAM, "originator_version": 2, "transaction": FULL, "pool": RULES}
    return event_type.of(**values | {"rule": rule} | others)


def _credit(**changed: Any) -> ExecutionCreditDefined:
    values: dict[str, Any] = {
        "originator_id": STREAM, "originator_version": 1, "transaction": PLAIN, "pool": COMPANY,
        "credit_type": CreditType.AI_PENTEST, "rollup_type": RollupType.QUARTERLY, "credits": 10 * UNIT,
        "anchor_at": BEGIN, "created_at": NOW, "deleted_at": None, "next_rollup_type": None, "first_month": 0,
    }  # fmt: skip
    return ExecutionCreditDefined.of(**values | changed)


def _movement(**changed: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "originator_id": STREAM,
        "originator_version": 2,
        "transaction": PLAIN,
        "pool": POOL,
        "lot": LotId(STREAM),
        "grant_type": GrantType.PAID,
        "effective_at": NOW,
        "use_at": None,
        "debit_id": None,
        "account_groups": None,
        "terms_version": 1,
    }
    return values | changed


GOLDEN: dict[str, LedgerEvent] = {
    "granted-v1": Granted.of(
        **_movement(
            originator_version=1, transaction=FULL, amount=100 * UNIT, effective_at=BEGIN, cause=Cause.ISSUED,
            after=After(100 * UNIT, 0, 100 * UNIT, 150 * UNIT), terms=TERMS,
            grant=_details(),
        )
    ),
    "granted-v1-invoiced": _granted(
        GrantType.PAID, Cause.ISSUED,
        payment=Payment(method=PaymentMethod.INVOICE, collection=PaymentCollection.PROCESSING),
    ),
    "granted-v1-of-schedule": _granted(
        GrantType.SUBSCRIPTION, Cause.SCHEDULED, scheduled=ScheduledPart(schedule_id=OTHER, part=0)
    ),
    "granted-v1-rolled-over": _granted(
        GrantType.ROLLOVER, Cause.ROLLED_OVER, cost="3.300000001",
        rolled_over_from=Origin(grant_id=OTHER, readable_id="cg-fedcba9876543210"),
    ),
    "granted-v1-of-recharge": _granted(
        GrantType.PAID, Cause.RECHARGED, recharge=Recharge(configuration_id=OTHER, number=1)
    ),
    "granted-v1-of-execution-credit": Granted.of(
        **_movement(
            pool=COMPANY, lot=LotId("018f0000-0000-7000-8000-000000000002"), grant_type=None, amount=10 * UNIT,
            cause=Cause.RENEWED, terms_version=2, after=After(10 * UNIT, 0, 10 * UNIT, 10 * UNIT), terms=NO_END,
            grant=None,
        )
    ),
    "debited-v1": Debited.of(
        **_movement(
            amount=-1, use_at=NOW, cause=Cause.CONSUMED, debit_id=DEBIT,
            after=After(10**28 - 1, 1, 10**28 - 2, 10**34),
        )
    ),
    "debited-v1-with-groups-and-document": Debited.of(
        **_movement(
            pool=ODD_POOL, transaction=FULL, amount=-UNIT, use_at=BEGIN, cause=Cause.CONSUMED, debit_id=DEBIT,
            account_groups=("group-1", ODD_TEXT), after=After(2 * UNIT, UNIT, UNIT, UNIT),
        )
    ),
    "refunded-v1": Refunded.of(
        **_movement(
            amount=UNIT // 2, use_at=BEGIN, cause=Cause.REFUNDED, debit_id=DEBIT, account_groups=("group-1",),
            after=After(2 * UNIT, UNIT // 2, UNIT, UNIT),
        )
    ),
    "voided-v1": Voided.of(
        **_movement(transaction=FULL, amount=-UNIT, cause=Cause.VOIDED, after=After(2 * UNIT, UNIT, 0, 0))
    ),
    "expired-v1": Expired.of(
        **_movement(
            effective_at=END, amount=-UNIT, cause=Cause.LAPSED, after=After(2 * UNIT, UNIT, 0, 0), rolled_over_to=None
        )
    ),
    "expired-v1-rolled-over": Expired.of(
        **_movement(
            transaction=FULL, grant_type=GrantType.SUBSCRIPTION, effective_at=END, amount=-UNIT,
            cause=Cause.ROLLED_OVER, after=After(3 * UNIT, UNIT, UNIT, UNIT), rolled_over_to=OTHER,
        )
    ),
    "grant-updated-v1": GrantUpdated.of(**_change(Cause.UPDATED, grant=_details(texts=TEXTS))),
    "grant-updated-v1-with-texts": GrantUpdated.of(
        **_change(
            Cause.UPDATED, transaction=FULL, pool=ODD_POOL, terms=NO_END,
            grant=_details(
                texts=FULL.document, scheduled=ScheduledPart(schedule_id=OTHER, part=7),
                payment=Payment(method=PaymentMethod.CHARGE, collection=PaymentCollection.FAILED),
            ),
        )
    ),
    "grant-payment-recorded-v1": GrantPaymentRecorded.of(
        **_change(
            Cause.PAYMENT_RECORDED,
            grant=_details(texts=TEXTS, payment=Payment(method=PaymentMethod.INVOICE, paid_at=NOW)),
        )
    ),
    "grant-payment-recorded-v1-with-invoice": GrantPaymentRecorded.of(
        **_change(
            Cause.PAYMENT_RECORDED, transaction=FULL,
            terms=TERMS.model_copy(update={"awaiting_payment": True}),
            grant=_details(
                texts=TEXTS,
                payment=Payment(
                    method=PaymentMethod.INVOICE, collection=PaymentCollection.ACTION_REQUIRED, invoice=INVOICE
                ),
            ),
        )
    ),
    "grant-schedule-defined-v1": _schedule(),
    "grant-schedule-defined-v1-with-rollover": _schedule(
        rollover=Rollover(max_amount=5 * UNIT + 1, expires_after_periods=2), ended_at=END
    ),
    "grant-schedule-defined-v1-with-rollover-of-all": _schedule(rollover=Rollover(expires_after_periods=1)),
    "auto-recharge-defined-v1": _recharge(
        RechargeSettings(enabled=False, unit_price=Cost(amount=Decimal(0), currency="USD")), RechargesDone()
    ),
    "auto-recharge-defined-v1-with-spend": _recharge(
        RechargeSettings(
            enabled=True, threshold=10 * UNIT, target=100 * UNIT + 1, max_spend=50 * UNIT,
            expiration_period=ExpirationPeriod.ONE_YEAR,
            unit_price=Cost(amount=Decimal("0.000000001"), currency="EUR"), payment_method=PaymentMethod.INVOICE,
        ),
        RechargesDone(grants=7, spend=Spend(month="2026-02", amount=25 * UNIT, currency="EUR")),
    ),
    "allocation-rule-defined-v1": _rule(AllocationRuleDefined, RULE, originator_version=1, transaction=PLAIN),
    "allocation-rule-defined-v1-with-odd-texts": _rule(AllocationRuleDefined, ODD_RULE, originator_version=1),
    "allocation-rule-changed-v1": _rule(AllocationRuleChanged, RULE, originator_version=2**31 - 1),
    "allocation-rule-changed-v1-with-currency": _rule(AllocationRuleChanged, ODD_RULE, transaction=PLAIN),
    "allocation-rule-removed-v1": _rule(AllocationRuleRemoved, RULE.model_copy(update={"removed_at": NOW})),
    "allocation-rule-removed-v1-with-currency": _rule(
        AllocationRuleRemoved, ODD_RULE.model_copy(update={"removed_at": END})
    ),
    "threshold-reached-v1": _rule(
        ThresholdReached, RULE, transaction=PLAIN, month="2026-01", used=80 * UNIT, allocated=100, alarm_threshold=80,
        reached_position=7, reached_at=NOW,
    ),
    "threshold-reached-v1-of-a-rule-that-is-another-by-now": _rule(
        ThresholdReached, ODD_RULE.model_copy(update={"removed_at": END}), month="1970-12", used=2 * (10**28 - 1),
        allocated=0, alarm_threshold=0, reached_position=2**62, reached_at=END,
    ),
    "execution-credit-defined-v1": _credit(
        transaction=FULL, rollup_type=RollupType.MONTHLY, created_at=BEGIN, deleted_at=NOW
    ),
    "execution-credit-defined-v1-about-to-turn": _credit(next_rollup_type=RollupType.YEARLY, originator_version=4),
    "execution-credit-defined-v1-turned": _credit(rollup_type=RollupType.YEARLY, first_month=7, originator_version=7),
    "execution-credit-defined-v1-with-the-largest-month": _credit(
        credit_type=CreditType.DAST, next_rollup_type=RollupType.MONTHLY, first_month=119_987, credits=10**28 - 1,
        originator_version=2**31 - 1, deleted_at=NOW,
    ),
}  # fmt: skip


AMOUNTS = ("amount", "lot_granted", "lot_used", "lot_balance", "pool_balance")


def row_of(event: LedgerEvent) -> dict[str, str | None]:
    """The row as it goes into the log, without its position; amounts as PostgreSQL tells them."""
    row = dict(zip(COLUMNS[2:], fields_of_line(LedgerMapper().to_stored_event(event).line), strict=True))
    return row | {name: None if (text := row[name]) is None else credits_column(units_of(text)) for name in AMOUNTS}


def units_of(text: str) -> int:
    """An amount in a line: billionths of a credit, and nothing else."""
    units, point, exponent = text.partition("e")
    assert (point, exponent) == ("e", "-9")
    return int(units)


def path_of(name: str) -> Path:
    return FOLDER / f"{name}.json"


def as_json(values: Any) -> str:
    return json.dumps(values, indent=2, ensure_ascii=False, default=str) + "\n"


if __name__ == "__main__":
    for name, event in GOLDEN.items():
        if not path_of(name).exists():
            path_of(name).write_text(as_json({"row": row_of(event), "event": event.model_dump(mode="json")}))
