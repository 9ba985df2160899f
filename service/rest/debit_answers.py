"""What this door tells of a debit or a refund: the facts of its own transaction, amounts as their exact text."""

import json
from functools import lru_cache
from typing import Any

from ledger.application import LedgerUnavailable, Receipt
from ledger.domain.credits import credits_text
from ledger.domain.events import Debited, Refunded
from ledger.domain.instants import Instant, instant_text
from ledger.domain.refusals import Refusal
from ledger.domain.values import PoolKey
from service.refusals import told
from service.rest.debit_fields import DEBIT_WORDS

Facts = dict[str, Any]


def debit_told(receipt: Receipt) -> str:
    """A debit as its own events tell it, as JSON; a replay gives the same, but for `replayed`.

    Written out, for a batch has thousands. What is not quoted by `json` are ids, amounts and instants.
    """
    transaction_id, position, events, replayed = receipt
    assert type(events[0]) is Debited
    facts = events[0].__dict__  # whose values cost a third of a pydantic model's attributes
    if len(events) == 1:
        amount, balance = credits_text(-facts["amount"]), facts["after"][3]
        draws = f'{{"lot":"{facts["lot"]}","amount":"{amount}"}}'
    else:
        last = events[-1]
        assert isinstance(last, Debited)
        amount, balance = credits_text(-receipt.amount), last.after.pool_balance
        draws = ",".join(f'{{"lot":"{lot}","amount":"{credits_text(units)}"}}' for lot, units in receipt.draws)
    return (
        f'{{"transactionId":"{transaction_id}",{_pool_told(facts["pool"])},"amount":"{amount}"'
        f',"useAt":"{_text(facts["use_at"])}","recordedAt":"{_text(facts["transaction"].recorded_at)}"'
        f',"draws":[{draws}],"poolBalance":"{credits_text(balance)}","position":"{position}"'
        f',"replayed":{"true" if replayed else "false"}}}'
    )


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


@lru_cache(maxsize=4096)
def _pool_told(pool: PoolKey) -> str:
    """The members of a JSON object that say which pool it is about."""
    return json.dumps(pool._asdict(), ensure_ascii=False, separators=(",", ":"))[1:-1]


def _draws(receipt: Receipt) -> list[dict[str, str]]:
    return [{"lot": lot, "amount": credits_text(units)} for lot, units in receipt.draws]


@lru_cache(maxsize=1024)
def _text(instant: Instant) -> str:
    return instant_text(instant)
