"""The types and queries of execution credits."""

import math
from enum import Enum
from typing import Any

import strawberry
from strawberry.types.nodes import SelectedField, Selection

from ledger.application.execution_credit_commands import PROJECT
from ledger.application.inputs import id_of
from ledger.domain.credits import UNITS_PER_CREDIT, Credits
from ledger.domain.events import Debited
from ledger.domain.refusals import InvalidArgument
from ledger.domain.values import CreditType, DocumentId, RollupType, text_of
from projections.execution_credits.queries import (
    ExecutionCreditRow,
    ExecutionCreditsFilter,
    ExecutionCreditsPage,
    TransactionRow,
    page_of_execution_credits,
)
from projections.paging import NumberedPage
from service.graphql.context import TRANSACTIONS_MAX, Info, TransactionsWanted
from service.graphql.fields import shows
from service.graphql.scalars import ISO8601DateTime

PAGE_DEFAULT = 25
PAGE_MAX = 100
TRANSACTIONS_PAGE_MAX = 1000
TRANSACTION_FIELDS_MAX = 100_000
"""How many fields of transactions one request may show: the same ones may be shown over and over."""
ALL_TRANSACTIONS = NumberedPage(1, TRANSACTIONS_MAX + 1)


@strawberry.enum
class ExecutionCreditTypeEnum(Enum):
    AI_PENTEST = "AI_PENTEST"
    DAST = "DAST"


@strawberry.enum(description="The renewal cycle of a credit; ADDON never renews.")
class ExecutionCreditRollupTypeEnum(Enum):
    MONTHLY = "MONTHLY"
    QUARTERLY = "QUARTERLY"
    SEMIANNUAL = "SEMIANNUAL"
    YEARLY = "YEARLY"
    ADDON = "ADDON"


@strawberry.enum
class ExecutionCreditTransactionTypeEnum(Enum):
    DEBIT = "DEBIT"
    REFUND = "REFUND"


@strawberry.type(description="The company that a credit belongs to.")
class Company:
    id: strawberry.ID
    document_id: strawberry.Private[DocumentId | None]

    @strawberry.field(description="As it was told when the credit was created; else the company's id.")
    async def label(self, info: Info) -> str:
        if self.document_id is None:
            return self.id
        texts = await info.context.documents.load(self.document_id)
        label: str = (texts or {}).get("company_label", self.id)
        return label


@strawberry.type(description="A company's allotment of executions of one type, renewed each billing period.")
class ExecutionCredit:
    row: strawberry.Private[ExecutionCreditRow]

    id: strawberry.ID = shows(lambda it: it.row.credit)
    company: Company = shows(lambda it: Company(id=it.row.company, document_id=it.row.document_id))
    company_id: strawberry.ID = shows(lambda it: it.row.company)
    credit_type: ExecutionCreditTypeEnum = shows(lambda it: ExecutionCreditTypeEnum(it.row.credit_type.value))
    rollup_type: ExecutionCreditRollupTypeEnum = shows(
        lambda it: ExecutionCreditRollupTypeEnum(it.row.rollup_type.value),
        "The cycle of the present billing period; a change of it shows from the next renewal on.",
    )
    credits: int = shows(
        lambda it: whole(it.row.credits), "Total number of credits available: the allotment of a billing period."
    )
    used_credits: int = shows(
        lambda it: whole(it.row.used),
        "Net credits, debits less refunds, consumed in the present billing period; of an ADDON ever.",
    )

    @strawberry.field(
        description="All debits and refunds, newest first; with page or limit, one page of at most 1,000. "
        "A request may ask for 10,000 in all, with 100,000 fields."
    )
    async def transactions(
        self, info: Info, page: int | None = None, limit: int | None = None
    ) -> list["ExecutionCreditTransaction"]:
        wanted = ALL_TRANSACTIONS
        if page is not None or limit is not None:
            wanted = numbered(page, limit, page_max=TRANSACTIONS_PAGE_MAX)
        rows = await info.context.transactions.load(TransactionsWanted(self.row.as_of, wanted))
        info.context.transaction_fields += len(rows) * fields_of_each(info) if rows else 0
        if info.context.transaction_fields > TRANSACTION_FIELDS_MAX:
            reason = (
                f"must have at most {TRANSACTION_FIELDS_MAX} fields in one request: ask for fewer, or by page and limit"
            )
            raise InvalidArgument("transactions", reason)
        return [ExecutionCreditTransaction(row=row, of=self) for row in rows]

    created_at: ISO8601DateTime = shows(lambda it: it.row.created_at)
    updated_at: ISO8601DateTime = shows(
        lambda it: it.row.updated_at, "Its last change: an update, a debit, a refund, or the beginning of its period."
    )
    deleted_at: ISO8601DateTime | None = shows(lambda it: it.row.deleted_at)


@strawberry.type(description="What one debit took from one credit, or a refund gave back to it. It never changes.")
class ExecutionCreditTransaction:
    row: strawberry.Private[TransactionRow]
    of: strawberry.Private[ExecutionCredit | None] = None
    """The credit, where it is at hand."""

    id: strawberry.ID = shows(lambda it: f"{it.row.credit}:{it.row.version}")
    transaction_id: strawberry.ID = shows(
        lambda it: it.row.transaction_id, "Shared by the parts of one debit or refund."
    )

    @strawberry.field(description="Beside what a mutation did: as that left it.")
    async def execution_credit(self, info: Info) -> ExecutionCredit:
        if self.of is not None:
            return self.of
        return ExecutionCredit(row=await info.context.execution_credits_as_of.load(self.row.as_of))

    execution_credit_id: strawberry.ID = shows(lambda it: it.row.credit)
    transaction_type: ExecutionCreditTransactionTypeEnum = shows(
        lambda it: (
            ExecutionCreditTransactionTypeEnum.DEBIT
            if it.row.type == Debited.TOPIC
            else ExecutionCreditTransactionTypeEnum.REFUND
        )
    )
    credits: int = shows(lambda it: whole(it.row.credits), "A positive magnitude.")

    @strawberry.field(description="The project that the debit was for; on its refunds too.")
    async def project_id(self, info: Info) -> strawberry.ID | None:
        document_id = await info.context.debit_documents.load(self.row.debit_id)
        texts: dict[str, Any] = {} if document_id is None else await info.context.documents.load(document_id) or {}
        project: str | None = texts.get("dimensions", {}).get(PROJECT)
        return None if project is None else strawberry.ID(project)

    created_at: ISO8601DateTime = shows(lambda it: it.row.recorded_at)
    updated_at: ISO8601DateTime = shows(lambda it: it.row.recorded_at)


@strawberry.type(description="Where a page stands in its list.")
class CollectionMetadata:
    current_page: int = strawberry.field(description="From 1.")
    limit_value: int = strawberry.field(description="At most so many items are on a page.")
    total_count: int = strawberry.field(description="Items on all pages.")
    total_pages: int


@strawberry.type
class ExecutionCreditCollection:
    collection: list[ExecutionCredit]
    metadata: CollectionMetadata

    @classmethod
    def of(cls, found: ExecutionCreditsPage, page: NumberedPage) -> "ExecutionCreditCollection":
        return cls(
            collection=[ExecutionCredit(row=row) for row in found.rows],
            metadata=CollectionMetadata(
                current_page=page.page,
                limit_value=page.limit,
                total_count=found.total,
                total_pages=math.ceil(found.total / page.limit),
            ),
        )


@strawberry.input(description="A page of a list, from 1.")
class PaginationInput:
    page: int | None = None
    per_page: int | None = None


@strawberry.type
class ExecutionCreditQueries:
    @strawberry.field(description="A credit by its id, also a deleted one; null if there is none.")
    async def execution_credit(self, info: Info, id: strawberry.ID) -> ExecutionCredit | None:
        name = id_of(id, field="id")
        row = await info.context.execution_credits.load(name)
        if row is None or not info.context.caller.knows(row.company):
            return None
        return ExecutionCredit(row=row)

    @strawberry.field(description="The credits that are not deleted, in the order they were created.")
    async def execution_credits(
        self,
        info: Info,
        company_id: strawberry.ID | None = None,
        credit_type: ExecutionCreditTypeEnum | None = None,
        rollup_type: ExecutionCreditRollupTypeEnum | None = None,
        page: int | None = None,
        limit: int | None = None,
        pagination: PaginationInput | None = None,
    ) -> ExecutionCreditCollection | None:
        wanted_page = page_of(page, limit, pagination)
        caller = info.context.caller
        companies = None if caller.holders is None else tuple(caller.holders)
        if company_id is not None:
            companies = (text_of(company_id, field="companyId"),)
            caller.require_holder(companies[0])
        wanted = ExecutionCreditsFilter(
            companies,
            None if credit_type is None else CreditType(credit_type.value),
            None if rollup_type is None else RollupType(rollup_type.value),
        )
        found = await info.context.ask(lambda snapshot: page_of_execution_credits(snapshot, wanted, wanted_page))
        return ExecutionCreditCollection.of(found, wanted_page)


def fields_of_each(info: Info) -> int:
    """How many fields each item of the list has that is being shown; counted once for all lists of the same place."""
    place = tuple(name for name in info.path.as_list() if isinstance(name, str))
    counted = info.context.fields_of_lists
    if place not in counted:
        counted[place] = sum(map(fields_below, info.selected_fields))
    return counted[place]


def fields_below(selected: Selection) -> int:
    return sum(isinstance(below, SelectedField) + fields_below(below) for below in selected.selections)


def whole(units: Credits) -> int:
    """Execution credits as the wire counts them; they are whole."""
    number, part = divmod(units, UNITS_PER_CREDIT)
    assert part == 0
    return number


def page_of(page: int | None, limit: int | None, pagination: PaginationInput | None) -> NumberedPage:
    """The page that was asked for in either style. Refuses (InvalidArgument) both at once and pages above 100."""
    if pagination is None:
        return numbered(page, limit, page_max=PAGE_MAX)
    if page is not None or limit is not None:
        raise InvalidArgument("pagination", "must not be given beside page or limit")
    fields = ("pagination.page", "pagination.perPage")
    return numbered(pagination.page, pagination.per_page, page_max=PAGE_MAX, fields=fields)


def numbered(
    page: int | None, limit: int | None, *, page_max: int, fields: tuple[str, str] = ("page", "limit")
) -> NumberedPage:
    page = 1 if page is None else page
    limit = PAGE_DEFAULT if limit is None else limit
    if page < 1:
        raise InvalidArgument(fields[0], "must be at least 1")
    if not 1 <= limit <= page_max:
        raise InvalidArgument(fields[1], f"must be from 1 to {page_max}")
    return NumberedPage(page, limit)
