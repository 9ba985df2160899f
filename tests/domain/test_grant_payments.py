"""How a grant's cost is collected: what waits for its payment, what is recorded, and what may pay from when on."""

from decimal import Decimal
from typing import Any

import pytest

from ledger.domain.events import Debited, Expired, GrantPaymentRecorded, GrantUpdated
from ledger.domain.grant_details import Invoice, Payment
from ledger.domain.refusals import CreditGrantAlreadyVoided, InsufficientCredits, InvalidArgument
from ledger.domain.values import Cause, InvoiceStatus, PaymentCollection, PaymentMethod
from tests.domain.grant_steps import invoice, mark_paid, pay, update
from tests.domain.scenario import (
    Clock,
    Scenario,
    Step,
    at,
    consume,
    day,
    fact,
    given,
    issue,
    settle,
    texts_of,
    units,
    void,
)

NONE, INVOICE, CHARGE = PaymentMethod.NONE, PaymentMethod.INVOICE, PaymentMethod.CHARGE
PAID, PROCESSING = PaymentCollection.NOT_REQUIRED, PaymentCollection.PROCESSING
FAILED, ACTION_REQUIRED = PaymentCollection.FAILED, PaymentCollection.ACTION_REQUIRED
JULY, SEP = day("2026-07-01"), day("2026-09-01")
INVOICED = issue("A", 10, cost=5, method=INVOICE)
REOPENED = {"field": "paymentCollection", "reason": "must stay NOT_REQUIRED: the payment was recorded already"}


def last_payment(scenario: Scenario) -> Payment:
    event = scenario.events[-1]
    assert isinstance(event, GrantPaymentRecorded)
    return event.grant.payment


WAITING = [
    # method    cost  awaits   waits   collection
    (NONE,      0,    True,    False,  PAID),
    (NONE,      5,    True,    False,  PAID),
    (INVOICE,   0,    True,    False,  PAID),
    (INVOICE,   5,    True,    True,   PROCESSING),
    (INVOICE,   5,    False,   True,   PROCESSING),
    (INVOICE,   "0.000000001", True, True, PROCESSING),
    (CHARGE,    0,    True,    False,  PAID),
    (CHARGE,    5,    True,    True,   PROCESSING),
    (CHARGE,    5,    False,   False,  PROCESSING),
]  # fmt: skip


@pytest.mark.parametrize(("method", "cost", "awaits", "waits", "collection"), WAITING)
def test_what_waits_for_its_payment_cannot_pay(
    method: PaymentMethod, cost: int | str, awaits: bool, waits: bool, collection: PaymentCollection
) -> None:
    scenario = given(issue("A", 10, cost=cost, method=method, awaits=awaits))
    details = scenario.book.lot("A").details
    assert details is not None
    assert details.payment == Payment(method=method, collection=collection)
    scenario.when(consume(1))
    if waits:
        scenario.then_refused(InsufficientCredits, available=0, requested=units(1), shortfall=units(1))
    else:
        scenario.then(fact(Debited, "A", -1))


def test_what_is_recorded_as_paid_can_pay_at_that_very_instant() -> None:
    scenario = given(INVOICED, at(JULY)).when(pay("A"), consume(10))
    scenario.then(
        fact(GrantPaymentRecorded, "A", cause=Cause.PAYMENT_RECORDED, effective_at=JULY, terms_version=2,
             after=(units(10), 0, units(10), units(10))),
        fact(Debited, "A", -10, terms_version=2),
    )  # fmt: skip
    assert scenario.events[0].grant.payment == Payment(method=INVOICE, collection=PAID, paid_at=JULY)  # type: ignore[union-attr]
    assert not scenario.events[0].terms.awaiting_payment  # type: ignore[union-attr]
    assert scenario.events[0].grant.texts == texts_of("A")  # type: ignore[union-attr]  # named wherever they came from


@pytest.mark.parametrize("collection", [PROCESSING, FAILED, ACTION_REQUIRED])
def test_a_payment_on_its_way_leaves_the_credits_waiting(collection: PaymentCollection) -> None:
    scenario = given(INVOICED).when(pay("A", collection))
    assert last_payment(scenario) == Payment(method=INVOICE, collection=collection)
    scenario.when(consume(1)).then_refused(
        InsufficientCredits, available=0, requested=units(1), shortfall=units(1)
    ).when(pay("A"), consume(1)).then(fact(GrantPaymentRecorded, "A"), fact(Debited, "A", -1))


def test_what_was_paid_once_stays_paid_and_remembers_when() -> None:
    """A message that comes late takes nothing back."""
    scenario = given(INVOICED, at(JULY), pay("A"), at(SEP)).when(pay("A", FAILED))
    scenario.then_refused(InvalidArgument, **REOPENED)
    scenario.when(consume(1)).then(fact(Debited, "A", -1)).when(pay("A"))
    assert last_payment(scenario) == Payment(method=INVOICE, collection=PAID, paid_at=JULY)


def test_an_invoice_that_is_told_stays_until_another_is() -> None:
    scenario = given(INVOICED).when(pay("A", PROCESSING, invoice("in_1", due=5)))
    assert last_payment(scenario).invoice == invoice("in_1", due=5)
    scenario.when(pay("A", FAILED))
    assert last_payment(scenario).invoice == invoice("in_1", due=5)
    scenario.when(pay("A", PROCESSING, invoice("in_2")))
    assert last_payment(scenario).invoice == invoice("in_2")


def test_a_payment_leaves_terms_and_texts_as_they_are() -> None:
    scenario = given(INVOICED, update("A", ends=SEP, priority=3, texts=texts_of("other"))).when(pay("A"))
    event = scenario.events[0]
    assert isinstance(event, GrantPaymentRecorded)
    assert (event.terms.expires_at, event.terms.priority, event.grant.texts) == (SEP, Decimal(3), texts_of("other"))


def test_an_update_leaves_the_payment_as_it_is() -> None:
    scenario = given(INVOICED, pay("A", FAILED, invoice())).when(update("A", priority=3), consume(1))
    event = scenario.events[0]
    assert isinstance(event, GrantUpdated)
    assert event.grant.payment == Payment(method=INVOICE, collection=FAILED, invoice=invoice())
    assert event.terms.awaiting_payment
    scenario.then_refused(InsufficientCredits, available=0, requested=units(1), shortfall=units(1))


MARKED = [
    # how the grant stands                                      the invoice that is marked as paid, if any
    ("no invoice told",         (INVOICED,),                                              None),
    ("a charge, none told",     (issue("A", 10, cost=5, method=CHARGE),),                 None),
    ("one told",                (INVOICED, pay("A", FAILED, invoice())),                  invoice()),
    ("one told that says more", (INVOICED, pay("A", PROCESSING, invoice(due=5))),         invoice(due=5)),
    ("told by hand",            (issue("A", 10, cost=5), pay("A", FAILED, invoice())),    invoice()),
]  # fmt: skip


@pytest.mark.parametrize(("steps", "told"), [case[1:] for case in MARKED], ids=[case[0] for case in MARKED])
def test_an_invoice_marked_as_paid_is_paid_and_so_is_the_grant(steps: tuple[Step, ...], told: Invoice | None) -> None:
    scenario = given(*steps, at(JULY)).when(mark_paid("A"))
    payment = last_payment(scenario)
    assert (payment.collection, payment.paid_at) == (PAID, JULY)
    if told is None:
        assert payment.invoice is None
    else:
        paid = {"status": InvoiceStatus.PAID, "updated_at": JULY, "requires_action": False}
        due = {} if told.amount_due is None else {"amount_due": Decimal(0)}
        assert payment.invoice == told.model_copy(update=paid | due)
    scenario.when(consume(10)).then(fact(Debited, "A", -10))


def test_an_invoice_may_be_marked_as_paid_twice() -> None:
    scenario = given(INVOICED, at(JULY), mark_paid("A"), at(SEP)).when(mark_paid("A"))
    assert last_payment(scenario).paid_at == JULY


FREE = {"field": "creditGrantId", "reason": "names a grant that costs nothing"}
UNBILLED = {"field": "creditGrantId", "reason": "names a grant that has no invoice"}
NOT_PAID = {"field": "paymentCollection", "reason": "must be NOT_REQUIRED once the invoice is PAID"}
SETTLED = invoice(status=InvoiceStatus.PAID)
REFUSED = [
    # why, what comes before, the act, the facts of its InvalidArgument (none: it is void already)
    ("void",                         (INVOICED, void("A")),                     pay("A"),                     None),
    ("void and free",                (issue("A", 10), void("A")),               pay("A"),                     None),
    ("void, marked",                 (INVOICED, void("A")),                     mark_paid("A"),               None),
    ("free",                         (issue("A", 10, method=INVOICE),),         pay("A"),                     FREE),
    ("free, marked",                 (issue("A", 10),),                         mark_paid("A"),               FREE),
    ("free, and the invoice is odd", (issue("A", 10),),                         pay("A", FAILED, SETTLED),    FREE),
    ("no invoice, marked",           (issue("A", 10, cost=5),),                 mark_paid("A"),               UNBILLED),
    ("paid and not paid",            (INVOICED,),                               pay("A", FAILED, SETTLED),    NOT_PAID),
    ("paid before and not now",      (INVOICED, pay("A", PAID, SETTLED)),       pay("A", PROCESSING),         REOPENED),
]  # fmt: skip


@pytest.mark.parametrize(("before", "step", "facts"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_payment_is_refused_in_this_order(
    before: tuple[Step | Clock, ...], step: Step, facts: dict[str, Any] | None
) -> None:
    scenario = given(*before).when(step)
    if facts is None:
        scenario.then_refused(CreditGrantAlreadyVoided, grant="A")
    else:
        scenario.then_refused(InvalidArgument, **facts)


def test_a_grant_that_ended_unpaid_may_still_be_recorded_as_paid_and_pays_for_nothing() -> None:
    scenario = given(issue("A", 10, cost=5, method=INVOICE, ends=SEP), at(SEP)).when(pay("A"))
    scenario.then(
        fact(Expired, "A", -10), fact(GrantPaymentRecorded, "A", after=(units(10), 0, 0, 0), effective_at=SEP)
    )
    scenario.when(consume(1)).then_refused(InsufficientCredits, available=0, requested=units(1), shortfall=units(1))
    scenario.when(settle()).then()
