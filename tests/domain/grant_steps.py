"""Steps of a scenario by which grants become others, and by which the ledger makes grants by itself."""

from datetime import datetime
from decimal import Decimal

from ledger.domain import auto_recharge, credit_grant, grant_schedule
from ledger.domain.credit_grant import Changes
from ledger.domain.decision import Decision
from ledger.domain.events import RechargeSettings, Rollover, SchedulePlan
from ledger.domain.grant_details import Cost, Invoice
from ledger.domain.instants import Instant
from ledger.domain.refusals import GrantScheduleNotFound
from ledger.domain.values import (
    BillingPeriod,
    Cadence,
    DocumentReference,
    ExpirationPeriod,
    InvoiceStatus,
    PaymentCollection,
    PaymentMethod,
    StreamId,
)
from tests.domain.scenario import START, Book, Step, texts_of, units

AT_ONCE, MONTHLY = Cadence.BEGINNING_OF_BILLING_PERIOD, Cadence.MONTHLY
MONTH, YEAR = BillingPeriod.MONTH, BillingPeriod.YEAR
PAID = PaymentCollection.NOT_REQUIRED


def update(
    grant: str,
    *,
    begins: Instant | None = None,
    ends: Instant | None = None,
    endless: bool = False,
    priority: int | str | None = None,
    texts: DocumentReference | None = None,
) -> Step:
    """Give a grant other terms or texts; what is not named stays."""
    changes = Changes(
        effective_at=begins,
        expires_at=ends,
        never_expires=endless,
        priority=None if priority is None else Decimal(priority),
    )

    def act(book: Book, decision: Decision) -> None:
        lot = decision.present(book.lot(grant))
        credit_grant.update(decision, lot, changes, texts or lot.texts)

    return Step(act, texts=texts)


def invoice(billing_id: str = "in_1", status: InvoiceStatus = InvoiceStatus.OPEN, due: int | None = None) -> Invoice:
    amount_due = None if due is None else Decimal(due)
    return Invoice(
        billing_id=billing_id, status=status, created_at=START, updated_at=START, amount_due=amount_due,
        requires_action=True,
    )  # fmt: skip


def pay(grant: str, collection: PaymentCollection = PAID, invoice: Invoice | None = None) -> Step:
    """Record how far a payment has come; by default, that it is paid."""
    return Step(
        lambda book, decision: credit_grant.record_payment(
            decision, decision.present(book.lot(grant)), collection, invoice
        )
    )


def mark_paid(grant: str) -> Step:
    return Step(lambda book, decision: credit_grant.mark_invoice_paid(decision, decision.present(book.lot(grant))))


def schedule(
    name: str,
    amount: int | str,
    *,
    cadence: Cadence = AT_ONCE,
    period: BillingPeriod = MONTH,
    anchor: Instant | None = None,
    cost: int | str = 0,
    priority: int | str = 50,
    rolls_for: int | None = None,
    rolls_at_most: int | str | None = None,
) -> Step:
    """Create a schedule whose id is its name; `rolls_for` is for how many billing periods a remainder rolls over."""
    rollover = None
    if rolls_for is not None:
        cap = None if rolls_at_most is None else units(rolls_at_most)
        rollover = Rollover(max_amount=cap, expires_after_periods=rolls_for)

    def act(book: Book, decision: Decision) -> None:
        plan = SchedulePlan(
            cadence=cadence,
            billing_period=period,
            amount=units(amount),
            anchor_at=anchor or book.now,
            priority=Decimal(priority),
            cost=Cost(amount=Decimal(cost), currency="EUR"),
            rollover=rollover,
            first_part=0,
            created_at=book.now,
        )
        grant_schedule.define(decision, StreamId(name), plan)

    return Step(act, texts=texts_of(name))


def end_schedule(name: str) -> Step:
    def act(book: Book, decision: Decision) -> None:
        found = decision.pool.schedules.get(StreamId(name))
        if found is None:
            raise GrantScheduleNotFound(name)
        grant_schedule.end(decision, found)

    return Step(act)


def save_recharge(
    name: str = "R",
    *,
    below: int | str | None = 10,
    to: int | str | None = 100,
    price: str | int = "0.5",
    currency: str = "USD",
    cap: int | str | None = None,
    enabled: bool = True,
    lasts: ExpirationPeriod | None = None,
    method: PaymentMethod = PaymentMethod.NONE,
) -> Step:
    """Save a recharge's settings; its configuration's id is the name under which it was saved first."""
    settings = RechargeSettings(
        enabled=enabled,
        threshold=None if below is None else units(below),
        target=None if to is None else units(to),
        max_spend=None if cap is None else units(cap),
        expiration_period=lasts,
        unit_price=Cost(amount=Decimal(price), currency=currency),
        payment_method=method,
    )
    return Step(lambda book, decision: auto_recharge.save(decision, decision.pool.recharge, StreamId(name), settings))


def recharge() -> Step:
    """Ask whether a recharge is due, as the reactor does."""
    return Step(lambda book, decision: auto_recharge.recharge(decision, decision.pool.recharge))


def end_of_month(number: int) -> Instant:
    """The last day of a month, counted from January 2026 as 0: where a schedule anchored at START steps to."""
    ends = {1: 28, 3: 30, 5: 30, 8: 30, 10: 30}
    year, month = divmod(number, 12)
    leap = month == 1 and year % 4 == 2
    return datetime(2026 + year, month + 1, 29 if leap else ends.get(month, 31), tzinfo=START.tzinfo)
