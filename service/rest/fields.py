"""Bodies of requests: read leniently as to their content type, strictly as to what is in them, and refused with all
that is wrong, each field by its name on the wire."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError, core_schema
from starlette.requests import Request

from ledger.domain.refusals import InvalidArgument
from ledger.domain.values import text_of
from service.frame import BODY_BYTES_MAX
from service.refusals import BodyTooLarge, InvalidFields

WHOLE_NUMBER_DIGITS_MAX = 40
"""Of a longer whole number only so much is read: it is beyond every bound that there is, and stays beyond it."""
AT_ONCE_BYTES_MAX = 64 * 1024
"""A larger body is read in a thread: others are answered meanwhile."""
UNKNOWN_TOLD_MAX = 20
Body = TypeVar("Body", bound=BaseModel)
Problems: TypeAlias = Sequence[tuple[str, str]]
"""What is wrong, each by its field."""


class RequestBody(BaseModel):
    """What is not known is refused: somebody may believe that it does something."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Read:
    """How a field is read: `check` gives what it means or refuses it, `schema` tells the same in JSON Schema.

    An optional field may be null, which is the same as absent.
    """

    check: Callable[[Any], object]
    schema: dict[str, Any]
    optional: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [self.schema, {"type": "null"}]} if self.optional else self.schema

    def read(self, value: object) -> object:
        meaning, problems = self.judged(value)
        if problems:
            raise PydanticCustomError("refused", "refused", {"problems": problems})
        return meaning

    def judged(self, value: object) -> tuple[object, Problems]:
        """What it means, or what is wrong with it, by the place in it."""
        if value is None and self.optional:
            return None, ()
        try:
            return self.check(value), ()
        except InvalidFields as refusal:
            return None, refusal.problems
        except InvalidArgument as refusal:
            return None, [("", refusal.reason)]


async def body_of(
    request: Request,
    model: type[Body],
    *,
    optional: bool = False,
    bytes_max: int = BODY_BYTES_MAX,
    besides: Callable[[Any], Problems] = lambda _: (),
) -> Body:
    """The body of a request, whatever content type it says it has.

    `besides` tells what is wrong with it that its fields alone do not show. Refuses: BodyTooLarge, InvalidArgument (it
    is no JSON object), InvalidFields.
    """
    raw = await request.body()
    if len(raw) > bytes_max:
        raise BodyTooLarge(bytes_max)
    if len(raw) > AT_ONCE_BYTES_MAX:
        return await asyncio.to_thread(_read_body, raw, model, optional, besides)
    return _read_body(raw, model, optional, besides)


def _read_body(raw: bytes, model: type[Body], optional: bool, besides: Callable[[Any], Problems]) -> Body:
    given: Any = {}
    if raw.strip() or not optional:
        try:
            given = json.loads(raw.decode(), parse_int=_whole, parse_float=_number, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise InvalidArgument("body", f"must be JSON: {error}") from None
        if given is None and optional:
            given = {}
    if not isinstance(given, dict):
        raise InvalidArgument("body", "must be a JSON object")
    problems: list[tuple[str, str]] = []
    try:
        read = model.model_validate({name: given[name] for name in model.model_fields if name in given})
    except ValidationError as error:
        problems += [found for each in error.errors() for found in _problems(model, each)]
    problems += besides(given)
    problems += [(name, "is not known") for name in given if name not in model.model_fields][:UNKNOWN_TOLD_MAX]
    if problems:
        raise InvalidFields(tuple(problems))
    return read


def texts_of(values: object) -> tuple[str, ...] | None:
    """Texts to filter by; none filter nothing."""
    reason = "must be a list of texts, without U+0000 and lone surrogates"
    if not isinstance(values, list):
        raise InvalidArgument("", reason)
    for value in values:
        if value != "":
            try:
                text_of(value, field="", characters_max=2**31)
            except InvalidArgument:
                raise InvalidArgument("", reason) from None
    return tuple(sorted(set(values))) or None


def anything(value: object) -> object:
    """What is ignored, whatever it is."""
    return value


def _number(text: str) -> object:
    """A number with a point or an exponent: a whole one is an int (50 = 50.0); no other is meant anywhere."""
    try:
        number = Decimal(text)
    except InvalidOperation:  # an exponent that no decimal has
        return text.encode()
    if number != 0 and number.adjusted() >= WHOLE_NUMBER_DIGITS_MAX:
        return _whole("-" * number.is_signed() + "9" * (WHOLE_NUMBER_DIGITS_MAX + 1))
    return int(number) if number == number.to_integral_value() else number


def _whole(text: str) -> int:
    return int(text[: WHOLE_NUMBER_DIGITS_MAX + 2])


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _problems(model: type[BaseModel], error: ErrorDetails) -> Problems:
    field = str(error["loc"][0])
    if error["type"] == "missing":
        (read,) = (each for each in model.model_fields[field].metadata if isinstance(each, Read))
        _, found = read.judged(None)
    else:
        found = error["ctx"]["problems"]
    return [(f"{field}.{place}" if place else field, reason) for place, reason in found]
