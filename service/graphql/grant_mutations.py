"""The mutations of grants. Each answers the grant as its own event left it, so a replay answers the same."""

from collections.abc import Callable
from typing import Any

import strawberry

from ledger.application import (
    Command,
    InvoiceTold,
    IssueGrant,
    MarkInvoicePaid,
    RecordGrantPayment,
    UpdateGrant,
    VoidGrant,
)
from ledger.domain.credits import credits_decimal
from ledger.domain.events import Granted, GrantPaymentRecorded, GrantUpdated, Voided
from ledger.domain.refusals import InvalidArgument
from ledger.domain.values import GrantType, InvoiceStatus, PaymentCollection, PaymentMethod
from projections.lots.queries import grant_as_issued, grant_as_of
from service.graphql.context import Info
from service.graphql.inputs import (
    CreditGrantInput,
    CreditGrantInvoiceInput,
    MarkInvoiceAsPaidInput,
    RecordGrantPaymentInput,
    UpdateCreditGrantInput,
    VoidCreditGrantInput,
    money_of,
)
from service.graphql.scalars import DEFAULT_PRIORITY, amount_of, priority_given, units_given
from service.graphql.types import CreditGrant

GRANTED_BY_CLIENTS = (GrantType.PAID, GrantType.PROMOTIONAL)


@strawberry.type
class GrantMutations:
    @strawberry.mutation(description="Give credits to a customer.")
    async def create_credit_grant(self, info: Info, input: CreditGrantInput) -> CreditGrant | None:
        command: IssueGrant | None = None

        def build() -> IssueGrant:
            nonlocal command
            command = issue_of(input)
            return command

        receipt = await info.context.carry_out(build)
        assert command is not None
        (granted,) = (event for event in receipt.events if isinstance(event, Granted))
        row = grant_as_issued(granted, receipt.position)
        texts = {"display_name": command.display_name, "comment": command.comment, "metadata": command.metadata}
        # A replay shows the first answer's spelling, which the log has.
        return CreditGrant(row=row, now=row.updated_at, texts=None if receipt.replayed else texts)

    @strawberry.mutation(description="Change a grant's terms and texts; its amount and cost never change.")
    async def update_credit_grant(self, info: Info, input: UpdateCreditGrantInput) -> CreditGrant | None:
        return await _changed(info, lambda: update_of(input))

    @strawberry.mutation(description="End what is left of a grant; what was consumed stays consumed.")
    async def void_credit_grant(self, info: Info, input: VoidCreditGrantInput) -> CreditGrant | None:
        return await _changed(
            info,
            lambda: VoidGrant(grant=input.id, reason=input.reason or None, idempotency_key=input.idempotency_key),
        )

    @strawberry.mutation(description="Record the latest invoice of a grant as paid; its credits can be used.")
    async def mark_invoice_as_paid(self, info: Info, input: MarkInvoiceAsPaidInput) -> CreditGrant | None:
        return await _changed(
            info, lambda: MarkInvoicePaid(grant=input.credit_grant_id, idempotency_key=input.idempotency_key)
        )

    @strawberry.mutation(description="Record how far the payment of a grant has come, and its latest invoice.")
    async def record_grant_payment(self, info: Info, input: RecordGrantPaymentInput) -> CreditGrant | None:
        return await _changed(info, lambda: recording_of(input))


async def _changed(info: Info, build: Callable[[], Command]) -> CreditGrant:
    """Carry out a command on a grant; returns the grant as its event left it."""
    receipt = await info.context.carry_out(build)
    (event,) = (one for one in receipt.events if isinstance(one, GrantUpdated | GrantPaymentRecorded | Voided))
    row = await info.context.reads.ask_log(grant_as_of, event)
    return CreditGrant(row=row, now=event.transaction.recorded_at)


def issue_of(given: CreditGrantInput) -> IssueGrant:
    """The command of createCreditGrant. Refuses: InvalidArgument."""
    grant_type = GrantType(given.grant_type.value)
    if grant_type not in GRANTED_BY_CLIENTS:
        raise InvalidArgument("grantType", "must be PAID or PROMOTIONAL: the others are the system's to give")
    cost, cost_currency = money_of(given.cost, field="cost")
    priority = priority_given(given.priority, given.priority_exact)
    method = given.payment_collection_method
    return IssueGrant(
        holder=given.customer_id,
        currency=given.currency_id,
        resource=given.resource_id,
        amount=amount_of(given.amount, given.amount_exact),
        display_name=given.display_name,
        grant_type=grant_type,
        cost=cost,
        cost_currency=cost_currency,
        payment_method=PaymentMethod.NONE if method is None else PaymentMethod(method.value),
        awaits_payment=given.await_payment_confirmation is not False,
        effective_at=given.effective_at,
        expires_at=given.expire_at,
        priority=DEFAULT_PRIORITY if priority is None else priority,
        comment=given.comment or None,
        metadata=given.additional_meta_data,  # type: ignore[arg-type]  # JSON: the command refuses what is no object
        idempotency_key=given.idempotency_key,
    )


def update_of(given: UpdateCreditGrantInput) -> UpdateGrant:
    """The command of updateCreditGrant: absent and null are not the same there. Refuses: InvalidArgument."""
    clearable: dict[str, Any] = {
        "expireAt": given.expire_at,
        "comment": None if given.comment == "" else given.comment,
        "metadata": given.additional_meta_data,
    }
    told = {name: value for name, value in clearable.items() if value is not strawberry.UNSET}
    return UpdateGrant(
        grant=given.id,
        display_name=given.display_name,
        effective_at=given.effective_at,
        expires_at=told.get("expireAt"),
        priority=priority_given(given.priority, given.priority_exact),
        comment=told.get("comment"),
        metadata=told.get("metadata"),
        clears=tuple(name for name, value in told.items() if value is None),
        idempotency_key=given.idempotency_key,
    )


def recording_of(given: RecordGrantPaymentInput) -> RecordGrantPayment:
    """The command of recordGrantPayment. Refuses: InvalidArgument."""
    return RecordGrantPayment(
        grant=given.credit_grant_id,
        collection=PaymentCollection(given.payment_collection.value),
        invoice=None if given.invoice is None else invoice_of(given.invoice),
        idempotency_key=given.idempotency_key,
    )


def invoice_of(given: CreditGrantInvoiceInput) -> InvoiceTold:
    """An invoice as it was told. Refuses: InvalidArgument."""
    total = units_given(given.total, given.total_exact, field="invoice.total")
    due = units_given(given.amount_due, given.amount_due_exact, field="invoice.amountDue")
    return InvoiceTold(
        billing_id=given.billing_id,
        status=InvoiceStatus(given.status.value),
        created_at=given.created_at,
        updated_at=given.updated_at,
        due_at=given.due_date,
        currency=given.currency,
        total=None if total is None else credits_decimal(total),
        amount_due=None if due is None else credits_decimal(due),
        requires_action=bool(given.requires_action),
        error_message=given.error_message or None,
        payment_url=given.payment_url or None,
        pdf_url=given.pdf_url or None,
    )
