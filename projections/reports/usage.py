"""Usage: what was used in a window of time, net of refunds, by a holder or of an allocation rule."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

from psycopg import sql

from ledger.domain.allocation_rule import above_threshold, percentage
from ledger.domain.credits import Credits
from ledger.domain.instants import Instant
from ledger.domain.refusals import AllocationRuleNotFound
from ledger.domain.values import UUID, Kind, PoolKey
from projections.allocation_rules.queries import RuleRow, rules_at
from projections.read_model import ALLOCATION_RULES
from projections.reading import Reader
from projections.reports.as_of import before, position_at, report_sql
from projections.reports.balances import POOL, in_order
from projections.reports.figures import Scope, Told, pages
from projections.reports.report import AsOf, Column, Of, Report
from projections.reports.rollforward import UNITS
from projections.usage.windows import PointSize

USED = (Column("point_at", Of.INSTANT), Column("used", Of.CREDITS, summed=True))
"""`point_at` is the beginning of a unit of the calendar in UTC; none: all of the window."""
RULE = (
    *(Column("rule"), Column("name"), Column("currency")),
    *USED,
    *(Column("allocated", Of.NUMBER), Column("alarm_threshold", Of.NUMBER)),
    *(Column("percentage", Of.NUMBER), Column("above_threshold", Of.FLAG)),
)
"""`allocated` is in whole credits; no currency: the rule counts all of them."""


class Window(NamedTuple):
    """[start, end) of uses, each None: not bounded; by units of the calendar, or as one."""

    start: Instant | None = None
    end: Instant | None = None
    size: PointSize | None = None


def usage_of_holder(
    reader: Reader,
    scope: Scope,
    resource: str | None,
    window: Window,
    as_of: AsOf,
    told: Told = lambda done, total: None,
) -> Report:
    """A row for each pool of a holder, and unit of the calendar, with a use in the window, in their order.

    A use counts at the instant of the use, a refund at that of what it gives back: what is dated up to the effective
    clock. Refuses: PositionNotReached.
    """
    used = _used(reader, scope, {"resource": resource, "groups": None}, window, as_of, told)
    found = sorted(used.items(), key=lambda each: (in_order(each[0][0]), each[0][1]))
    return Report(
        name="usage",
        parameters={},
        as_of=as_of,
        columns=(*POOL, *USED),
        rows=[(*pool, point_at, amount) for (pool, point_at), amount in found],
        units=UNITS,
    )


def usage_of_rule(
    reader: Reader, named: str, window: Window, as_of: AsOf, told: Told = lambda done, total: None
) -> Report:
    """What was used of an allocation rule, as the rule was at the recorded clock: by unit of the calendar, or one row.

    Of all holders: the uses that name any of its account groups, each once, in its currency or in any. Percentage and
    threshold are told of each row's own use. Refuses: AllocationRuleNotFound, PositionNotReached.
    """
    rule = rule_at(reader, named, as_of.position)
    values = {"resource": None, "groups": list(rule.account_groups)}
    used: defaultdict[Instant | None, Credits] = defaultdict(int)
    for (_, point_at), amount in _used(reader, Scope(None, None, rule.currency), values, window, as_of, told).items():
        used[point_at] += amount
    if window.size is None:
        used.setdefault(None, 0)
    return Report(
        name="usage",
        parameters={},
        as_of=as_of,
        columns=RULE,
        rows=[
            (
                *(rule.rule, rule.name, rule.currency, point_at, amount, rule.allocated, rule.alarm_threshold),
                percentage(amount, rule.allocated),
                above_threshold(amount, rule.allocated, rule.alarm_threshold),
            )
            for point_at, amount in sorted(used.items(), key=lambda each: str(each[0]))
        ],
        units=("rule",),
    )


def rule_at(reader: Reader, named: str, position: int) -> RuleRow:
    """The rule that had this id, or name, at a position. Refuses: AllocationRuleNotFound."""
    with reader.snapshot((ALLOCATION_RULES,), at_least=position or None) as snapshot:
        rules = rules_at(snapshot, position)
    if UUID.fullmatch(named):
        found = [rule for rule in rules if rule.rule == named.lower()]
    else:
        found = [rule for rule in rules if rule.name == named]
    if not found:
        raise AllocationRuleNotFound(named)
    return found[0]


def recorded_before(reader: Reader, start: Instant | None, as_of: AsOf) -> int:
    """The last position that was recorded before a window begins: no use in the window lies before it, for none lies
    after its recording."""
    if start is None:
        return 0
    with reader.connection() as connection:
        return position_at(connection, before(start, field="from"), as_of.position)


def _used(
    reader: Reader, scope: Scope, wanted: Mapping[str, Any], window: Window, as_of: AsOf, told: Told
) -> dict[tuple[PoolKey, Instant | None], Credits]:
    """By pool and point."""
    after = recorded_before(reader, window.start, as_of)
    used: defaultdict[tuple[PoolKey, Instant | None], Credits] = defaultdict(int)
    bounds = {"effective_at": as_of.effective_at, **window._asdict(), **wanted}
    for connection, moved, values in pages(reader, scope, as_of.position, after):
        for row in connection.execute(sql.SQL(report_sql("usage")).format(moved=moved), values | bounds):
            pool = PoolKey(Kind(row["kind"]), row["holder"], row["currency"], row["resource"])
            used[pool, row["point_at"]] += row["used"]
        told(values["until"], as_of.position)
    return used
