"""Exact credits: inside the ledger an amount is a whole number of billionths of a credit.

Decimals and texts exist at the edges only. They are read and written in one context that refuses to round, because
Python's default context silently rounds sums of amounts with 28 digits.
"""

from decimal import Clamped, Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow, Rounded, Underflow
from functools import lru_cache
from typing import TypeAlias

from ledger.domain.refusals import InvalidArgument

Credits: TypeAlias = int
"""A number of credits in units of 10**-9; signed where the docstring says so."""

PLACES = 9
UNITS_PER_CREDIT: int = 10**PLACES
WHOLE_DIGITS_MAX = 19
COMMON_CHARACTERS_MAX = WHOLE_DIGITS_MAX + 1 + PLACES
AMOUNT_MAX: Credits = 10**28 - 1
"""The largest single amount: 19 digits before the point, 9 after it. Sums have room for 10**10 such amounts."""
FLOAT_SIGNIFICANT_DIGITS_MAX = 15

EXACT = Context(
    prec=60,
    traps=[Inexact, Rounded, InvalidOperation, DivisionByZero, Overflow, Underflow, Clamped],
)


def credits_of(value: object, *, field: str = "amount") -> Credits:
    """Read a non-negative amount of credits exactly.

    Refuses (InvalidArgument) what is not a finite decimal, is below zero, has more than 9 places or more than 19 digits
    before the point. Zero is allowed here; commands that need more than zero say so themselves.
    """
    if type(value) is str and len(value) <= COMMON_CHARACTERS_MAX:
        common = _credits_of_common_text(value)
        if common is not None:
            return common
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise InvalidArgument(field, "must be a decimal number, given as text, int or Decimal")
    units = value * UNITS_PER_CREDIT if isinstance(value, int) else _units_of_decimal(value, field)
    if units < 0:
        raise InvalidArgument(field, "must not be below zero")
    if units > AMOUNT_MAX:
        raise InvalidArgument(field, "must have at most 19 digits before the point")
    return units


def credits_of_float(value: float | str, *, field: str = "amount", has_twin: bool = True) -> Credits:
    """Read a wire float by its shortest text, or by the text that it was sent as.

    Refuses one with more than 15 significant digits: a float does not hold them, so the amount would not be exact. The
    refusal names the exact twin, the field that takes it as text, unless there is none.
    """
    number = _decimal_of(value if isinstance(value, str) else repr(value), field)
    significant = len("".join(map(str, number.as_tuple().digits)).strip("0"))
    if significant > FLOAT_SIGNIFICANT_DIGITS_MAX:
        advice = f": give it as text in {field}Exact" if has_twin else ""
        raise InvalidArgument(field, f"has more than {FLOAT_SIGNIFICANT_DIGITS_MAX} significant digits{advice}")
    near = number.is_finite() and abs(number.adjusted()) <= 2 * WHOLE_DIGITS_MAX  # farther off there is no amount
    return credits_of(number.normalize() if near else number, field=field)


def credits_decimal(units: Credits) -> Decimal:
    """The amount as an exact decimal with 9 places; `units` may be negative."""
    return Decimal(units).scaleb(-PLACES, EXACT)


def credits_text(units: Credits) -> str:
    """The amount as its shortest text, for people and for canonical bodies: `12.5`, `-3`, `0`."""
    if units < 0:
        return "-" + credits_text(-units)
    if units % UNITS_PER_CREDIT == 0:
        return str(units // UNITS_PER_CREDIT)
    digits = str(units).rjust(PLACES + 1, "0")  # taken apart as text: a division costs more
    return f"{digits[:-PLACES]}.{digits[-PLACES:].rstrip('0')}"


def credits_column(units: Credits) -> str:
    """The amount as PostgreSQL writes a numeric(38,9): always 9 places."""
    if units < 0:
        units = -units
        return f"-{units // UNITS_PER_CREDIT}.{units % UNITS_PER_CREDIT:09d}"
    return f"{units // UNITS_PER_CREDIT}.{units % UNITS_PER_CREDIT:09d}"


def credits_from_column(text: str) -> Credits:
    """Read what PostgreSQL wrote for a numeric(38,9); anything with other than 9 places is not an amount of ours."""
    whole, point, part = text.partition(".")
    if not point or len(part) != PLACES:
        raise ValueError(f"not a numeric with {PLACES} places: {text!r}")
    return int(whole + part)


@lru_cache(maxsize=4096)
def _credits_of_common_text(text: str) -> Credits | None:
    """The common spelling, an eighth of the cost of going through Decimal; the same amounts come again and again."""
    whole, _, part = text.partition(".")
    if whole.isdecimal() and len(whole) <= WHOLE_DIGITS_MAX and text.isascii() and text[-1] != ".":
        if not part:
            return int(whole) * UNITS_PER_CREDIT
        if part.isdecimal() and len(part) <= PLACES:
            return int(whole) * UNITS_PER_CREDIT + int(part.ljust(PLACES, "0"))
    return None


def _units_of_decimal(value: str | Decimal, field: str) -> Credits:
    number = _decimal_of(value, field)
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or number.adjusted() > WHOLE_DIGITS_MAX:
        raise InvalidArgument(field, "must be a finite number with at most 19 digits before the point")
    if exponent < -PLACES:
        raise InvalidArgument(field, "must have at most 9 places after the point")
    try:
        return int(number.scaleb(PLACES, EXACT))
    except (Inexact, Rounded, InvalidOperation):
        raise InvalidArgument(field, "must have at most 19 digits before the point") from None


def _decimal_of(value: str | Decimal, field: str) -> Decimal:
    if isinstance(value, str) and (len(value) > 64 or not value.isascii() or "_" in value or value != value.strip()):
        raise InvalidArgument(field, "must be a decimal number")
    try:
        return Decimal(value)
    except InvalidOperation:
        raise InvalidArgument(field, "must be a decimal number") from None
