"""What a fold has at some position, as the read models would have it: a row is the texts of its columns.

Whoever folds in a process of its own needs this, and neither the read models themselves nor the database.
"""

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from ledger.domain.audit.books import AuditedLot
from ledger.domain.audit.fold import Fold, Totals
from ledger.domain.audit.lines import NEVER, NULL, text_of_instant
from ledger.domain.credits import credits_column
from ledger.domain.execution_credit import ExecutionCredit
from ledger.domain.instants import Instant

Key: TypeAlias = tuple[str, ...]
Rows: TypeAlias = dict[Key, tuple[str, ...]]
"""By key, the texts of the columns behind it."""


class Compared(NamedTuple):
    """The columns of a read model that are compared; the first `key_size` are its key."""

    columns: tuple[str, ...]
    key_size: int


COMPARED = {
    "lots": Compared(
        (
            *("lot", "stream_id", "kind", "holder", "currency", "resource", "grant_type", "effective_at"),
            *("expires_at", "created_at", "priority", "awaiting_payment", "granted", "used", "voided", "expired"),
            *("balance", "first_position", "last_position"),
        ),
        1,
    ),
    "balances": Compared(
        (
            *("kind", "holder", "currency", "resource"),
            *("granted", "debited", "refunded", "voided", "expired", "balance", "position"),
        ),
        4,
    ),
    "execution_credits": Compared(
        (
            *("credit", "company", "credit_type", "rollup_type", "next_rollup_type", "credits", "anchor_at"),
            *("first_month", "created_at", "deleted_at", "lot", "ends_at", "used", "version"),
        ),
        1,
    ),
}
"""The read models that a replay is compared with, by name."""


class Mark(NamedTuple):
    """A position at which a fold is to be looked at: for its totals, and for the rows of some read models."""

    position: int
    totals: bool
    models: tuple[str, ...]


class Marked(NamedTuple):
    """What a fold had at a mark."""

    totals: Totals | None
    rows: Mapping[str, Rows]

    def plus(self, other: "Marked") -> "Marked":
        totals = self.totals
        if totals is not None and other.totals is not None:
            totals = totals.plus(other.totals)
        return Marked(totals, {name: {**rows, **other.rows[name]} for name, rows in self.rows.items()})


def look(fold: Fold, mark: Mark) -> Marked:
    """What a fold has here."""
    return Marked(fold.totals() if mark.totals else None, {name: ROWS[name](fold) for name in mark.models})


def _lots(fold: Fold) -> Rows:
    return {(lot.lot_id,): _lot(lot) for lot in fold.lots.values()}


def _lot(lot: AuditedLot) -> tuple[str, ...]:
    amounts = lot.granted, lot.used, lot.voided_amount, lot.expired_amount, lot.balance
    return (
        *lot.facts, lot.begins, _column(lot.ends), text_of_instant(lot.terms.created_at), f"{lot.terms.priority:.9f}",
        "t" if lot.awaits else "f", *map(credits_column, amounts),
        lot.first_position, lot.last_position,
    )  # fmt: skip


def _pools(fold: Fold) -> Rows:
    return {
        pool.key: (
            *map(
                credits_column,
                (pool.granted, pool.debited, pool.refunded, pool.voided, pool.expired, pool.balance),
            ),
            pool.position,
        )
        for pool in fold.pools.values()
        if pool.moved
    }


def _credits(fold: Fold) -> Rows:
    return {
        (credit.stream_id,): _credit(credit, stream.version)
        for stream in fold.streams.values()
        if isinstance(credit := stream.aggregate, ExecutionCredit) and credit.present_lot_id is not None
    }


def _credit(credit: ExecutionCredit, version: int) -> tuple[str, ...]:
    definition, lot = credit.definition, credit.present_lot
    assert isinstance(lot, AuditedLot)
    return (
        lot.books.key[1], definition.credit_type, definition.rollup_type, definition.next_rollup_type or NULL,
        credits_column(definition.credits), text_of_instant(definition.anchor_at), str(definition.first_month),
        text_of_instant(definition.created_at), _instant(definition.deleted_at), lot.lot_id, _column(lot.ends),
        credits_column(lot.used), str(version),
    )  # fmt: skip


def _instant(instant: Instant | None) -> str:
    return _column(text_of_instant(instant))


def _column(instant: str) -> str:
    return NULL if instant == NEVER else instant


ROWS = {"lots": _lots, "balances": _pools, "execution_credits": _credits}
