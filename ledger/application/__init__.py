"""One method per command: from what a door was asked to what the log holds.

`CreditLedger` is the face, `Writer` the one thread that decides and appends. The law of this room: an answer leaves
only after its events are on disk, and a command that was refused leaves nothing.
"""

from ledger.application.commands import Command, ConsumeCredits, IssueGrant, RefundDebit, SettleDue, VoidGrant
from ledger.application.execution_credit_commands import (
    DeleteExecutionCredit,
    OpenExecutionCredit,
    ResizeExecutionCredit,
)
from ledger.application.ledger import BlockingLedger, CreditLedger
from ledger.application.receipts import LedgerUnavailable, Receipt

__all__ = [
    "BlockingLedger",
    "Command",
    "ConsumeCredits",
    "CreditLedger",
    "DeleteExecutionCredit",
    "IssueGrant",
    "LedgerUnavailable",
    "OpenExecutionCredit",
    "Receipt",
    "RefundDebit",
    "ResizeExecutionCredit",
    "SettleDue",
    "VoidGrant",
]
