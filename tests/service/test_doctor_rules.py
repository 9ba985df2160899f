"""Every fault in what is told of an allocation rule, and of its thresholds, is found and named."""

from collections.abc import Iterator

import pytest

from ledger.store.database import Database
from tests.service.test_doctor import Fault, lived_ledger
from tests.service.test_doctor_log import change, data, without

TOLD = "position FROM movements WHERE type = 'ledger.allocation-rule-"
FIRST = f"{TOLD}defined' ORDER BY position"
"""A rule in one currency, which is named otherwise once its threshold was reached by a debit."""
RENAMED = f"{TOLD}changed' ORDER BY position"
SECOND = f"{FIRST} OFFSET 1"
"""A rule that takes the first one's name, reaches its threshold thereby, again by a change, and is removed."""
LAST = f"{FIRST} OFFSET 2"
"""A rule that takes the second one's name."""
CHANGED = f"{RENAMED} OFFSET 1"
REMOVED = f"{TOLD}removed'"
BY_DEBIT = "position FROM movements WHERE type = 'ledger.threshold-reached' ORDER BY position"
BY_RULE = f"{BY_DEBIT} OFFSET 1"
BY_CHANGE = f"{BY_DEBIT} OFFSET 2"
CAUSE = "(definition ->> 'reached_position')::bigint FROM movements WHERE type = 'ledger.threshold-reached'"
DEBIT = f"{CAUSE} ORDER BY position"
RULE = "(SELECT concat('at position ', position, ' allocation rule ', stream_id) FROM events WHERE position = {row})"
THRESHOLD = (
    "(SELECT concat('at position ', position, ' allocation rule ', stream_id) FROM movements"
    " WHERE definition ->> 'reached_position' = '{row}')"
)
IN_JANUARY = "' records that the threshold of 2026-01 was reached at position '"
IN_DECEMBER = "' records that the threshold of 2025-12 was reached at position '"
END = "'\"2026-01-31T12:00:00Z\"'"
FOREIGN = "', which is neither a debit that counts for it nor a change of it'"


def told_by(place: str) -> str:
    """What another event says of its rule."""
    return f"data = data || (SELECT jsonb_build_object('rule', data -> 'rule') FROM events WHERE position = {place})"


def reached(position: str) -> str:
    """Say that a threshold was reached at another position."""
    return change(data("reached_position", position))


@pytest.fixture(scope="module")
def lived(server_dsn: str) -> Iterator[Database]:
    with lived_ledger(server_dsn) as database:
        yield database


RULES = [
    (FIRST, change("type = 'ledger.allocation-rule-changed'"), f"{RULE} || ' was not defined before'", ()),
    (RENAMED, change("type = 'ledger.allocation-rule-defined'"), f"{RULE} || ' is defined once more'", ()),
    (
        REMOVED,
        f"UPDATE events SET type = 'ledger.allocation-rule-removed', {data('rule,removed_at', END)}"
        " WHERE position = {row} - 1; " + change("type = 'ledger.allocation-rule-changed'", without("rule,removed_at")),
        f"{RULE} || ' goes on, though it was removed'", ("claims",),
    ),
    (REMOVED, change(without("rule,removed_at")), f"{RULE} || ' says it was removed at no time'", ()),
    (
        RENAMED, change(data("rule,removed_at", END)),
        f"{RULE} || ' says it was removed at 2026-01-31T12:00:00Z'", (),
    ),
    (
        RENAMED, change(data("rule,name", "(SELECT data #> '{{rule,name}}' FROM events WHERE position = {row} + 1)")),
        "'at position ' || {row} + 1 || ' allocation rule '", ("claims",),
    ),
    (
        LAST, change(data("rule,name", "'\"former\"'")), f"{RULE} || ' is called former, as another one is'",
        ("claims",),
    ),
]  # fmt: skip
THRESHOLDS = [
    (BY_DEBIT, change(data("rule,allocated", "'11'")), f"{RULE} || ' records a threshold of another rule than'", ()),
    (BY_CHANGE, change(told_by("{row} - 2")), f"{RULE} || ' records a threshold of another rule than'", ()),
    *(
        (BY_DEBIT, change(data("month", value)), f"{RULE} || ' records a threshold in {said}'", ("claims",))
        for value, said in [("'\"2026-13\"'", "2026-13"), ("'\"2026-1\"'", "2026-1"), ("'null'", "no month")]
    ),
    (
        BY_CHANGE, change(data("month", "'\"2025-12\"'")), f"{RULE} || ' records the threshold of 2025-12 once more'",
        ("claims",),
    ),
    *(
        (BY_DEBIT, reached(value), f"{RULE} || {IN_JANUARY} || {said} || ', which is not before'", ())
        for value, said in [("'{row}'", "{row}"), ("'1000000'", "1000000"), ("'null'", "''")]
    ),
    *(
        (row, reached(f"to_jsonb({{row}} - {back})"), f"{RULE} || {said} || {{row}} - {back} || {FOREIGN}", ())
        for row, back, said in [
            (BY_DEBIT, 3, IN_JANUARY),  # a grant
            (BY_RULE, 2, IN_DECEMBER),  # a change of another rule
            (BY_RULE, 3, IN_DECEMBER),  # a debit before the rule was there
            (BY_RULE, 4, IN_DECEMBER),  # a threshold
            (BY_CHANGE, 1, IN_JANUARY),  # its removal
        ]
    ),
    (DEBIT, change("account_groups = '{{blue}}'"), f"{THRESHOLD} || {IN_JANUARY} || {{row}} || {FOREIGN}", ()),
    (DEBIT, change("account_groups = NULL"), f"{THRESHOLD} || {IN_JANUARY} || {{row}} || {FOREIGN}", ()),
    (DEBIT, change("currency = 'else'"), f"{THRESHOLD} || {IN_JANUARY} || {{row}} || {FOREIGN}", ("pool-law",)),
    (DEBIT, change("use_at = use_at + interval '1 day'"), f"{THRESHOLD} || {IN_JANUARY} || {{row}} || {FOREIGN}", ()),
    *(
        (BY_DEBIT, change(data(path, value)), f"{RULE} || ' records for 2026-01 {said}'", ())
        for path, value, said in [
            ("allocated", "'11'", "50 % of 11 at"),
            ("alarm_threshold", "'49'", "49 % of 10 at"),
            ("reached_at", "'\"2026-01-31T12:00:01Z\"'", "50 % of 10 at"),
        ]
    ),
    *(
        (row, change(data("used", value)), f"{RULE} || ' records {said} used in {month}, which is not its t'", ())
        for row, value, said, month in [
            (BY_DEBIT, "'\"4.999999999\"'", "4.999999999", "2026-01"),
            (BY_DEBIT, "'null'", "", "2026-01"),
            (BY_RULE, "'\"0\"'", "0", "2025-12"),
        ]
    ),
]  # fmt: skip
FAULTS = [Fault("rules", "events", *fault) for fault in (*RULES, *THRESHOLDS)]


@pytest.mark.parametrize("fault", FAULTS, ids=[f"{place}" for place in range(len(FAULTS))])
def test_a_fault_in_the_rules_is_found_and_named(lived: Database, fault: Fault) -> None:
    fault.is_found_in(lived)
