"""The scalars of the wire: floats that keep the text they were sent as, exact decimals, instants, currencies, JSON."""

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, NewType

from graphql import (
    FloatValueNode,
    GraphQLError,
    GraphQLFloat,
    GraphQLScalarType,
    IntValueNode,
    StringValueNode,
    ValueNode,
    print_ast,
)
from graphql.language import EnumValueNode
from strawberry.types.scalar import ScalarDefinition

from ledger.domain.credits import Credits, credits_decimal, credits_of, credits_of_float, credits_text
from ledger.domain.instants import instant_from_text, instant_text
from ledger.domain.refusals import InvalidArgument

NUMBER_CHARACTERS_MAX = 400
DEFAULT_PRIORITY = Decimal(50)
Currency = NewType("Currency", str)
ISO8601DateTime = NewType("ISO8601DateTime", datetime)
"""What the contract of execution credits calls an instant."""


class WireFloat(float):
    """A number as it was sent: the nearest float, and the text, which may say more than a float holds."""

    text: str

    def __new__(cls, text: str) -> "WireFloat":
        if len(text) > NUMBER_CHARACTERS_MAX:
            raise ValueError("a number has too many digits")
        number = super().__new__(cls, text)
        number.text = text
        return number


def json_of(text: str) -> Any:
    """Read JSON strictly: no NaN, and no digit of a number is lost."""
    return json.loads(text, parse_float=WireFloat, parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _float_of_value(value: Any) -> WireFloat:
    if isinstance(value, WireFloat):
        return _finite(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _float_of_text(str(value))
    raise GraphQLError(f"Float cannot represent non numeric value: {value!r}")


def _float_of_literal(node: ValueNode, _variables: Mapping[str, Any] | None = None) -> WireFloat:
    if not isinstance(node, FloatValueNode | IntValueNode):
        raise GraphQLError(f"Float cannot represent non numeric value: {print_ast(node)}", node)
    try:
        return _float_of_text(node.value)
    except GraphQLError as error:
        raise GraphQLError(error.message, node) from None


def _float_of_text(text: str) -> WireFloat:
    try:
        return _finite(WireFloat(text))
    except ValueError as error:
        raise GraphQLError(f"Float cannot represent this number: {error}") from None


def _finite(number: WireFloat) -> WireFloat:
    if number in (float("inf"), float("-inf")) or number != number:  # NaN alone is not itself
        raise GraphQLError("Float cannot represent a number that is not finite")
    return number


def _float_type() -> GraphQLScalarType:
    """GraphQL's own Float, but that its inputs keep their text. Its name is reserved, so it is given afterwards."""
    scalar = GraphQLScalarType(
        "ExactFloat",
        description=GraphQLFloat.description,
        coerce_output_value=GraphQLFloat.coerce_output_value,
        coerce_input_value=_float_of_value,
        coerce_input_literal=_float_of_literal,
    )
    scalar.name = GraphQLFloat.name
    return scalar


def _text_of_literal(node: ValueNode, kinds: tuple[type[ValueNode], ...], name: str) -> str:
    if not isinstance(node, kinds):
        raise GraphQLError(f"{name} must be given as a string", node)
    value: str = node.value  # type: ignore[attr-defined]  # the kinds asked for have one
    return value


def _text_of_value(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise GraphQLError(f"{name} must be given as a string")
    return value


def _plain(number: Decimal) -> str:
    """Without an exponent: 0.000000001, not 1E-9."""
    return format(number, "f")


def _definition(
    name: str,
    description: str,
    *,
    serialize: Any,
    parse: Any,
    kinds: tuple[type[ValueNode], ...] = (StringValueNode,),
) -> ScalarDefinition:
    """A scalar whose inputs are strings."""

    def of_value(value: Any) -> Any:
        return parse(_text_of_value(value, name))

    def of_literal(node: ValueNode, _variables: Mapping[str, Any] | None = None) -> Any:
        try:
            return parse(_text_of_literal(node, kinds, name))
        except GraphQLError as error:
            raise GraphQLError(error.message, node) from None

    return ScalarDefinition(name, description, None, serialize, of_value, of_literal)


def _instant(name: str) -> ScalarDefinition:
    """A scalar of instants; the contracts call it by two names."""

    def parse(text: str) -> datetime:
        try:
            return instant_from_text(text, field=name)
        except InvalidArgument as refusal:
            raise GraphQLError(refusal.message) from None

    about = "An instant in ISO 8601 with its zone, at most 6 fraction digits; answered in UTC with Z."
    return _definition(name, about, serialize=instant_text, parse=parse)


FLOAT = _float_type()
SCALARS: Mapping[object, ScalarDefinition] = {
    float: ScalarDefinition(FLOAT.name, FLOAT.description, None, None, None, None, implementation=FLOAT),
    Decimal: _definition(
        "Decimal",
        "An exact decimal as a string: at most 19 digits before the point and 9 after it.",
        serialize=_plain,
        parse=str,
    ),
    datetime: _instant("DateTime"),
    ISO8601DateTime: _instant("ISO8601DateTime"),
    Currency: _definition(
        "Currency",
        "A currency by its ISO 4217 code.",
        serialize=str,
        parse=str,
        kinds=(StringValueNode, EnumValueNode),
    ),
}


def float_of(units: Credits) -> float:
    """The amount as the wire's Float; its exact twin stands beside it."""
    return float(credits_decimal(units))


def exact_of(units: Credits) -> Decimal:
    """The amount as the wire's Decimal, in its shortest text."""
    return Decimal(credits_text(units))


def units_given(amount: float | None, exact: Decimal | None, *, field: str) -> Credits | None:
    """An amount given as a float or as its exact twin, never both; None if it was given as neither."""
    if amount is not None and exact is not None:
        raise InvalidArgument(field, f"must be given once: as {field} or as {field}Exact")
    if exact is not None:
        return credits_of(str(exact), field=f"{field}Exact")
    if amount is None:
        return None
    return units_of_float(amount, field=field, has_twin=True)


def units_of_float(number: float, *, field: str, has_twin: bool = False) -> Credits:
    """What was sent as a float, exactly. Refuses: InvalidArgument."""
    return credits_of_float(number.text if isinstance(number, WireFloat) else number, field=field, has_twin=has_twin)


def amount_given(amount: float | None, exact: Decimal | None, *, field: str = "amount") -> Decimal | None:
    """The amount of a mutation, above zero; None if there is none. Refuses: InvalidArgument, by the field it was in."""
    units = units_given(amount, exact, field=field)
    if units == 0:
        raise InvalidArgument(field if exact is None else f"{field}Exact", "must be above zero")
    return None if units is None else credits_decimal(units)


def priority_given(given: float | None, exact: Decimal | None) -> Decimal | None:
    """A place in the burn-down order, if one was given. Refuses: InvalidArgument."""
    units = units_given(given, exact, field="priority")
    return None if units is None else credits_decimal(units)


def amount_of(amount: float | None, exact: Decimal | None, *, field: str = "amount") -> Decimal:
    """The amount that a mutation needs. Refuses: InvalidArgument."""
    given = amount_given(amount, exact, field=field)
    if given is None:
        raise InvalidArgument(field, f"must be given, as {field} or as {field}Exact")
    return given
