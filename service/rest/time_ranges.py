"""Ranges of time as requests tell them, and the windows that they mean at an instant. In UTC."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from ledger.application.inputs import choice, whole_of
from ledger.domain.instants import FOREVER, Instant, add_months
from ledger.domain.refusals import InvalidArgument
from ledger.domain.values import Word
from projections.usage.windows import UsageWindow
from service.refusals import InvalidFields

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""Windows are cut to the years 1970 to 9999."""
TICK = timedelta(microseconds=1)
INT64_MAX = 2**63 - 1
LAST_MILLISECOND = (FOREVER - EPOCH) // timedelta(milliseconds=1)
UNKNOWN_TOLD_MAX = 20


class RangeType(Word):
    RELATIVE = "relative"
    ABSOLUTE = "absolute"
    TO_NOW = "to_now"
    FROM_NOW = "from_now"


class Unit(Word):
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


CALENDAR_UNITS = tuple(unit for unit in Unit if unit is not Unit.WEEK)
"""Those whose present one has a beginning and an end to count from."""
MONTHS = {Unit.MONTH: 1, Unit.YEAR: 12}
LENGTHS = {Unit.HOUR: timedelta(hours=1), Unit.DAY: timedelta(days=1), Unit.WEEK: timedelta(weeks=1)}


class TimeRange(NamedTuple):
    """A range of time. `unit` and `amount` are of the ranges around now, the instants (in milliseconds since the epoch)
    of an absolute one."""

    type: RangeType = RangeType.RELATIVE
    unit: Unit | None = Unit.MONTH
    amount: int | None = 1
    start_milliseconds: int | None = None
    end_milliseconds: int | None = None


LAST_MONTH = TimeRange()
"""What is meant where no range is given."""


def time_range_of(value: object) -> TimeRange:
    """Read a timeRange. Refuses: InvalidFields, with all that is wrong by its path in the timeRange."""
    if not isinstance(value, dict):
        raise InvalidArgument("", "must be an object with type and value")
    problems = _unknown(value, ("type", "value"), "")
    try:
        kind = choice(RangeType, value.get("type"), field="type")
    except InvalidArgument as refusal:
        raise InvalidFields((*problems, ("type", refusal.reason))) from None
    given = value.get("value")
    match kind:
        case RangeType.RELATIVE:
            found = _relative(given, problems)
        case RangeType.ABSOLUTE:
            found = _absolute(given, problems)
        case RangeType.TO_NOW | RangeType.FROM_NOW:
            found = _calendar(kind, given, problems)
    if problems:
        raise InvalidFields(tuple(problems))
    return found


def window_of(wanted: TimeRange, now: Instant) -> UsageWindow:
    """The window that a range means at an instant, [start, end), cut to the years 1970 to 9999.

    Ranges up to now include the instant now, those from now on begin after it. An end of FOREVER is none.
    """
    after_now = now + TICK if now < FOREVER else FOREVER
    match wanted.type:
        case RangeType.ABSOLUTE:
            assert wanted.start_milliseconds is not None
            assert wanted.end_milliseconds is not None
            start, end = _instant(wanted.start_milliseconds), _instant(wanted.end_milliseconds)
        case RangeType.RELATIVE:
            assert wanted.unit is not None
            assert wanted.amount is not None
            start, end = _before(now, wanted.unit, wanted.amount), after_now
        case RangeType.TO_NOW:
            assert wanted.unit is not None
            start, end = _unit_start(now, wanted.unit), after_now
        case RangeType.FROM_NOW:
            assert wanted.unit is not None
            start, end = after_now, _unit_end(now, wanted.unit)
    return UsageWindow(max(start, EPOCH), max(end, EPOCH))


def _relative(given: object, problems: list[tuple[str, str]]) -> TimeRange:
    if not isinstance(given, dict):
        problems.append(("value", "must be an object with unit and amount"))
        return LAST_MONTH
    problems += _unknown(given, ("unit", "amount"), "value.")
    unit = _unit(given.get("unit"), tuple(Unit), "value.unit", problems)
    amount = given.get("amount")
    if not isinstance(amount, int) or isinstance(amount, bool) or amount < 1:
        problems.append(("value.amount", "must be a whole number of at least 1"))
        return LAST_MONTH
    return TimeRange(RangeType.RELATIVE, unit, amount)


def _absolute(given: object, problems: list[tuple[str, str]]) -> TimeRange:
    if not isinstance(given, dict):
        problems.append(("value", "must be an object with startTime and endTime"))
        return LAST_MONTH
    problems += _unknown(given, ("startTime", "endTime"), "value.")
    times: list[int] = []
    for name in ("startTime", "endTime"):
        try:
            times.append(whole_of(given.get(name), field=f"value.{name}", least=0, most=INT64_MAX))
        except InvalidArgument as refusal:
            problems.append((refusal.field, f"{refusal.reason}: milliseconds since the epoch"))
    if len(times) < 2:
        return LAST_MONTH
    start, end = times
    if start >= end:
        problems.append(("value.startTime", "must be before endTime"))
    return TimeRange(RangeType.ABSOLUTE, None, None, start, end)


def _calendar(kind: RangeType, given: object, problems: list[tuple[str, str]]) -> TimeRange:
    """Both spellings: the unit itself, or an object with it."""
    where = "value"
    if isinstance(given, dict):
        problems += _unknown(given, ("unit",), "value.")
        where, given = "value.unit", given.get("unit")
    return TimeRange(kind, _unit(given, CALENDAR_UNITS, where, problems), None)


def _unit(given: object, units: tuple[Unit, ...], where: str, problems: list[tuple[str, str]]) -> Unit:
    if not isinstance(given, str) or given not in units:
        problems.append((where, f"must be one of {', '.join(units)}"))
        return Unit.MONTH
    return Unit(given)


def _unknown(given: dict[str, object], known: tuple[str, ...], where: str) -> list[tuple[str, str]]:
    unknown = [name for name in given if name not in known][:UNKNOWN_TOLD_MAX]
    return [(f"{where}{name}", f"is not known: there are {' and '.join(known)}") for name in unknown]


def _instant(milliseconds: int) -> Instant:
    return EPOCH + timedelta(milliseconds=milliseconds) if milliseconds <= LAST_MILLISECOND else FOREVER


def _before(now: Instant, unit: Unit, amount: int) -> Instant:
    """Some units before an instant; months and years by the calendar, clamped to the end of a month."""
    if unit in MONTHS:
        months = MONTHS[unit] * amount
        return EPOCH if months > (now.year - EPOCH.year + 1) * 12 else add_months(now, -months)
    return EPOCH if amount > (now - EPOCH) // LENGTHS[unit] else now - LENGTHS[unit] * amount


def _unit_start(now: Instant, unit: Unit) -> Instant:
    hour = now.replace(minute=0, second=0, microsecond=0)
    match unit:
        case Unit.YEAR:
            return hour.replace(month=1, day=1, hour=0)
        case Unit.MONTH:
            return hour.replace(day=1, hour=0)
        case Unit.DAY:
            return hour.replace(hour=0)
        case _:
            return hour


def _unit_end(now: Instant, unit: Unit) -> Instant:
    start = _unit_start(now, unit)
    try:
        return add_months(start, MONTHS[unit]) if unit in MONTHS else start + LENGTHS[unit]
    except (InvalidArgument, OverflowError):
        return FOREVER
