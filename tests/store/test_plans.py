"""What the writer asks while others wait goes through an index, whatever the history and the statistics."""

import json
from typing import Any

import pytest

from ledger.application import BlockingLedger, ConsumeCredits
from ledger.application.batches import INDEX_PLANS_ONLY
from ledger.store.database import Database, Role
from ledger.store.sql import query

UUID = "018f0000-0000-7000-8000-000000000001"
QUESTIONS: dict[str, Any] = {
    "head": None,
    "keys": [json.dumps([["acme", "k", "consume", "CREDIT_GRANT"]] * 3)],
    "open_lots": {"kinds": ["CREDIT_GRANT"], "holders": ["acme"], "currencies": ["c"], "resources": [None]},
    "lot_states": {"streams": [UUID], "lots": [UUID]},
    "definitions": {"streams": [UUID], "versions": [None]},
    "debits": {"debits": [UUID]},
    "last_of_streams": {"streams": [UUID]},
    "clear_due": {"streams": [UUID]},
    "streams": {"streams": [UUID]},
    "claimed": {"kind": "GRANT_READABLE_ID", "values": ["cg-1"]},
    "transactions": {"positions": [1, 2, 3]},
    "transaction_at": {"position": 1},
    "log_rows": {"after": 1, "until": 9, "types": None, "limit": 8},
}


@pytest.mark.parametrize("name", QUESTIONS)
@pytest.mark.parametrize("analysed", [False, True])
def test_the_writers_questions_scan_no_table(
    books: BlockingLedger, database: Database, name: str, analysed: bool
) -> None:
    books.issue_grant(holder="acme", currency="c", amount=10**6, display_name="g", grant_type="PAID")
    books.consume_many(
        [ConsumeCredits(holder="acme", currency="c", amount=1, idempotency_key=str(key)) for key in range(2000)]
    )
    with database.connect(Role.OWNER) as connection:
        if analysed:
            connection.execute("ANALYZE events; ANALYZE idempotency; ANALYZE open_lots; ANALYZE claims; ANALYZE due")
    with database.connect(Role.WRITER, **INDEX_PLANS_ONLY) as connection:
        plan = connection.execute("EXPLAIN " + query(name), QUESTIONS[name]).fetchall()
    lines = [row["QUERY PLAN"] for row in plan]
    assert not [line for line in lines if "Seq Scan" in line and "log_meta" not in line], "\n".join(lines)
    forbidden = ("Hash Join", "Merge Join", "Bitmap")
    assert not [line for line in lines if any(word in line for word in forbidden)], "\n".join(lines)
