"""The mutations of credit grants. Each answers the facts of its own transaction, so a replay answers the same."""

from datetime import datetime
from decimal import Decimal
from typing import Self

import strawberry

from ledger.application import ConsumeCredits, IssueGrant, Receipt, RefundDebit, VoidGrant
from ledger.application.inputs import id_of
from ledger.domain.credits import Credits, credits_decimal
from ledger.domain.events import Debited, Granted, Movement, Refunded, Voided
from ledger.domain.refusals import InvalidArgument
from ledger.domain.values import GrantType
from projections.lots.queries import LotsFilter, grant_as_issued, usable_by_currency
from projections.reading import Snapshot
from service.graphql.context import Info
from service.graphql.fields import shows
from service.graphql.inputs import (
    ConsumeCreditInput,
    CreditGrantInput,
    MoneyInput,
    RefundCreditsInput,
    VoidCreditGrantInput,
)
from service.graphql.queries import GRANTS
from service.graphql.scalars import amount_given, exact_of, float_of, units_given, units_of_float
from service.graphql.types import CreditDraw, CreditGrant, CreditUsageState

GRANTED_BY_CLIENTS = (GrantType.PAID, GrantType.PROMOTIONAL)
DEFAULT_PRIORITY = Decimal(50)
NO_MONEY = MoneyInput()


def amount_of(given: CreditGrantInput | ConsumeCreditInput) -> Decimal:
    """The amount that a mutation needs. Refuses: InvalidArgument."""
    amount = amount_given(given.amount, given.amount_exact)
    if amount is None:
        raise InvalidArgument("amount", "must be given, as amount or as amountExact")
    return amount


@strawberry.type
class TransactionAnswer:
    """What consumptions and refunds are both answered with: the facts of the transaction that they are."""

    receipt: strawberry.Private[Receipt]
    movement: strawberry.Private[Movement]
    transaction_id: strawberry.ID = shows(lambda it: it.receipt.transaction_id)
    amount: float = shows(lambda it: float_of(it.drawn))
    amount_exact: Decimal = shows(lambda it: exact_of(it.drawn))
    draws: list[CreditDraw] = shows(
        lambda it: [CreditDraw(units=units, credit_grant_id=lot) for lot, units in it.receipt.draws]
    )
    position: str = shows(lambda it: str(it.receipt.position), "The position of its last event, to wait for in a read.")
    replayed: bool = shows(
        lambda it: it.receipt.replayed,
        "Whether this key was answered before; the facts are those of the first answer.",
    )

    @classmethod
    def of(cls, receipt: Receipt) -> Self:
        movement = receipt.events[0]
        assert isinstance(movement, Debited | Refunded)
        return cls(receipt=receipt, movement=movement)

    @property
    def drawn(self) -> Credits:
        return sum(units for _, units in self.receipt.draws)


@strawberry.type
class CreditConsumptionResponse(TransactionAnswer):
    customer_id: str = shows(lambda it: it.movement.pool.holder)
    currency_id: str = shows(lambda it: it.movement.pool.currency)
    resource_id: str | None = shows(lambda it: it.movement.pool.resource)
    timestamp: datetime = shows(lambda it: it.movement.use_at, "When the credits were used.")

    @strawberry.field(description="The pool's usable grants after this, or later; null while the read side is behind.")
    async def credit(self, info: Info) -> CreditUsageState | None:
        pool = self.movement.pool
        wanted = LotsFilter(GRANTS, pool.holder, pool.resource, pool.currency)

        def question(snapshot: Snapshot) -> CreditUsageState | None:
            if snapshot.position < self.receipt.position:
                return None
            (usable,) = usable_by_currency(snapshot, wanted)
            return CreditUsageState(
                currency_id=usable.currency, used=usable.used, granted=usable.granted, timestamp=snapshot.now
            )

        await info.context.reads.look_again(self.receipt.position)
        return await info.context.ask(question)


@strawberry.type
class CreditRefundResponse(TransactionAnswer):
    refunded_transaction_id: strawberry.ID = shows(lambda it: it.movement.debit_id)
    timestamp: datetime = shows(lambda it: it.movement.transaction.recorded_at, "When the refund was recorded.")


@strawberry.type
class Mutation:
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

    @strawberry.mutation(description="End what is left of a grant; what was consumed stays consumed.")
    async def void_credit_grant(self, info: Info, input: VoidCreditGrantInput) -> CreditGrant | None:
        receipt = await info.context.carry_out(
            lambda: VoidGrant(
                grant=id_of(input.id, field="id"), reason=input.reason or None, idempotency_key=input.idempotency_key
            )
        )
        (voided,) = (event for event in receipt.events if isinstance(event, Voided))
        at, after = voided.transaction.recorded_at, voided.after
        row = (await info.context.issued.load(receipt.stream_id))._replace(
            granted=after.granted,
            used=after.used,
            voided=-voided.amount,
            balance=after.balance,
            voided_at=at,
            updated_at=at,
            last_position=receipt.position,
        )
        return CreditGrant(row=row, now=at)

    @strawberry.mutation(description="Use credits of one pool, all or nothing.")
    async def consume_credits(self, info: Info, input: ConsumeCreditInput) -> CreditConsumptionResponse | None:
        return CreditConsumptionResponse.of(await info.context.carry_out(lambda: consumption_of(input)))

    @strawberry.mutation(description="Give back a consumption or a part of it, last drawn first.")
    async def refund_credits(self, info: Info, input: RefundCreditsInput) -> CreditRefundResponse | None:
        def build() -> RefundDebit:
            return RefundDebit(
                transaction_id=input.transaction_id,
                amount=amount_given(input.amount, input.amount_exact),
                reason=input.reason or None,
                idempotency_key=input.idempotency_key,
            )

        return CreditRefundResponse.of(await info.context.carry_out(build))


def issue_of(given: CreditGrantInput) -> IssueGrant:
    """The command of createCreditGrant. Refuses: InvalidArgument."""
    grant_type = GrantType(given.grant_type.value)
    if grant_type not in GRANTED_BY_CLIENTS:
        raise InvalidArgument("grantType", "must be PAID or PROMOTIONAL: the others are the system's to give")
    cost = given.cost or NO_MONEY
    cost_units = units_given(cost.amount, cost.amount_exact, field="cost.amount")
    priority = None if given.priority is None else units_of_float(given.priority, field="priority")
    return IssueGrant(
        holder=given.customer_id,
        currency=given.currency_id,
        resource=given.resource_id,
        amount=amount_of(given),
        display_name=given.display_name,
        grant_type=grant_type,
        cost=credits_decimal(cost_units or 0),
        cost_currency="USD" if cost.currency is None else cost.currency,
        effective_at=given.effective_at,
        expires_at=given.expire_at,
        priority=DEFAULT_PRIORITY if priority is None else credits_decimal(priority),
        comment=given.comment or None,
        metadata=given.additional_meta_data,  # type: ignore[arg-type]  # JSON: the command refuses what is no object
        idempotency_key=given.idempotency_key,
    )


def consumption_of(given: ConsumeCreditInput) -> ConsumeCredits:
    """The command of consumeCredits. Refuses: InvalidArgument."""
    return ConsumeCredits(
        holder=given.customer_id,
        currency=given.currency_id,
        resource=given.resource_id,
        amount=amount_of(given),
        use_at=given.created_at,
        dimensions=given.dimensions,  # type: ignore[arg-type]  # JSON: the command refuses what is no object of texts
        account_groups=None if given.account_group_ids is None else tuple(given.account_group_ids),
        idempotency_key=given.idempotency_key,
    )
