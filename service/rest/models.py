"""What requests and answers about allocation rules look like, field by field, by the contract's names."""

from collections.abc import Iterable
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from ledger.application.inputs import WHOLE_MAX, choice, rule_groups_of, whole_of
from ledger.application.rule_commands import allocated_of, threshold_of
from ledger.domain.allocation_rule import PERCENTAGE_MAX
from ledger.domain.refusals import InvalidArgument
from ledger.domain.values import NAME_CHARACTERS_MAX, Word, text_of
from service.rest.fields import Read, RequestBody, anything, texts_of
from service.rest.time_ranges import CALENDAR_UNITS, INT64_MAX, RangeType, TimeRange, Unit, time_range_of
from service.signing import SIGNATURE_DIGITS, unarmoured

LIMIT_MAX = 1000
LIMIT_DEFAULT = 300
TARGET_TYPE = "AccountGroup"
CREDENTIAL_CHARACTERS_MAX = 1000
PAGE_TOKEN_RULE = "must be the token of a page of the same request"  # noqa: S105  # what is said of one
Schema: TypeAlias = dict[str, Any]


class ThresholdFilter(Word):
    ABOVE = "AboveThreshold"
    BELOW = "BelowThreshold"


def _name_of(value: object) -> str:
    return text_of(value, field="name")


def _target_type_of(value: object) -> str:
    if value != TARGET_TYPE:
        raise InvalidArgument("targetType", f"must be {TARGET_TYPE}")
    return TARGET_TYPE


def _threshold_filter_of(value: object) -> ThresholdFilter:
    return choice(ThresholdFilter, value, field="thresholdFilter")


def _limit_of(value: object) -> int:
    """More than there may be on a page is cut, not refused."""
    return min(whole_of(value, field="limit", least=1, most=WHOLE_MAX), LIMIT_MAX)


def _text_of(value: object) -> str:
    return text_of(value, field="text", characters_max=CREDENTIAL_CHARACTERS_MAX)


def _page_token_of(value: object) -> str:
    try:
        if not isinstance(value, str) or len(unarmoured(value)) <= SIGNATURE_DIGITS:
            raise ValueError("this is no token of ours")
    except ValueError:
        raise InvalidArgument("pageToken", PAGE_TOKEN_RULE) from None
    return value


def _rule_id_of(value: object) -> str:
    if not isinstance(value, str):
        raise InvalidArgument("id", "must be a text, and the id in the path")
    return value


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _integer(most: int, *, least: int = 0) -> Schema:
    return {"type": "integer", "format": "int32" if most < 2**31 else "int64", "minimum": least, "maximum": most}


def _words(words: Iterable[Word]) -> Schema:
    return {"type": "string", "enum": [word.value for word in words]}


def _range(kind: RangeType, value: Schema) -> Schema:
    return _object(type={"type": "string", "const": kind.value}, value=value)


WITHOUT_NUL: Schema = {"type": "string", "pattern": "^[^\\u0000]*$"}
OF_32_BITS: Schema = {"format": "int32"}
TEXT: Schema = WITHOUT_NUL | {"minLength": 1, "maxLength": NAME_CHARACTERS_MAX}
CREDENTIAL: Schema = TEXT | {"maxLength": CREDENTIAL_CHARACTERS_MAX}
PAGE_TOKEN: Schema = {
    "type": "string",
    "description": "Of the page before, with the same request; good for the ledger's next 1,000,000 events.",
}
TARGET: Schema = {"type": "string", "const": TARGET_TYPE}
TEXTS: Schema = {"type": "array", "items": WITHOUT_NUL}
GROUPS: Schema = {"type": "array", "items": TEXT, "minItems": 1, "maxItems": WHOLE_MAX, "uniqueItems": True}
_UNIT: Schema = _words(CALENDAR_UNITS)
_CALENDAR: Schema = {"anyOf": [_UNIT, _object(unit=_UNIT)]}
TIME_RANGE: Schema = {
    "description": "In UTC. Without one: relative, 1 month. An absolute range alone excludes its end.",
    "oneOf": [
        _range(
            RangeType.RELATIVE,
            _object(
                unit={"type": "string", "enum": [unit.value for unit in Unit]}, amount={"type": "integer", "minimum": 1}
            ),
        ),
        _range(RangeType.ABSOLUTE, _object(startTime=_integer(INT64_MAX), endTime=_integer(INT64_MAX))),
        _range(RangeType.TO_NOW, _CALENDAR),
        _range(RangeType.FROM_NOW, _CALENDAR),
    ],
}

Ignored: TypeAlias = Annotated[Any, Read(anything, {"description": "Ignored, whatever it is."}, optional=True)]
Texts: TypeAlias = Annotated[tuple[str, ...] | None, Read(texts_of, TEXTS, optional=True)]
Range: TypeAlias = Annotated[TimeRange | None, Read(time_range_of, TIME_RANGE, optional=True)]
Currency: TypeAlias = Annotated[
    str | None,
    Read(
        lambda value: text_of(value, field="currencyId"),
        TEXT | {"description": "Count only what is used in this currency."},
        optional=True,
    ),
]
Allocated: Schema = _integer(WHOLE_MAX) | {"description": "Whole credits; no use is stopped by them."}
Threshold: Schema = _integer(PERCENTAGE_MAX) | {"description": "Percent of allocatedCredits from which on to warn."}


class NewRule(RequestBody):
    """A rule to be made."""

    id: Ignored = None
    customerId: Ignored = None
    prismaId: Ignored = None
    name: Annotated[str, Read(_name_of, TEXT)]
    targetType: Annotated[str, Read(_target_type_of, TARGET)]
    allocatedCredits: Annotated[int, Read(allocated_of, Allocated)]
    alarmThreshold: Annotated[int, Read(threshold_of, Threshold)]
    accountGroups: Annotated[tuple[str, ...], Read(rule_groups_of, GROUPS)]
    usedCredits: Ignored = None
    percentage: Ignored = None
    currencyId: Currency = None


class RuleChange(RequestBody):
    """A rule as it is to be; what is null or absent stays as it is. The account groups are replaced whole."""

    id: Annotated[
        str | None, Read(_rule_id_of, {"type": "string", "description": "The id in the path."}, optional=True)
    ] = None
    customerId: Ignored = None
    prismaId: Ignored = None
    name: Annotated[str | None, Read(_name_of, TEXT, optional=True)] = None
    targetType: Annotated[str | None, Read(_target_type_of, TARGET, optional=True)] = None
    allocatedCredits: Annotated[int | None, Read(allocated_of, Allocated, optional=True)] = None
    alarmThreshold: Annotated[int | None, Read(threshold_of, Threshold, optional=True)] = None
    accountGroups: Annotated[tuple[str, ...] | None, Read(rule_groups_of, GROUPS, optional=True)] = None
    usedCredits: Ignored = None
    percentage: Ignored = None
    currencyId: Currency = None


class ListRequest(RequestBody):
    """Which rules, and the window to tell their usage in. Filters: or within a list, and between them."""

    timeRange: Range = None
    ruleNames: Texts = None
    accountGroupIds: Texts = None
    thresholdFilter: Annotated[
        ThresholdFilter | None,
        Read(_threshold_filter_of, _words(ThresholdFilter), optional=True),
    ] = None
    limit: Annotated[
        int | None,
        Read(
            _limit_of,
            _integer(WHOLE_MAX, least=1)
            | {"description": f"Default {LIMIT_DEFAULT}; more than {LIMIT_MAX} is {LIMIT_MAX}."},
            optional=True,
        ),
    ] = None
    pageToken: Annotated[
        str | None,
        Read(
            _page_token_of,
            PAGE_TOKEN,
            optional=True,
        ),
    ] = None


class SummaryRequest(RequestBody):
    """The window to sum up."""

    timeRange: Range = None


class Login(RequestBody):
    """The two parts of an API key."""

    username: Annotated[str, Read(_text_of, CREDENTIAL | {"description": "The key's id."})]
    password: Annotated[str, Read(_text_of, CREDENTIAL | {"description": "The key's secret."})]


class AnswerBody(BaseModel):
    """Every field is always there, unless it says otherwise."""

    model_config = ConfigDict(extra="forbid")


class Rule(AnswerBody):
    """A rule."""

    id: str
    customerId: Annotated[None, WithJsonSchema({"type": ["integer", "null"], "format": "int32"})]
    prismaId: Annotated[None, WithJsonSchema({"type": ["integer", "null"], "format": "int64"})]
    name: str = Field(min_length=1, max_length=NAME_CHARACTERS_MAX)
    targetType: str = Field(json_schema_extra={"const": TARGET_TYPE})
    allocatedCredits: int = Field(ge=0, le=WHOLE_MAX, json_schema_extra=OF_32_BITS)
    alarmThreshold: int = Field(ge=0, le=PERCENTAGE_MAX, json_schema_extra=OF_32_BITS)
    accountGroups: list[str] = Field(min_length=1)
    currencyId: str | None


class RuleWithUsage(Rule):
    """A rule, and what was used of it in the window that was asked for."""

    usedCredits: int = Field(
        ge=0,
        le=WHOLE_MAX,
        description="Rounded half up; 2147483647 also stands for more.",
        json_schema_extra=OF_32_BITS,
    )
    percentage: int = Field(
        ge=0,
        le=WHOLE_MAX,
        description="Of allocatedCredits, rounded down; may exceed 100.",
        json_schema_extra=OF_32_BITS,
    )


class RuleList(AnswerBody):
    """A page of rules in order of name, then id."""

    rules: list[RuleWithUsage] | None = Field(description="null where there are none.")
    pageToken: str | None = Field(description="Where there is another page: to be sent with the same request.")


class Summary(AnswerBody):
    """Exact decimals; no digit is rounded away."""

    purchased: float = Field(ge=0, description="Credits of all lots that were usable at some instant of the window.")
    usage: float = Field(ge=0, description="Net debits in the window, whether or not they name account groups.")


class RuleNames(AnswerBody):
    """The names of all rules, in their order."""

    names: list[str]


class Token(AnswerBody):
    """To be sent as x-redlock-auth."""

    token: str


class Problem(AnswerBody):
    """What is told where a request was turned down: nothing was written."""

    timestamp: str = Field(json_schema_extra={"format": "date-time"})
    status: int = Field(ge=400, le=599)
    error: str
    message: str = Field(description="Names every bad field, and its bound.")
    path: str
