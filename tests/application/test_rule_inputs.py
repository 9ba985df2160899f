"""Every bound of a rule's fields, on both sides of it; what is beyond is refused by the name of the field."""

from decimal import Decimal
from typing import Any

import pytest

from ledger.application import (
    ChangeAllocationRule,
    DefineAllocationRule,
    RecordThreshold,
    RemoveAllocationRule,
)
from ledger.domain.refusals import InvalidArgument
from tests.application.test_inputs import CREDIT, FINE, INSTANTS, TEXTS

GROUPS: tuple[Any, ...] = (
    *("g", 5, {"g": 1}, [], (), [5], [""], ["g", None], ["g\0"], ["\ud800"], ["x" * 201]),
    *(["g", "g"], ["g", "h", "g"], ("g", "g")),
)
"""No account groups of a rule, which are at least one, and no two alike."""
NO_WHOLE_NUMBERS: tuple[Any, ...] = ("1", "", True, False, 1.0, 0.5, Decimal(1), [], {}, 10**30)

BAD: list[tuple[type[Any], str, str, Any]] = [
    *(
        (command, field, wire, wrong)
        for command in (DefineAllocationRule, ChangeAllocationRule)
        for field, wire, wrong in (
            ("name", "name", TEXTS),
            ("account_groups", "accountGroups", GROUPS),
            ("allocated", "allocatedCredits", (-1, 2**31, *NO_WHOLE_NUMBERS)),
            ("alarm_threshold", "alarmThreshold", (-1, 101, *NO_WHOLE_NUMBERS)),
            ("currency", "currency", TEXTS),
        )
    ),
    (DefineAllocationRule, "name", "name", (None,)),
    (DefineAllocationRule, "account_groups", "accountGroups", (None,)),
    (DefineAllocationRule, "allocated", "allocatedCredits", (None,)),
    (DefineAllocationRule, "alarm_threshold", "alarmThreshold", (None,)),
    (ChangeAllocationRule, "rule", "id", (*TEXTS, None)),
    (RemoveAllocationRule, "rule", "id", (*TEXTS, None)),
    (RecordThreshold, "reached_at", "reachedAt", (*INSTANTS, None)),
    (RecordThreshold, "caused_by", "causationId", TEXTS),
    (RecordThreshold, "idempotency_key", "idempotencyKey", ("k",)),
]


@pytest.mark.parametrize(("command", "field", "wire", "values"), BAD, ids=[f"{c.__name__}.{f}" for c, f, _, _ in BAD])
def test_a_bad_value_is_refused_by_its_field(command: type[Any], field: str, wire: str, values: Any) -> None:
    for value in values:
        with pytest.raises(InvalidArgument) as refused:
            command(**FINE[command] | {field: value})
        assert refused.value.field == wire, value


RULES_AT_THE_BOUNDS: list[dict[str, Any]] = [
    {"name": "n", "account_groups": ["g"], "allocated": 0, "alarm_threshold": 0},
    {"name": "x" * 200, "account_groups": ("y" * 200, "Y" * 200), "allocated": 2**31 - 1, "alarm_threshold": 100},
    {"name": " ", "account_groups": [" ", "  "], "allocated": 1, "alarm_threshold": 1, "currency": "\u00e4" * 200},
    {"name": "many", "account_groups": [*map(str, range(10_000))], "allocated": 1, "alarm_threshold": 1},
]


@pytest.mark.parametrize("fields", RULES_AT_THE_BOUNDS, ids=["least", "most", "blanks", "many"])
def test_a_rule_may_be_at_the_bounds_of_all_its_fields(fields: dict[str, Any]) -> None:
    """Its account groups are kept in the order they were given in."""
    for command in (DefineAllocationRule(**fields), ChangeAllocationRule(rule=CREDIT, **fields)):
        kept = {field: getattr(command, field) for field in fields}
        assert kept == fields | {"account_groups": tuple(fields["account_groups"])}
