"""One event of every shape there is, and the golden file of each: the row, the event and the view's row.

`python -m tests.store.golden` writes the files that are missing. A file that exists is never written again: the log
of somebody holds rows like it.
"""

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from ledger.domain.events import (
    Cost,
    Debited,
    ExecutionCreditDefined,
    Expired,
    GrantDetails,
    Granted,
    LedgerEvent,
    Refunded,
    Voided,
)
from ledger.domain.values import (
    Actor,
    ActorKind,
    After,
    Cause,
    CreditType,
    DocumentId,
    DocumentReference,
    GrantType,
    Kind,
    LotId,
    PoolKey,
    RollupType,
    StreamId,
    Terms,
    Transaction,
    TransactionId,
)
from ledger.store.mapper import COLUMNS, LedgerMapper, fields_of_line

FOLDER = Path(__file__).parent.parent / "golden"
UNIT = 10**9
BEGIN = datetime(2026, 1, 31, 12, tzinfo=UTC)
END = datetime(2026, 2, 28, 12, 0, 0, 123456, tzinfo=UTC)
NOW = datetime(2026, 2, 1, 8, 30, 0, 1, tzinfo=UTC)
STREAM = StreamId("018f0000-0000-7000-8000-000000000001")
DEBIT = TransactionId("018f0000-0000-7000-8000-0000000000d1")
ODD_TEXT = 'tab\tnewline\nback\\slash "quoted" {brace} \u00e4\u20ac'

PLAIN = Transaction(DEBIT, NOW, Actor(ActorKind.SYSTEM, "ledger"), None, None, None)
FULL = Transaction(
    TransactionId("018f0000-0000-7000-8000-0000000000f1"),
    NOW,
    Actor(ActorKind.API_KEY, ODD_TEXT),
    ODD_TEXT,
    "cause-1",
    DocumentReference(DocumentId("018f0000-0000-7000-8000-0000000000a1"), "ab" * 32),
)
POOL = PoolKey(Kind.CREDIT_GRANT, "acme", "credits", None)
ODD_POOL = PoolKey(Kind.CREDIT_GRANT, ODD_TEXT, "credits", "resource-1")
COMPANY = PoolKey(Kind.EXECUTION_CREDIT, "company-1", "AI_PENTEST", None)
TERMS = Terms(effective_at=BEGIN, expires_at=END, created_at=BEGIN, priority=Decimal("12.5"))
NO_END = Terms(effective_at=BEGIN, expires_at=None, created_at=BEGIN)


def _movement(**changed: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "originator_id": STREAM,
        "originator_version": 2,
        "transaction": PLAIN,
        "pool": POOL,
        "lot": LotId(STREAM),
        "grant_type": GrantType.PAID,
        "effective_at": NOW,
        "use_at": None,
        "debit_id": None,
        "account_groups": None,
        "terms_version": 1,
    }
    return values | changed


GOLDEN: dict[str, LedgerEvent] = {
    "granted-v1": Granted.of(
        **_movement(
            originator_version=1, transaction=FULL, amount=100 * UNIT, effective_at=BEGIN, cause=Cause.ISSUED,
            after=After(100 * UNIT, 0, 100 * UNIT, 150 * UNIT), terms=TERMS,
            grant=GrantDetails(readable_id="cg-0123456789abcdef", cost=Cost(amount=Decimal("9.90"), currency="EUR")),
        )
    ),
    "granted-v1-of-execution-credit": Granted.of(
        **_movement(
            pool=COMPANY, lot=LotId("018f0000-0000-7000-8000-000000000002"), grant_type=None, amount=10 * UNIT,
            cause=Cause.RENEWED, terms_version=2, after=After(10 * UNIT, 0, 10 * UNIT, 10 * UNIT), terms=NO_END,
            grant=None,
        )
    ),
    "debited-v1": Debited.of(
        **_movement(
            amount=-1, use_at=NOW, cause=Cause.CONSUMED, debit_id=DEBIT,
            after=After(10**28 - 1, 1, 10**28 - 2, 10**34),
        )
    ),
    "debited-v1-with-groups-and-document": Debited.of(
        **_movement(
            pool=ODD_POOL, transaction=FULL, amount=-UNIT, use_at=BEGIN, cause=Cause.CONSUMED, debit_id=DEBIT,
            account_groups=("group-1", ODD_TEXT), after=After(2 * UNIT, UNIT, UNIT, UNIT),
        )
    ),
    "refunded-v1": Refunded.of(
        **_movement(
            amount=UNIT // 2, use_at=BEGIN, cause=Cause.REFUNDED, debit_id=DEBIT, account_groups=("group-1",),
            after=After(2 * UNIT, UNIT // 2, UNIT, UNIT),
        )
    ),
    "voided-v1": Voided.of(
        **_movement(transaction=FULL, amount=-UNIT, cause=Cause.VOIDED, after=After(2 * UNIT, UNIT, 0, 0))
    ),
    "expired-v1": Expired.of(
        **_movement(effective_at=END, amount=-UNIT, cause=Cause.LAPSED, after=After(2 * UNIT, UNIT, 0, 0))
    ),
    "execution-credit-defined-v1": ExecutionCreditDefined.of(
        originator_id=STREAM, originator_version=1, transaction=FULL, pool=COMPANY, credit_type=CreditType.AI_PENTEST,
        rollup_type=RollupType.MONTHLY, credits=10 * UNIT, anchor_at=BEGIN, created_at=BEGIN, deleted_at=NOW,
    ),
}  # fmt: skip


def row_of(event: LedgerEvent) -> dict[str, str | None]:
    """The row as it goes into the log, without its position."""
    return dict(zip(COLUMNS[2:], fields_of_line(LedgerMapper().to_stored_event(event).line), strict=True))


def path_of(name: str) -> Path:
    return FOLDER / f"{name}.json"


def as_json(values: Any) -> str:
    return json.dumps(values, indent=2, ensure_ascii=False, default=str) + "\n"


if __name__ == "__main__":
    for name, event in GOLDEN.items():
        if not path_of(name).exists():
            path_of(name).write_text(as_json({"row": row_of(event), "event": event.model_dump(mode="json")}))
