"""A month in the life of one customer, for people who want to see first what the ledger tells."""

import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from ledger.application import BlockingLedger
from ledger.domain.credits import credits_text
from ledger.domain.instants import Instant
from ledger.domain.refusals import InsufficientCredits
from ledger.domain.values import Kind, PoolKey
from ledger.store.clock import settable_clock
from projections.entries.queries import Entry, statement_of_pool
from projections.lots.queries import LotRow, available, lots_of_pool
from service.bootstrap import RunningLedger, open_ledger

ACME = PoolKey(Kind.CREDIT_GRANT, "acme", "credits", None)


class Demo(NamedTuple):
    """What the month came to."""

    entries: list[Entry]
    lots: list[LotRow]
    now: Instant

    def data(self) -> dict[str, Any]:
        rows = [
            {
                "timestamp": entry.effective_at,
                "event": entry.type.removeprefix("ledger."),
                "cause": entry.cause,
                "signedAmount": credits_text(entry.amount),
                "grantBalanceAfter": credits_text(entry.lot_balance),
                "balanceAfter": credits_text(entry.pool_balance),
            }
            for entry in self.entries
        ]
        grants = [
            {"grantType": lot.grant_type, "status": lot.status(self.now), "consumedAmount": credits_text(lot.used)}
            for lot in self.lots
        ]
        return {
            "statement": rows,
            "currentBalance": credits_text(available(self.lots, self.now)),
            "grants": grants,
        }

    def lines(self) -> Iterator[str]:
        yield "Statement of acme, March 2026, in credits"
        yield ""
        yield "day    what      why          amount  left on grant  balance"
        for entry in self.entries:
            what = entry.type.removeprefix("ledger.")
            amounts = (entry.amount, entry.lot_balance, entry.pool_balance)
            amount, grant, balance = (credits_text(units) for units in amounts)
            yield f"{entry.effective_at:%b %d} {what:9} {entry.cause:9} {amount:>9} {grant:>14} {balance:>8}"
        yield ""
        for lot in self.lots:
            used, granted = credits_text(lot.used), credits_text(lot.granted)
            yield f"{lot.grant_type}: {lot.status(self.now)}, used {used} of {granted}"
        yield f"available: {credits_text(available(self.lots, self.now))}"


def tell_demo(talk: Callable[[str], None]) -> Demo:
    """Play the month on an embedded server in a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="ledger-demo-") as folder:
        Path(folder).chmod(0o755)  # as root, the server runs under another account and has to get in
        with open_ledger(data_folder=Path(folder, "data"), clock=settable_clock()) as running:
            position = _play(running, talk)
            with running.reader.snapshot(at_least=position) as snapshot:
                return Demo(statement_of_pool(snapshot, ACME), lots_of_pool(snapshot, ACME), snapshot.now)


def _play(running: RunningLedger, talk: Callable[[str], None]) -> int:
    """The month, command by command; returns the last position."""
    books = running.blocking
    _on(running, 1, talk, "20 credits to welcome acme, until March 20, and 50 that acme buys for 45 USD")
    books.issue_grant(
        holder="acme",
        currency="credits",
        amount=20,
        display_name="Welcome",
        grant_type="PROMOTIONAL",
        expires_at=_day(20),
    )
    books.issue_grant(
        holder="acme", currency="credits", amount=50, display_name="March", grant_type="PAID", cost="45.00"
    )
    _on(running, 5, talk, "acme uses 32.5: first what ends first, then what was paid for")
    debit = books.consume(holder="acme", currency="credits", amount="32.5", idempotency_key="job-1")
    books.consume(holder="acme", currency="credits", amount="32.50", idempotency_key="job-1")
    talk("        the job's request is sent a second time, with the same key: nothing changes")
    _on(running, 6, talk, "a part of the job failed: 15 come back, last drawn first")
    books.refund(transaction_id=debit.transaction_id, amount=15, idempotency_key="job-1-refund")
    _on(running, 21, talk, "what was left of the welcome credits ended yesterday, though nobody looked")
    _refused(books, talk)
    return books.consume(holder="acme", currency="credits", amount=8, idempotency_key="job-3").position


def _refused(books: BlockingLedger, talk: Callable[[str], None]) -> None:
    try:
        books.consume(holder="acme", currency="credits", amount=51, idempotency_key="job-2")
    except InsufficientCredits as refusal:
        talk(f"        refused, and no trace of it in the ledger: {refusal.message}")


def _on(running: RunningLedger, day: int, talk: Callable[[str], None], what: str) -> None:
    running.set_clock(_day(day))
    talk(f"Mar {day:02}: {what}")


def _day(number: int) -> Instant:
    return datetime(2026, 3, number, 9, 30, tzinfo=UTC)
