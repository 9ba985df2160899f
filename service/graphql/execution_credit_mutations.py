"""The mutations of execution credits. A refusal of a rule is told in the payload; each answers from its own events."""

from collections.abc import Callable
from typing import NamedTuple, Self

import strawberry

from ledger.application import (
    Command,
    ConsumeCredits,
    DeleteExecutionCredit,
    OpenExecutionCredit,
    Receipt,
    RefundDebit,
    UpdateExecutionCredit,
)
from ledger.application.execution_credit_commands import project_dimensions
from ledger.domain.events import Debited, Refunded
from ledger.domain.refusals import InvalidArgument, NotStorable, QueueFull, Refusal
from ledger.domain.values import KEY_CHARACTERS_MAX, CreditType, Kind, RollupType, text_of
from projections.execution_credits.queries import CreditVersion, TransactionRow
from service.access import IdentityForbidden
from service.graphql.context import Info
from service.graphql.execution_credits import (
    ExecutionCredit,
    ExecutionCreditRollupTypeEnum,
    ExecutionCreditTransaction,
    ExecutionCreditTypeEnum,
)
from service.graphql.scalars import ISO8601DateTime
from service.refusals import EXECUTION_WORDS, in_words

NO_RULES = (IdentityForbidden, QueueFull, NotStorable)
"""Refusals that have nothing to do with what was asked for; they are told as errors of the request."""
FIELDS_WITH_RULES = frozenset({"credits", "periodAnchor"})
"""An argument that is bad in itself is one too, but not what these are refused for."""


@strawberry.input
class CreateExecutionCreditInput:
    company_id: strawberry.ID
    credit_type: ExecutionCreditTypeEnum
    credits: int
    rollup_type: ExecutionCreditRollupTypeEnum
    company_label: str | None = strawberry.field(default=None, description="Default: the company's id.")
    period_anchor: ISO8601DateTime | None = strawberry.field(
        default=None, description="Billing periods start here and step by calendar months, in UTC. Default: now."
    )
    idempotency_key: str | None = None
    client_mutation_id: str | None = None


@strawberry.input(description="What is absent stays as it is.")
class UpdateExecutionCreditInput:
    id: strawberry.ID
    credits: int | None = strawberry.field(default=None, description="At once, in the present billing period.")
    rollup_type: ExecutionCreditRollupTypeEnum | None = strawberry.field(
        default=None, description="From the next renewal on; never to or from ADDON."
    )
    idempotency_key: str | None = None
    client_mutation_id: str | None = None


@strawberry.input
class DeleteExecutionCreditInput:
    id: strawberry.ID
    idempotency_key: str | None = None
    client_mutation_id: str | None = None


@strawberry.input
class DebitExecutionCreditsInput:
    company_id: strawberry.ID
    credit_type: ExecutionCreditTypeEnum
    credits: int
    idempotency_key: str
    project_id: strawberry.ID | None = None
    account_group_ids: list[strawberry.ID] | None = None
    client_mutation_id: str | None = None


@strawberry.input
class RefundExecutionCreditsInput:
    transaction_id: strawberry.ID
    idempotency_key: str
    credits: int | None = strawberry.field(default=None, description="Default: all that is left to refund.")
    client_mutation_id: str | None = None


class Attempt(NamedTuple):
    """What became of a command: a receipt, or the errors that its payload tells."""

    receipt: Receipt | None
    errors: list[str] | None


@strawberry.type
class CreditPayload:
    """What creating and updating a credit are both answered with."""

    client_mutation_id: str | None
    execution_credit: ExecutionCredit | None
    errors: list[str] | None

    @classmethod
    async def of(cls, info: Info, client_mutation_id: str | None, attempt: Attempt) -> Self:
        """With the credit as the command's last event left it, so a replay answers the same."""
        credit = None
        if attempt.receipt is not None:
            last = attempt.receipt.events[-1]
            as_of = CreditVersion(last.originator_id, last.originator_version)
            credit = ExecutionCredit(row=await info.context.execution_credits_as_of.load(as_of))
        return cls(client_mutation_id=client_mutation_id, execution_credit=credit, errors=attempt.errors)


@strawberry.type
class CreateExecutionCreditPayload(CreditPayload):
    pass


@strawberry.type
class UpdateExecutionCreditPayload(CreditPayload):
    pass


@strawberry.type
class DeleteExecutionCreditPayload:
    client_mutation_id: str | None
    deleted_id: strawberry.ID | None
    errors: list[str] | None


@strawberry.type
class TransactionsPayload:
    """What a debit and a refund are both answered with: the facts of the transaction that they are."""

    client_mutation_id: str | None
    transaction_id: strawberry.ID | None
    transactions: list[ExecutionCreditTransaction] | None
    errors: list[str] | None
    position: str | None = strawberry.field(description="The position of its last event, to wait for in a read.")

    @classmethod
    def of(cls, client_mutation_id: str | None, attempt: Attempt) -> Self:
        receipt = attempt.receipt
        if receipt is None:
            return cls(
                client_mutation_id=client_mutation_id,
                transaction_id=None,
                transactions=None,
                errors=attempt.errors,
                position=None,
            )
        parts = [TransactionRow.of(event) for event in receipt.events if isinstance(event, Debited | Refunded)]
        return cls(
            client_mutation_id=client_mutation_id,
            transaction_id=strawberry.ID(receipt.transaction_id),
            transactions=[ExecutionCreditTransaction(row=part) for part in parts],
            errors=None,
            position=str(receipt.position),
        )


@strawberry.type
class DebitExecutionCreditsPayload(TransactionsPayload):
    pass


@strawberry.type
class RefundExecutionCreditsPayload(TransactionsPayload):
    pass


@strawberry.type
class ExecutionCreditMutations:
    @strawberry.mutation(description="Give a company credits of one type, from now on.")
    async def create_execution_credit(
        self, info: Info, input: CreateExecutionCreditInput
    ) -> CreateExecutionCreditPayload | None:
        attempt = await attempted(info, input.client_mutation_id, lambda: opening_of(input))
        return await CreateExecutionCreditPayload.of(info, input.client_mutation_id, attempt)

    @strawberry.mutation(description="Change how many credits there are, or the renewal cycle.")
    async def update_execution_credit(
        self, info: Info, input: UpdateExecutionCreditInput
    ) -> UpdateExecutionCreditPayload | None:
        attempt = await attempted(info, input.client_mutation_id, lambda: update_of(input))
        return await UpdateExecutionCreditPayload.of(info, input.client_mutation_id, attempt)

    @strawberry.mutation(description="Take a credit out of use: what is left is void, its transactions stay.")
    async def delete_execution_credit(
        self, info: Info, input: DeleteExecutionCreditInput
    ) -> DeleteExecutionCreditPayload | None:
        def build() -> DeleteExecutionCredit:
            return DeleteExecutionCredit(credit=input.id, idempotency_key=input.idempotency_key)

        attempt = await attempted(info, input.client_mutation_id, build)
        return DeleteExecutionCreditPayload(
            client_mutation_id=input.client_mutation_id,
            deleted_id=None if attempt.receipt is None else strawberry.ID(attempt.receipt.stream_id),
            errors=attempt.errors,
        )

    @strawberry.mutation(description="Use a company's credits, all or nothing: renewing credit first, then ADDON.")
    async def debit_execution_credits(
        self, info: Info, input: DebitExecutionCreditsInput
    ) -> DebitExecutionCreditsPayload | None:
        attempt = await attempted(info, input.client_mutation_id, lambda: debit_of(input))
        return DebitExecutionCreditsPayload.of(input.client_mutation_id, attempt)

    @strawberry.mutation(description="Give back a debit or a part of it, last drawn first.")
    async def refund_execution_credits(
        self, info: Info, input: RefundExecutionCreditsInput
    ) -> RefundExecutionCreditsPayload | None:
        def build() -> RefundDebit:
            return RefundDebit(
                kind=Kind.EXECUTION_CREDIT,
                transaction_id=input.transaction_id,
                amount=input.credits,
                idempotency_key=input.idempotency_key,
            )

        attempt = await attempted(info, input.client_mutation_id, build)
        return RefundExecutionCreditsPayload.of(input.client_mutation_id, attempt)


async def attempted(info: Info, client_mutation_id: str | None, build: Callable[[], Command]) -> Attempt:
    """Carry out a command; what a rule refuses comes back as errors, in the contract's words.

    Refuses: IdentityForbidden, QueueFull, NotStorable, and InvalidArgument for what is malformed.
    """
    if client_mutation_id:  # it is only given back, but as any text
        text_of(client_mutation_id, field="clientMutationId", characters_max=KEY_CHARACTERS_MAX)
    try:
        return Attempt(await info.context.carry_out(build), None)
    except Refusal as refusal:
        told = in_words(refusal, EXECUTION_WORDS)
        malformed = isinstance(told, InvalidArgument) and told.field not in FIELDS_WITH_RULES
        if malformed or isinstance(told, NO_RULES):
            raise told from None
        return Attempt(None, [told.message])


def opening_of(given: CreateExecutionCreditInput) -> OpenExecutionCredit:
    """The command of createExecutionCredit. Refuses: InvalidArgument."""
    return OpenExecutionCredit(
        company=given.company_id,
        company_label=given.company_label or None,
        credit_type=CreditType(given.credit_type.value),
        credits=given.credits,
        rollup_type=RollupType(given.rollup_type.value),
        period_anchor=given.period_anchor,
        idempotency_key=given.idempotency_key,
    )


def update_of(given: UpdateExecutionCreditInput) -> UpdateExecutionCredit:
    """The command of updateExecutionCredit. Refuses: InvalidArgument."""
    return UpdateExecutionCredit(
        credit=given.id,
        credits=given.credits,
        rollup_type=None if given.rollup_type is None else RollupType(given.rollup_type.value),
        idempotency_key=given.idempotency_key,
    )


def debit_of(given: DebitExecutionCreditsInput) -> ConsumeCredits:
    """The command of debitExecutionCredits. Refuses: InvalidArgument."""
    return ConsumeCredits(
        kind=Kind.EXECUTION_CREDIT,
        holder=given.company_id,
        currency=given.credit_type.value,
        amount=given.credits,
        dimensions=project_dimensions(given.project_id),
        account_groups=None if given.account_group_ids is None else tuple(given.account_group_ids),
        idempotency_key=given.idempotency_key,
    )
