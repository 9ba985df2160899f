"""Free texts of transactions by their ids: names, comments, reasons, metadata."""

import json
from collections.abc import Iterable
from typing import Any

from psycopg import Connection
from psycopg.rows import DictRow

from ledger.domain.values import DocumentId
from ledger.store.sql import query


def load_documents(connection: Connection[DictRow], ids: Iterable[DocumentId]) -> dict[DocumentId, dict[str, Any]]:
    """The texts of each document by their names; one that was erased is missing."""
    wanted = sorted(set(ids))
    if not wanted:
        return {}
    rows = connection.execute(query("documents"), {"ids": wanted})
    return {row["id"]: json.loads(row["body"]) for row in rows}
