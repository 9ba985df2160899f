"""The queries of credit grants, put together with all others."""

from typing import NamedTuple

import strawberry

from ledger.application.inputs import id_of
from ledger.domain.refusals import CreditGrantNotFound
from ledger.domain.values import Kind, text_of
from projections.entries.queries import EntriesFilter, page_of_entries
from projections.lots.queries import (
    LotsFilter,
    LotStatus,
    grant_named,
    page_of_lots,
    usable_by_currency,
)
from service.graphql.context import Info
from service.graphql.execution_credits import ExecutionCreditQueries
from service.graphql.inputs import CreditBalanceSummaryInput, CreditLedgerInput, GetCreditGrantsInput
from service.graphql.lists import (
    CreditBalance,
    CreditBalanceSummary,
    CreditGrantConnection,
    CreditLedgerConnection,
    topics_of,
)
from service.graphql.paging import window_of
from service.graphql.recharges import RechargeQueries
from service.graphql.schedules import ScheduleQueries
from service.graphql.types import CreditGrant
from service.graphql.usage import CreditUsage, CreditUsageInput, credit_usage
from service.reads import position_of

GRANTS = Kind.CREDIT_GRANT


class Named(NamedTuple):
    """Whose credits an input is about, checked, and the position that it wants to be reached."""

    holder: str
    currency: str | None
    resource: str | None
    at_least: int | None


def named_by(wanted: CreditBalanceSummaryInput | CreditLedgerInput | GetCreditGrantsInput) -> Named:
    """Refuses: InvalidArgument."""
    return Named(
        text_of(wanted.customer_id, field="customerId"),
        None if wanted.currency_id is None else text_of(wanted.currency_id, field="currencyId"),
        None if wanted.resource_id is None else text_of(wanted.resource_id, field="resourceId"),
        None if wanted.at_least is None else position_of(wanted.at_least, field="atLeast"),
    )


@strawberry.type
class Query(ScheduleQueries, RechargeQueries, ExecutionCreditQueries):
    @strawberry.field(description="A grant by its id or its grantId.")
    async def credit_grant(self, info: Info, id: str) -> CreditGrant | None:  # the contract's word
        name = id_of(id, field="id")
        row = await info.context.ask(lambda snapshot: grant_named(snapshot, name))
        if row is None or not info.context.caller.knows(row.holder):
            raise CreditGrantNotFound(name)
        row, now = await info.context.ask(
            lambda snapshot: (grant_named(snapshot, name), snapshot.now), holder=row.holder
        )
        assert row is not None
        return CreditGrant(row=row, now=now)

    @strawberry.field(description="The grants of a customer, newest first. No resourceId: the customer's own pool.")
    async def credit_grants(self, info: Info, input: GetCreditGrantsInput) -> CreditGrantConnection | None:
        named = named_by(input)
        status = None if input.status is None else LotStatus(input.status.value)
        wanted = LotsFilter(GRANTS, named.holder, named.resource, named.currency, status)
        window = window_of(input.paging, "grant")
        page, now = await info.context.ask(
            lambda snapshot: (page_of_lots(snapshot, wanted, window), snapshot.now),
            holder=named.holder,
            at_least=named.at_least,
        )
        return CreditGrantConnection.of(page, now, wanted)

    @strawberry.field(description="What a customer can use at this instant, by currency.")
    async def credit_balance_summary(
        self,
        info: Info,
        input: CreditBalanceSummaryInput,
    ) -> CreditBalanceSummary | None:
        named = named_by(input)
        wanted = LotsFilter(GRANTS, named.holder, named.resource, named.currency)
        balances = await info.context.ask(
            lambda snapshot: usable_by_currency(snapshot, wanted), holder=named.holder, at_least=named.at_least
        )
        return CreditBalanceSummary(
            customer_id=named.holder,
            resource_id=named.resource,
            balances=[CreditBalance(usable=usable) for usable in balances],
        )

    @strawberry.field(description="Every change of a customer's credits, newest first, one row for each grant touched.")
    async def credits_ledger(self, info: Info, input: CreditLedgerInput) -> CreditLedgerConnection | None:
        named = named_by(input)
        wanted = EntriesFilter(GRANTS, named.holder, named.resource, named.currency, topics_of(input.event_type))
        window = window_of(input.paging, "entry")
        page, now = await info.context.ask(
            lambda snapshot: (page_of_entries(snapshot, wanted, window), snapshot.now),
            holder=named.holder,
            at_least=named.at_least,
        )
        return CreditLedgerConnection.of(page, now, wanted)

    @strawberry.field(
        description="What a customer used in a window, as series of points, net of refunds at the instant of the use."
    )
    async def credit_usage(self, info: Info, input: CreditUsageInput) -> CreditUsage | None:
        return await credit_usage(info, input)
