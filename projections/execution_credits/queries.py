"""Questions to execution credits. What only time changes, a renewal, is computed from the row and the instant."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Self

from psycopg import Connection
from psycopg.rows import DictRow

from ledger.domain.billing_cycle import BillingCycle
from ledger.domain.credits import Credits
from ledger.domain.events import Debited, Refunded
from ledger.domain.instants import Instant
from ledger.domain.values import UUID, CreditType, DocumentId, RollupType, StreamId, TransactionId
from ledger.store.sql import statement
from projections.paging import NumberedPage
from projections.read_model import EXECUTION_CREDITS
from projections.reading import Snapshot, in_order_of_an_index

PACKAGE = "projections.execution_credits"


class CreditVersion(NamedTuple):
    """A credit as of an event of its."""

    credit: StreamId
    version: int


class ExecutionCreditRow(NamedTuple):
    """An execution credit as of its event of this `version`; amounts are Credits.

    `credits` is the allotment of a period and `used` what of it is used, net of refunds, in the period that ends at
    `ends_at` (None: never). `updated_at` is its last change: a definition, a debit, a refund, or a renewal, which
    counts at the period's beginning. `document_id` is where its company's label is.
    """

    credit: StreamId
    company: str
    credit_type: CreditType
    rollup_type: RollupType
    next_rollup_type: RollupType | None
    credits: Credits
    anchor_at: Instant
    first_month: int
    created_at: Instant
    updated_at: Instant
    deleted_at: Instant | None
    document_id: DocumentId | None
    ends_at: Instant | None
    used: Credits
    version: int

    @property
    def as_of(self) -> CreditVersion:
        return CreditVersion(self.credit, self.version)

    def at(self, now: Instant) -> Self:
        """The same credit at an instant: renewed, if that has come, whether or not it is recorded."""
        if self.deleted_at is not None or self.ends_at is None or self.ends_at > now:
            return self
        cycle = BillingCycle(self.anchor_at, self.rollup_type, self.first_month)
        cycle = cycle.turned(self.next_rollup_type, self.ends_at)
        return self._replace(
            rollup_type=cycle.rollup_type,
            next_rollup_type=None,
            first_month=cycle.first_month,
            updated_at=max(self.updated_at, cycle.period_start(now)),
            ends_at=cycle.period_end(now),
            used=0,
        )


class ExecutionCreditsFilter(NamedTuple):
    """Which living credits: of some companies, or with None of all; of one type; of one rollup type."""

    companies: tuple[str, ...] | None = None
    credit_type: CreditType | None = None
    rollup_type: RollupType | None = None


class ExecutionCreditsPage(NamedTuple):
    """The credits of one page, and how many there are on all pages."""

    rows: Sequence[ExecutionCreditRow]
    total: int


class TransactionRow(NamedTuple):
    """One part of a debit or a refund: what it took from a credit, or gave back to it; `credits` above zero.

    `debit_id` is the debit that it is, or that it gives back. `version` is its place among the credit's events.
    """

    credit: StreamId
    version: int
    type: str
    transaction_id: TransactionId
    credits: Credits
    debit_id: TransactionId
    recorded_at: Instant

    @property
    def as_of(self) -> CreditVersion:
        return CreditVersion(self.credit, self.version)

    @classmethod
    def of(cls, event: Debited | Refunded) -> Self:
        transaction_id, debit_id = event.transaction.transaction_id, event.debit_id
        assert debit_id is not None
        return cls(
            event.originator_id,
            event.originator_version,
            event.TOPIC,
            transaction_id,
            abs(event.amount),
            debit_id,
            event.transaction.recorded_at,
        )


def execution_credits_by_id(snapshot: Snapshot, credits: Iterable[str]) -> dict[StreamId, ExecutionCreditRow]:
    """Credits by their ids, deleted ones too, at the snapshot's instant; one that is not there is missing."""
    wanted = {"credits": [credit for credit in credits if UUID.fullmatch(credit)]}
    rows = snapshot.all(EXECUTION_CREDITS, statement(PACKAGE, "by_id.sql"), wanted)
    return {row["credit"]: _row(row).at(snapshot.now) for row in rows}


def page_of_execution_credits(
    snapshot: Snapshot, wanted: ExecutionCreditsFilter, page: NumberedPage
) -> ExecutionCreditsPage:
    """One page of the living credits at the snapshot's instant, in the order they were created, then by id."""
    values = wanted._asdict() | {"now": snapshot.now, "limit": page.limit, "offset": page.offset}
    values["companies"] = None if wanted.companies is None else list(wanted.companies)
    rows = snapshot.all(EXECUTION_CREDITS, statement(PACKAGE, "page.sql"), values)
    total: int = rows[0]["total"]
    return ExecutionCreditsPage([_row(row).at(snapshot.now) for row in rows if row["credit"] is not None], total)


def execution_credits_as_of(
    connection: Connection[DictRow], versions: Sequence[CreditVersion]
) -> dict[CreditVersion, ExecutionCreditRow]:
    """Credits as events of theirs left them, read from the log itself."""
    wanted = {"credits": [each.credit for each in versions], "versions": [each.version for each in versions]}
    with in_order_of_an_index(connection):
        rows = connection.execute(statement(PACKAGE, "as_of.sql"), wanted).fetchall()
    return {CreditVersion(row["credit"], row["version"]): _row(row) for row in rows}


def transactions_of(
    connection: Connection[DictRow], versions: Sequence[CreditVersion], page: NumberedPage, *, rows_max: int
) -> dict[CreditVersion, list[TransactionRow]]:
    """One page of the debits and refunds of credits, each up to a version, newest first, read from the log.

    At most `rows_max` of all credits together; where there are so many, some may be missing.
    """
    values = {
        "credits": [each.credit for each in versions],
        "versions": [each.version for each in versions],
        "limit": page.limit,
        "offset": page.offset,
        "rows_max": rows_max,
    }
    found: dict[CreditVersion, list[TransactionRow]] = {version: [] for version in versions}
    with in_order_of_an_index(connection):
        rows = connection.execute(statement(PACKAGE, "transactions.sql"), values).fetchall()
    for row in rows:
        transaction = TransactionRow(**{name: row[name] for name in TransactionRow._fields})
        found[CreditVersion(transaction.credit, row["up_to"])].append(transaction)
    for transactions in found.values():
        transactions.sort(key=lambda transaction: transaction.version, reverse=True)
    return found


def documents_of_debits(
    connection: Connection[DictRow], debits: Iterable[TransactionId]
) -> dict[TransactionId, DocumentId]:
    """The documents of debits, read from the log; a debit without one is missing."""
    rows = connection.execute(statement(PACKAGE, "documents.sql"), {"debits": list(debits)})
    return {row["debit_id"]: row["document_id"] for row in rows}


def _row(row: DictRow) -> ExecutionCreditRow:
    values = {name: row[name] for name in ExecutionCreditRow._fields}
    coming = row["next_rollup_type"]
    return ExecutionCreditRow(
        **values
        | {
            "credit_type": CreditType(row["credit_type"]),
            "rollup_type": RollupType(row["rollup_type"]),
            "next_rollup_type": None if coming is None else RollupType(coming),
        }
    )
