"""What is due comes first: the lapses and renewals of a pool, written before anything is decided on it."""

from ledger.domain.decision import Decision
from ledger.domain.events import Expired
from ledger.domain.execution_credit import renew
from ledger.domain.values import Cause, Kind


def settle_due(decision: Decision) -> None:
    """Write what has fallen due on the pool by now, each thing once, dated at the instant it fell due."""
    now = decision.now
    if decision.pool.key.kind is Kind.CREDIT_GRANT:
        for lot in decision.pool.due_lots(now):
            decision.take_out(Expired, lot, lot.balance, cause=Cause.LAPSED, effective_at=lot.expires_at)
    else:
        for credit in decision.pool.renewals_due(now):
            renew(decision, credit, now)
