"""The mutations that use credits and give them back. Each answers the facts of its own transaction."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Self

import strawberry

from ledger.application import ConsumeCredits, LedgerUnavailable, Receipt, RefundDebit
from ledger.domain.credits import Credits
from ledger.domain.events import Debited, Movement, Refunded
from ledger.domain.refusals import InvalidArgument, Refusal
from service.graphql.context import Info
from service.graphql.fields import shows
from service.graphql.inputs import ConsumeCreditInput, ConsumeCreditsAsyncInput, RefundCreditsInput
from service.graphql.scalars import amount_given, amount_of, exact_of, float_of
from service.graphql.types import CreditDraw, CreditUsageState
from service.refusals import GRANT_WORDS, told

CONSUMPTIONS_MAX = 1000


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
        found = await info.context.usable.load((self.movement.pool, self.receipt.position))
        if found is None:
            return None
        usable, now = found
        return CreditUsageState(currency_id=usable.currency, used=usable.used, granted=usable.granted, timestamp=now)


@strawberry.type
class CreditRefundResponse(TransactionAnswer):
    refunded_transaction_id: strawberry.ID = shows(lambda it: it.movement.debit_id)
    timestamp: datetime = shows(lambda it: it.movement.transaction.recorded_at, "When the refund was recorded.")


@strawberry.type(description="Why one consumption of a list was refused; the others are not concerned.")
class CreditConsumptionError:
    code: str
    message: str


@strawberry.type
class CreditConsumptionResult:
    index: int
    response: CreditConsumptionResponse | None
    error: CreditConsumptionError | None


@strawberry.type(description="What became of each consumption of a list, in its order.")
class ConsumeCreditsAsyncResponse:
    results: list[CreditConsumptionResult]
    position: str | None = strawberry.field(
        description="The position of the last event that was written, to wait for in a read; null if none was."
    )


@strawberry.type
class ConsumptionMutations:
    @strawberry.mutation(description="Use credits of one pool, all or nothing.")
    async def consume_credits(self, info: Info, input: ConsumeCreditInput) -> CreditConsumptionResponse | None:
        return CreditConsumptionResponse.of(await info.context.carry_out(lambda: consumption_of(input)))

    @strawberry.mutation(
        description="Use credits up to 1000 times, each by itself; answered when all that was accepted is durable."
    )
    async def consume_credits_async(
        self, info: Info, input: ConsumeCreditsAsyncInput
    ) -> ConsumeCreditsAsyncResponse | None:
        if not 1 <= len(input.consumptions) <= CONSUMPTIONS_MAX:
            raise InvalidArgument("consumptions", f"must be 1 to {CONSUMPTIONS_MAX}")
        outcomes = await info.context.carry_out_each([_building(given) for given in input.consumptions])
        positions = [outcome.position for outcome in outcomes if isinstance(outcome, Receipt)]
        return ConsumeCreditsAsyncResponse(
            results=[_result(index, outcome) for index, outcome in enumerate(outcomes)],
            position=str(max(positions)) if positions else None,
        )

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


def consumption_of(given: ConsumeCreditInput) -> ConsumeCredits:
    """The command of consumeCredits. Refuses: InvalidArgument."""
    return ConsumeCredits(
        holder=given.customer_id,
        currency=given.currency_id,
        resource=given.resource_id,
        amount=amount_of(given.amount, given.amount_exact),
        use_at=given.created_at,
        dimensions=given.dimensions,  # type: ignore[arg-type]  # JSON: the command refuses what is no object of texts
        account_groups=None if given.account_group_ids is None else tuple(given.account_group_ids),
        idempotency_key=given.idempotency_key,
    )


def _building(given: ConsumeCreditInput) -> Callable[[], ConsumeCredits]:
    return lambda: consumption_of(given)


def _result(index: int, outcome: Receipt | Refusal | LedgerUnavailable) -> CreditConsumptionResult:
    if isinstance(outcome, Receipt):
        response = CreditConsumptionResponse.of(outcome)
        return CreditConsumptionResult(index=index, response=response, error=None)
    problem = told(outcome, GRANT_WORDS)
    assert problem is not None
    error = CreditConsumptionError(code=problem.code, message=problem.message)
    return CreditConsumptionResult(index=index, response=None, error=error)
