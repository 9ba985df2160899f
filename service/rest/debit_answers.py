"""What this door tells of a debit or a refund: the facts of its own transaction, amounts as their exact text."""

from functools import lru_cache
from typing import Any

from ledger.application import LedgerUnavailable, Receipt
from ledger.domain.credits import credits_text
from ledger.domain.events import Debited, Refunded
from ledger.domain.instants import Instant, instant_text
from ledger.domain.refusals import Refusal
from service.refusals import told
from service.rest.debit_fields import DEBIT_WORDS

Facts = dict[str, Any]


def debit_told(receipt: Receipt) -> Facts:
    """A debit as its own events tell it; a replay gives the same, but for `replayed`."""
    first, last = receipt.events[0], receipt.events[-1]
    assert isinstance(first, Debited)
    assert isinstance(last, Debited)
    kind, holder, currency, resource = first.pool
    if first is last:
        draws = [{"lot": first.lot, "amount": credits_text(-first.amount)}]
        amount = draws[0]["amount"]
    else:
        draws = _draws(receipt)
        amount = credits_text(-receipt.amount)
    assert first.use_at is not None
    return {
        "transactionId": receipt.transaction_id,
        "kind": kind,
        "holder": holder,
        "currency": currency,
        "resource": resource,
        "amount": amount,
        "useAt": _text(first.use_at),
        "recordedAt": _text(first.transaction.recorded_at),
        "draws": draws,
        "poolBalance": credits_text(last.after.pool_balance),
        "position": str(receipt.position),
        "replayed": receipt.replayed,
    }


def refund_told(receipt: Receipt) -> Facts:
    """A refund as its own events tell it; what it gave back to a lot that had ended has gone again with it."""
    first = receipt.events[0]
    assert isinstance(first, Refunded)
    kind, holder, currency, resource = first.pool
    assert receipt.pool_balance is not None
    return {
        "transactionId": receipt.transaction_id,
        "refundedTransactionId": first.debit_id,
        "kind": kind,
        "holder": holder,
        "currency": currency,
        "resource": resource,
        "amount": credits_text(sum(units for _, units in receipt.draws)),
        "recordedAt": _text(first.transaction.recorded_at),
        "draws": _draws(receipt),
        "poolBalance": credits_text(receipt.pool_balance),
        "position": str(receipt.position),
        "replayed": receipt.replayed,
    }


def error_told(error: Refusal | LedgerUnavailable) -> Facts:
    """What an item of a batch is refused with: what the single request would be, without its HTTP."""
    problem = told(error, DEBIT_WORDS)
    assert problem is not None
    return {**problem.facts, "code": problem.code, "message": problem.message}


def _draws(receipt: Receipt) -> list[dict[str, str]]:
    return [{"lot": lot, "amount": credits_text(units)} for lot, units in receipt.draws]


@lru_cache(maxsize=1024)
def _text(instant: Instant) -> str:
    return instant_text(instant)
