"""What the command line shows of execution credits: credits, their transactions, their billing periods."""

from collections.abc import Iterator, Sequence
from typing import Any

from psycopg import Connection
from psycopg.rows import DictRow

from ledger.application.execution_credit_commands import PROJECT
from ledger.domain.credits import credits_text
from ledger.domain.events import Debited
from ledger.store.documents import load_documents
from projections.execution_credits.queries import ExecutionCreditRow, TransactionRow, documents_of_debits
from projections.lots.queries import LotRow
from service.cli.frame import table

COLUMN_OF = {
    "credit": "id",
    "company": "companyId",
    "type": "creditType",
    "rollup": "rollupType",
    "then": "nextRollupType",
    "credits": "credits",
    "used": "usedCredits",
    "renews": "renewsAt",
    "deleted": "deletedAt",
}
"""The columns of credits, and what each shows."""
COLUMN_OF_TRANSACTION = {
    "transaction": "transactionId",
    "credit": "executionCreditId",
    "what": "transactionType",
    "credits": "credits",
    "project": "projectId",
    "at": "createdAt",
}
PERIOD_COLUMNS = ("start", "end", "granted", "used", "lapsed", "voided", "left")


def labelled(
    connection: Connection[DictRow], rows: Sequence[ExecutionCreditRow]
) -> list[tuple[ExecutionCreditRow, str]]:
    """Credits, each with its company's label: that which it was opened with, else the company's id."""
    texts = load_documents(connection, [row.document_id for row in rows if row.document_id is not None])
    found = [{} if row.document_id is None else texts.get(row.document_id, {}) for row in rows]
    return [(row, told.get("company_label", row.company)) for row, told in zip(rows, found, strict=True)]


def transactions_shown(connection: Connection[DictRow], rows: Sequence[TransactionRow]) -> list[dict[str, Any]]:
    """Transactions by the contract's names, each with the project of its debit."""
    documents = documents_of_debits(connection, {row.debit_id for row in rows})
    texts = load_documents(connection, documents.values())
    uses = {debit: texts.get(document, {}).get("dimensions", {}) for debit, document in documents.items()}
    return [
        {
            "id": f"{row.credit}:{row.version}",
            "transactionId": row.transaction_id,
            "executionCreditId": row.credit,
            "transactionType": "DEBIT" if row.type == Debited.TOPIC else "REFUND",
            "credits": credits_text(row.credits),
            "projectId": uses.get(row.debit_id, {}).get(PROJECT),
            "createdAt": row.recorded_at,
        }
        for row in rows
    ]


def credit_shown(row: ExecutionCreditRow, label: str) -> dict[str, Any]:
    """A credit by the contract's names, and how it renews; amounts as exact texts."""
    return {
        "id": row.credit,
        "company": {"id": row.company, "label": label},
        "companyId": row.company,
        "creditType": row.credit_type,
        "rollupType": row.rollup_type,
        "nextRollupType": row.next_rollup_type,
        "credits": credits_text(row.credits),
        "usedCredits": credits_text(row.used),
        "periodAnchor": row.anchor_at,
        "renewsAt": row.ends_at if row.deleted_at is None else None,
        "createdAt": row.created_at,
        "updatedAt": row.updated_at,
        "deletedAt": row.deleted_at,
    }


def period_shown(lot: LotRow) -> dict[str, Any]:
    """A billing period; granted - used - lapsed - voided = left."""
    return {
        "startsAt": lot.effective_at,
        "endsAt": lot.expires_at,
        "granted": credits_text(lot.granted),
        "used": credits_text(lot.used),
        "lapsed": credits_text(lot.expired),
        "voided": credits_text(lot.voided),
        "left": credits_text(lot.balance),
    }


def credits_table(data: Sequence[dict[str, Any]]) -> Iterator[str]:
    lines = [[facts[name] for name in COLUMN_OF.values()] for facts in data]
    return table(list(COLUMN_OF), lines, right=("credits", "used"))


def transactions_table(data: Sequence[dict[str, Any]]) -> Iterator[str]:
    lines = [[facts[name] for name in COLUMN_OF_TRANSACTION.values()] for facts in data]
    return table(list(COLUMN_OF_TRANSACTION), lines, right=("credits",))
