"""One method per command: from what a door was asked to what the log holds.

`CreditLedger` is the face, `Writer` the one thread that decides and appends. The law of this room: an answer leaves
only after its events are on disk, and a command that was refused leaves nothing.
"""

from ledger.application.commands import Command, ConsumeCredits, RefundDebit, SettleDue
from ledger.application.execution_credit_commands import (
    DeleteExecutionCredit,
    OpenExecutionCredit,
    UpdateExecutionCredit,
)
from ledger.application.grant_commands import IssueGrant, UpdateGrant, VoidGrant
from ledger.application.ledger import BlockingLedger, CreditLedger
from ledger.application.payment_commands import InvoiceTold, MarkInvoicePaid, RecordGrantPayment
from ledger.application.receipts import LedgerUnavailable, Receipt
from ledger.application.recharge_commands import RechargePool, SaveAutoRecharge
from ledger.application.rule_commands import (
    ChangeAllocationRule,
    DefineAllocationRule,
    RecordThreshold,
    RemoveAllocationRule,
)
from ledger.application.schedule_commands import CreateGrantSchedule, EndGrantSchedule

__all__ = [
    "BlockingLedger",
    "ChangeAllocationRule",
    "Command",
    "ConsumeCredits",
    "CreateGrantSchedule",
    "CreditLedger",
    "DefineAllocationRule",
    "DeleteExecutionCredit",
    "EndGrantSchedule",
    "InvoiceTold",
    "IssueGrant",
    "LedgerUnavailable",
    "MarkInvoicePaid",
    "OpenExecutionCredit",
    "Receipt",
    "RechargePool",
    "RecordGrantPayment",
    "RecordThreshold",
    "RefundDebit",
    "RemoveAllocationRule",
    "SaveAutoRecharge",
    "SettleDue",
    "UpdateExecutionCredit",
    "UpdateGrant",
    "VoidGrant",
]
