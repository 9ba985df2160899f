"""What a request says of a debit or a refund, and the command that it asks for.

One reading for the single request and for each item of a batch: so both refuse the same in the same words, always as
InvalidArgument with the field's name on the wire.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any

from ledger.application import ConsumeCredits, RefundDebit
from ledger.application.inputs import choice, kind_of_credits
from ledger.domain.credits import FLOAT_SIGNIFICANT_DIGITS_MAX, credits_decimal, credits_of_float
from ledger.domain.instants import instant_from_text
from ledger.domain.refusals import InvalidArgument
from ledger.domain.values import NAME_CHARACTERS_MAX, CreditType, Kind
from service.rest.json_bodies import Number

BATCH_MAX = 8000
KEY = "idempotencyKey"
DEBIT_FIELDS = frozenset(
    ("holder", "currency", "amount", "resource", "kind", "useAt", "accountGroups", "dimensions", KEY)
)
REFUND_FIELDS = frozenset(("transactionId", "amount", "reason", "kind", KEY))
BATCH_FIELDS = frozenset(("debits",))
DEBIT_WORDS = {"accountGroupIds": "accountGroups"}
"""What this door calls the fields of our commands, where it is not as they do."""


def debit_of(given: Any, header_key: str | None = None) -> ConsumeCredits:
    """The command of a debit. Execution credits have neither a resource nor a `useAt`: their contract has none."""
    given = _object(given, DEBIT_FIELDS, "debit")
    get = given.get
    kind, use_at = _kind(get("kind")), get("useAt")
    if kind is Kind.EXECUTION_CREDIT:
        choice(CreditType, get("currency"), field="currency")
        for field in ("resource", "useAt"):
            if get(field) is not None:
                raise InvalidArgument(field, f"must not be given for {Kind.EXECUTION_CREDIT}")
    return ConsumeCredits(
        kind=kind,
        holder=get("holder"),
        currency=get("currency"),
        resource=get("resource"),
        amount=_amount(get("amount"), needed=True),
        use_at=None if use_at is None else _instant(use_at),
        account_groups=get("accountGroups"),
        dimensions=get("dimensions"),
        idempotency_key=_key(get(KEY), header_key),
    )


def refund_of(given: Any, header_key: str | None = None) -> RefundDebit:
    """The command of a refund; without an amount, of all that is left."""
    given = _object(given, REFUND_FIELDS, "refund")
    return RefundDebit(
        kind=_kind(given.get("kind")),
        transaction_id=given.get("transactionId"),
        amount=_amount(given.get("amount"), needed=False),
        reason=None if given.get("reason") == "" else given.get("reason"),
        idempotency_key=_key(given.get(KEY), header_key),
    )


def items_of(given: Any) -> list[Any]:
    """The items of a batch, each still as it was sent."""
    items = _object(given, BATCH_FIELDS, "body").get("debits")
    if not isinstance(items, list) or not 1 <= len(items) <= BATCH_MAX:
        raise InvalidArgument("debits", f"must be a list of 1 to {BATCH_MAX}")
    return items


def about_execution_credits(given: Any) -> bool:
    """Whether something is about execution credits, whatever else may be wrong with it."""
    return isinstance(given, dict) and given.get("kind") == Kind.EXECUTION_CREDIT


def _object(given: Any, fields: frozenset[str], name: str) -> dict[str, Any]:
    """A JSON object without a field that is not known: somebody may believe that it does something."""
    if not isinstance(given, dict):
        raise InvalidArgument(name, "must be a JSON object")
    if not given.keys() <= fields:
        unknown = next(field for field in given if field not in fields)
        raise InvalidArgument(unknown[:NAME_CHARACTERS_MAX], "is not known")
    return given


def _kind(given: Any) -> Kind:
    return Kind.CREDIT_GRANT if given is None else kind_of_credits(given)


def _amount(given: Any, *, needed: bool) -> str | int | Decimal | None:
    """An amount as text or a number, exactly; a command refuses what is neither. None: none was given."""
    if isinstance(given, Number):
        try:
            return credits_decimal(credits_of_float(given.text, has_twin=False))
        except InvalidArgument as refusal:
            inexact = refusal.reason == f"has more than {FLOAT_SIGNIFICANT_DIGITS_MAX} significant digits"
            raise InvalidArgument("amount", refusal.reason + (": give it as text" if inexact else "")) from None
    if given is None and needed:
        raise InvalidArgument("amount", "must be given, as text or as a number")
    return given  # type: ignore[no-any-return]  # the command looks at what it is


def _instant(given: Any) -> datetime:
    return instant_from_text(given, field="useAt")


def _key(given: Any, header_key: str | None) -> Any:
    if header_key is None or given is None:
        return header_key if given is None else given
    if given != header_key:
        raise InvalidArgument(KEY, "must be the same as in the header Idempotency-Key, where both are given")
    return given
