"""Reading what a command was given: each function returns the one kept spelling, or refuses with the field's name.

Refuses always as InvalidArgument, whatever was given: a wrong type, too long, out of bounds, or what no database holds.
"""

import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeVar

from ledger.domain.credits import UNITS_PER_CREDIT, Credits, credits_of, credits_text
from ledger.domain.grant_details import READABLE_PREFIX
from ledger.domain.refusals import InvalidArgument
from ledger.domain.values import (
    ACCOUNT_GROUPS_MAX,
    KINDS_OF_CREDITS,
    METADATA_BYTES_MAX,
    UUID,
    Actor,
    ActorKind,
    DocumentId,
    Kind,
    text_of,
)

WHOLE_MAX = 2**31 - 1
CURRENCY = re.compile(r"[A-Z]{3}")
Chosen = TypeVar("Chosen", bound=StrEnum)
_NUL_IN_JSON = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


@dataclass(slots=True, frozen=True)
class Document:
    """Free text of a command. It is salted, so that its hash tells nothing once it is erased."""

    body: str
    sha256: str
    document_id: DocumentId | None = None
    """None where each transaction has its own."""

    @classmethod
    def of(cls, **texts: object) -> "Document | None":
        given = {name: value for name, value in texts.items() if value is not None}
        if not given:
            return None
        body = _json({**given, "salt": secrets.token_hex(16)})
        return cls(body, hashlib.sha256(body.encode()).hexdigest())

    @classmethod
    def shared(cls, kind: str, holder: str, **texts: object) -> "Document":
        """One document for all transactions of a holder that say the same: its id follows from what they say.

        So uses can be summed by it. It has no salt, and its hash may be guessed; no secret belongs into it.
        """
        body = _json(texts)
        named = hashlib.sha256(_json([kind, holder, texts]).encode()).hexdigest()
        return cls(body, hashlib.sha256(body.encode()).hexdigest(), DocumentId(_uuid_of_hash(named)))


def _uuid_of_hash(sha256: str) -> str:
    """RFC 9562, version 8: 122 bits of a hash."""
    variant = f"{0x8 | int(sha256[16], 16) & 0x3:x}"
    return f"{sha256[:8]}-{sha256[8:12]}-8{sha256[13:16]}-{variant}{sha256[17:20]}-{sha256[20:32]}"


def choice(enumeration: type[Chosen], value: Any, *, field: str) -> Chosen:
    """One of an enumeration's values, given as itself or as its text."""
    try:
        return enumeration(value)
    except (ValueError, TypeError):
        raise InvalidArgument(field, f"must be one of {', '.join(enumeration)}") from None


def flag(value: object, *, field: str) -> bool:
    """True or false, and nothing that merely counts as one."""
    if not isinstance(value, bool):
        raise InvalidArgument(field, "must be true or false")
    return value


def canonical(values: Mapping[str, object]) -> str:
    """JSON in one spelling, to compare: keys sorted, nulls left out, 50.0 as 50, no spaces."""
    return _json(_in_one_spelling(values))


def _json(values: object) -> str:
    return json.dumps(values, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _in_one_spelling(value: object) -> object:
    if isinstance(value, Mapping):
        return {name: _in_one_spelling(each) for name, each in value.items() if each is not None}
    if isinstance(value, list | tuple):
        return [_in_one_spelling(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def differing_fields(first: str, second: str) -> tuple[str, ...]:
    """The fields in which two canonical bodies differ."""
    one, other = json.loads(first), json.loads(second)
    return tuple(sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name)))


def positive(value: Any, *, field: str = "amount") -> Credits:
    """An amount of credits above zero."""
    units = credits_of(value, field=field)
    if units == 0:
        raise InvalidArgument(field, "must be above zero")
    return units


def whole_credits(value: Any, *, field: str = "amount") -> Credits:
    """An amount of execution credits: whole, above zero, and within the 32 bits that the wire has for it."""
    if isinstance(value, int) and value < 0:
        raise InvalidArgument(field, "must be above zero")
    units = positive(value, field=field)
    if units % UNITS_PER_CREDIT or units > WHOLE_MAX * UNITS_PER_CREDIT:
        raise InvalidArgument(field, f"must be a whole number of at most {WHOLE_MAX}")
    return units


def amount_of(kind: Kind, value: Any) -> Credits:
    """An amount to use or to give back, as credits of its kind are counted."""
    return positive(value) if kind is Kind.CREDIT_GRANT else whole_credits(value)


def exact(value: Any, *, field: str) -> Decimal:
    """A non-negative decimal with at most 9 places in its shortest spelling, for costs and priorities."""
    return Decimal(credits_text(credits_of(value, field=field)))


def priority_of(value: Any) -> Decimal:
    """A place in the burn-down order: 0 to 100."""
    priority = exact(value, field="priority")
    if priority > 100:
        raise InvalidArgument("priority", "must be from 0 to 100")
    return priority


def plain(value: str | int | Decimal) -> str:
    """A non-negative decimal's shortest text."""
    return credits_text(credits_of(value))


def account_groups_of(groups: object) -> tuple[str, ...] | None:
    """Account group ids, sorted and without repeats: a debit counts once however often a group is named."""
    if not isinstance(groups, list | tuple) or len(groups) > ACCOUNT_GROUPS_MAX:
        raise InvalidArgument("accountGroupIds", f"must be a list of at most {ACCOUNT_GROUPS_MAX} texts")
    return tuple(sorted({text_of(group, field="accountGroupIds") for group in groups})) or None


def rule_groups_of(groups: object) -> tuple[str, ...]:
    """The account group ids of a rule, in the order they were given in: at least one, and none of them twice."""
    if not isinstance(groups, list | tuple) or not 1 <= len(groups) <= WHOLE_MAX:
        raise InvalidArgument("accountGroups", f"must be a list of 1 to {WHOLE_MAX} account group ids")
    checked = tuple(text_of(group, field="accountGroups") for group in groups)
    if len(set(checked)) < len(checked):
        raise InvalidArgument("accountGroups", "must be distinct")
    return checked


def whole_of(value: object, *, field: str, least: int, most: int) -> int:
    """A whole number within bounds, and nothing that merely counts as one."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise InvalidArgument(field, f"must be a whole number from {least} to {most}")
    return int(value)


def kind_of_credits(value: object) -> Kind:
    """A kind that has pools with credits."""
    if not isinstance(value, str) or value not in KINDS_OF_CREDITS:
        raise InvalidArgument("kind", f"must be one of {', '.join(sorted(KINDS_OF_CREDITS))}")
    return Kind(value)


def dimensions_of(dimensions: object) -> dict[str, str] | None:
    """Dimensions of a use: texts by name, within the size of metadata."""
    if not isinstance(dimensions, Mapping):
        raise InvalidArgument("dimensions", "must be texts by name")
    checked = {text_of(name, field="dimensions"): _dimension(name, value) for name, value in dimensions.items()}
    return json_object_of(checked, field="dimensions") and checked


def _dimension(name: object, value: object) -> str:
    try:
        return text_of(value, field="dimensions")
    except InvalidArgument as refusal:
        raise InvalidArgument("dimensions", f"of the name {name!r}: {refusal.reason}") from None


def json_object_of(values: object, *, field: str) -> dict[str, Any] | None:
    """A JSON object of at most 16 KiB that every later reader can hold; an empty one is none."""
    if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in values):
        raise InvalidArgument(field, "must be an object with text names")
    try:
        text = json.dumps(dict(values), ensure_ascii=False, allow_nan=False, sort_keys=True)
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError):
        raise InvalidArgument(field, "must be JSON without lone surrogates or NaN, all names being texts") from None
    if size > METADATA_BYTES_MAX:
        raise InvalidArgument(field, "must be at most 16 KiB")
    if _NUL_IN_JSON.search(text):
        raise InvalidArgument(field, "must not contain U+0000")
    kept: dict[str, Any] = json.loads(text)
    return kept or None


def actor_of(actor: object) -> Actor:
    """Who did it, with a kind that there is."""
    if not isinstance(actor, tuple) or len(actor) != 2:
        raise InvalidArgument("actor", "must be an Actor")
    return Actor(choice(ActorKind, actor[0], field="actor"), text_of(actor[1], field="actor"))


def id_of(value: object, *, field: str) -> str:
    """A name of something: a UUID or a readable id in its one spelling, or any other text as it is."""
    text = text_of(value, field=field)
    return text.lower() if UUID.fullmatch(text) or text[:3].lower() == READABLE_PREFIX else text


def currency_of(value: object, *, field: str) -> str:
    """An ISO 4217 code."""
    if not isinstance(value, str) or not CURRENCY.fullmatch(value):
        raise InvalidArgument(field, "must be an ISO 4217 code, three capital letters")
    return str.__str__(value)
