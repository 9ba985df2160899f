"""What a message should say of an event, told a second time: from the event as the domain has it, and nothing else."""

from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from pydantic import BaseModel

from ledger.domain.events import Event, Expired, GrantChange, Granted, LedgerEvent, Movement
from ledger.domain.values import Actor, After, DocumentReference

UNITS = 10**9
AMOUNTS = {
    "After": ("granted", "used", "balance", "pool_balance"),
    "ExecutionCreditDefined": ("credits",),
    "SchedulePlan": ("amount",),
    "Rollover": ("max_amount",),
    "Spend": ("amount",),
    "RechargeSettings": ("threshold", "target", "max_spend"),
    "ThresholdReached": ("used",),
}
"""Which whole numbers are billionths; all other whole numbers are counts."""
EVERY_EVENT_HAS = {*Event.model_fields, "pool"}


def message_of(event: LedgerEvent, position: int, last: int, texts: dict[str, Any] | None) -> dict[str, Any]:
    """The data of the message; `last` is the transaction's last position, `texts` what its document has, if any."""
    transaction, pool = event.transaction, event.pool
    told: dict[str, Any] = {
        "position": position,
        "transactionId": transaction.transaction_id,
        "transactionLast": last,
        "streamId": event.originator_id,
        "streamVersion": event.originator_version,
        "recordedAt": said(transaction.recorded_at),
        "actor": said(transaction.actor),
        "correlationId": transaction.correlation_id,
        "causationId": transaction.causation_id,
        "kind": str(pool.kind),
        "holder": pool.holder or None,
        "currency": pool.currency or None,
        "resource": pool.resource,
        "document": None if transaction.document is None else said(transaction.document) | {"texts": texts},
    }
    if not isinstance(event, Movement | GrantChange):
        return told | {"definition": fields_of(event, leaving_out=EVERY_EVENT_HAS)}
    after = fields_of(event.after)
    told |= {
        "lot": event.lot,
        "grantType": said(event.grant_type),
        "cause": said(event.cause),
        "effectiveAt": said(event.effective_at),
        "after": {"lotGranted": after["granted"], "lotUsed": after["used"], "lotBalance": after["balance"]}
        | {"poolBalance": after["poolBalance"]},
    }
    if isinstance(event, Movement):
        told |= {
            "amount": amount_text(event.amount),
            "useAt": said(event.use_at),
            "debitId": event.debit_id,
            "accountGroups": None if event.account_groups is None else list(event.account_groups),
        }
    if isinstance(event, Granted | GrantChange):
        told |= {"terms": said(event.terms), "grant": said(event.grant)}
    if isinstance(event, Expired):
        told["rolledOverTo"] = event.rolled_over_to
    return told


def fields_of(value: Any, leaving_out: set[str] | frozenset[str] = frozenset()) -> dict[str, Any]:
    """The fields of a model or a named tuple in camelCase, each as it is said."""
    names = list(type(value).model_fields) if isinstance(value, BaseModel) else list(value._fields)
    billionths = AMOUNTS.get(type(value).__name__, ())
    return {
        camel(name): amount_text(of) if name in billionths and of is not None else said(of)
        for name in names
        if name not in leaving_out
        for of in [getattr(value, name)]
    }


def said(value: Any) -> Any:
    match value:
        case datetime():
            return instant_text(value)
        case Decimal():
            return amount_text(value)
        case StrEnum():
            return value.value
        case BaseModel() | DocumentReference() | Actor() | After():
            return fields_of(value)
        case tuple():
            return [said(each) for each in value]
    return value


def amount_text(amount: int | Decimal) -> str:
    """Of billionths, or a decimal of at most 9 places: without an exponent, and without zeros that say nothing."""
    units = amount if isinstance(amount, int) else int(f"{amount:.9f}".replace(".", ""))
    whole, part = divmod(abs(units), UNITS)
    return f"{'-' * (units < 0)}{whole}.{part:09d}".rstrip("0").rstrip(".")


def instant_text(instant: datetime) -> str:
    digits = f"{instant.microsecond:06d}"
    shown = digits[:3] if digits.endswith("000") else digits
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{shown}Z"


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)
