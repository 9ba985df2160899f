"""The query creditUsage: what a customer used in a window, as series of points, by currency and by dimensions."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple

import strawberry

from ledger.domain.credits import Credits
from ledger.domain.instants import FOREVER, LAST_YEAR, Instant, add_months
from ledger.domain.refusals import InvalidArgument
from ledger.domain.values import DocumentId, Kind, text_of
from ledger.store.documents import load_documents
from projections.reading import Snapshot
from projections.usage.queries import UsageFilter, sets_used, usage_series
from projections.usage.windows import PointSize, UsageWindow, point_starts
from service.graphql.context import Info
from service.graphql.fields import shows
from service.graphql.scalars import exact_of, float_of
from service.reads import position_of

KEYS_MAX = 3
YEARS_MAX = 10
HOURLY_MAX, DAILY_MAX = timedelta(days=1), timedelta(days=31)
"""How long a custom window may be for points by the hour, and by the day."""
SERIES_MAX = 1000
POINTS_MAX = 40_000
"""Of all series of a request together: showing one takes some 30 microseconds."""
SETS_MAX = 100_000
"""How many sets of dimensions one answer may take in; the texts of each have to be read."""
DOCUMENTS_AT_ONCE = 1000
MICROSECOND = timedelta(microseconds=1)
BEGINNING = datetime.min.replace(tzinfo=UTC)

Values = tuple[str | None, ...]
"""A use's texts for the keys that were asked for, in their order."""


@strawberry.enum(description="A window up to and with now: a day, 7 days, or a month or a year of the calendar.")
class CreditUsageTimeRange(Enum):
    LAST_DAY = "LAST_DAY"
    LAST_WEEK = "LAST_WEEK"
    LAST_MONTH = "LAST_MONTH"
    LAST_YEAR = "LAST_YEAR"


@strawberry.enum(description="The unit of the calendar, in UTC, that a point stands for.")
class CreditUsageGranularity(Enum):
    HOUR = "HOUR"
    DAY = "DAY"
    MONTH = "MONTH"


@strawberry.input(
    description="Either timeRange, or startDate with or without endDate (default: up to and with now); neither is "
    "LAST_MONTH. The window is half-open: a use at endDate is not in it. No resourceId: the customer's own pool."
)
class CreditUsageInput:
    customer_id: str
    currency_id: str | None = None
    resource_id: str | None = None
    time_range: CreditUsageTimeRange | None = None
    start_date: datetime | None = None
    end_date: datetime | None = None
    group_by: list[str] | None = None
    at_least: str | None = None


@strawberry.type
class CreditUsageDimension:
    key: str
    value: str | None = strawberry.field(description="null: the use did not name this dimension, or it was erased.")


@strawberry.type(description="What was used in one unit of the window, net of refunds.")
class CreditUsagePoint:
    timestamp: datetime = strawberry.field(description="Where the unit begins, or the window if that is later.")
    units: strawberry.Private[Credits]

    amount: float = shows(lambda it: float_of(it.units))
    amount_exact: Decimal = shows(lambda it: exact_of(it.units))


@strawberry.type(description="The use of one currency under one combination of values of the keys of groupBy.")
class CreditUsageSeries:
    currency_id: str
    dimensions: list[CreditUsageDimension] = strawberry.field(description="In the order of groupBy.")
    units: strawberry.Private[Credits]
    used: strawberry.Private[Mapping[Instant, Credits]]
    """By the beginning of the unit; a unit without a use is missing."""
    window: strawberry.Private[UsageWindow]
    starts: strawberry.Private[Sequence[Instant]]

    total_credits: float = shows(lambda it: float_of(it.units), "The sum of the points.")
    total_credits_exact: Decimal = shows(lambda it: exact_of(it.units))

    @strawberry.field(description="One for each unit of the window, oldest first; 0 where nothing was used.")
    async def points(self, info: Info) -> list[CreditUsagePoint]:
        async with info.context.turns:  # one series after the other, so that other requests get their turn in between
            await asyncio.sleep(0)
        return [
            CreditUsagePoint(timestamp=max(start, self.window.start), units=self.used.get(start, 0))
            for start in self.starts
        ]


@strawberry.type(description="Credits used, less what was refunded of them, each at the instant of the use.")
class CreditUsage:
    customer_id: str
    resource_id: str | None
    start_date: datetime
    end_date: datetime = strawberry.field(description="The first instant after the window.")
    granularity: CreditUsageGranularity
    series: list[CreditUsageSeries] = strawberry.field(
        description="Those with a use in the window: by currency, then the largest total first."
    )


class Asked(NamedTuple):
    """An input, checked as far as it can be without the instant of the read."""

    wanted: UsageFilter
    keys: tuple[str, ...]
    time_range: CreditUsageTimeRange
    start: Instant | None
    end: Instant | None
    at_least: int | None


async def credit_usage(info: Info, input: CreditUsageInput) -> CreditUsage:
    """Refuses: InvalidArgument, IdentityForbidden, PositionNotReached."""
    asked = asked_by(input)
    usage = await info.context.ask(
        lambda snapshot: usage_at(snapshot, asked), holder=asked.wanted.holder, at_least=asked.at_least
    )
    info.context.points += sum(len(series.starts) for series in usage.series)
    if info.context.points > POINTS_MAX:
        reason = f"leads to more than {POINTS_MAX} points: choose keys with fewer values, or a shorter window"
        raise InvalidArgument("groupBy" if asked.keys else "currencyId", reason)
    return usage


def asked_by(given: CreditUsageInput) -> Asked:
    """Refuses: InvalidArgument, by the first field at fault."""
    holder = text_of(given.customer_id, field="customerId")
    currency = None if given.currency_id is None else text_of(given.currency_id, field="currencyId")
    resource = None if given.resource_id is None else text_of(given.resource_id, field="resourceId")
    if given.time_range is not None and (given.start_date is not None or given.end_date is not None):
        raise InvalidArgument("timeRange", "must not be given beside startDate or endDate")
    if given.start_date is None and given.end_date is not None:
        raise InvalidArgument("startDate", "must be given where endDate is")
    return Asked(
        UsageFilter(Kind.CREDIT_GRANT, holder, resource, currency),
        keys_of(given.group_by),
        given.time_range or CreditUsageTimeRange.LAST_MONTH,
        given.start_date,
        given.end_date,
        None if given.at_least is None else position_of(given.at_least, field="atLeast"),
    )


def keys_of(group_by: Sequence[str] | None) -> tuple[str, ...]:
    """Refuses: InvalidArgument."""
    if group_by is not None and len(group_by) > KEYS_MAX:
        raise InvalidArgument("groupBy", f"must be at most {KEYS_MAX} keys")
    keys = tuple(text_of(key, field="groupBy") for key in group_by or ())
    if len(set(keys)) < len(keys):
        raise InvalidArgument("groupBy", "must name each key once")
    return keys


def period_of(asked: Asked, now: Instant) -> tuple[UsageWindow, PointSize]:
    """The window that is meant at this instant, and the size of its points. Refuses: InvalidArgument."""
    after_now = now + MICROSECOND if now < FOREVER else now
    if asked.start is None:
        size = PointSize.DAY
        if asked.time_range is CreditUsageTimeRange.LAST_DAY:
            size = PointSize.HOUR
        elif asked.time_range is CreditUsageTimeRange.LAST_YEAR:
            size = PointSize.MONTH
        return UsageWindow(range_start(asked.time_range, now), after_now), size
    end = now if asked.end is None else asked.end
    if asked.end is None and asked.start > now:
        raise InvalidArgument("startDate", "must not be later than now, unless endDate is given")
    if asked.end is not None and asked.start >= asked.end:
        raise InvalidArgument("endDate", "must be later than startDate")
    if asked.start.year + YEARS_MAX <= LAST_YEAR and end > add_months(asked.start, 12 * YEARS_MAX):
        raise InvalidArgument("startDate", f"must be at most {YEARS_MAX} years before endDate")
    return UsageWindow(asked.start, asked.end or after_now), size_of(end - asked.start)


def range_start(time_range: CreditUsageTimeRange, now: Instant) -> Instant:
    """The first instant of a named range: a use just so long ago as its name says is not in it any more."""
    try:
        match time_range:
            case CreditUsageTimeRange.LAST_DAY:
                before = now - timedelta(days=1)
            case CreditUsageTimeRange.LAST_WEEK:
                before = now - timedelta(days=7)
            case CreditUsageTimeRange.LAST_MONTH:
                before = add_months(now, -1)
            case CreditUsageTimeRange.LAST_YEAR:
                before = add_months(now, -12)
    except (OverflowError, ValueError):  # before the calendar
        return BEGINNING
    return before + MICROSECOND


def size_of(length: timedelta) -> PointSize:
    """The size of the points of a custom window."""
    if length <= HOURLY_MAX:
        return PointSize.HOUR
    return PointSize.DAY if length <= DAILY_MAX else PointSize.MONTH


def usage_at(snapshot: Snapshot, asked: Asked) -> CreditUsage:
    """The answer at a snapshot. Refuses: InvalidArgument."""
    window, size = period_of(asked, snapshot.now)
    labels: dict[Values, int] = {(): 0}
    numbers: dict[DocumentId | None, int] = {}
    if asked.keys:
        labels, numbers = series_by_values(snapshot, asked, window, size)
    used: dict[tuple[str, int], dict[Instant, Credits]] = {}
    for row in usage_series(snapshot, asked.wanted, window, size, numbers):
        used.setdefault((row.currency, row.series), {})[row.point_at] = row.used
    if len(used) > SERIES_MAX:
        raise _too_many("currencyId", "name one currency, or choose a shorter window")
    values, starts = list(labels), point_starts(window, size)
    series = [
        CreditUsageSeries(
            currency_id=currency,
            dimensions=[
                CreditUsageDimension(key=key, value=value)
                for key, value in zip(asked.keys, values[number], strict=True)
            ],
            units=sum(points.values()),
            used=points,
            window=window,
            starts=starts,
        )
        for (currency, number), points in used.items()
    ]
    return CreditUsage(
        customer_id=asked.wanted.holder,
        resource_id=asked.wanted.resource,
        start_date=window.start,
        end_date=window.end,
        granularity=CreditUsageGranularity(size.value),
        series=sorted(series, key=_place),
    )


def series_by_values(
    snapshot: Snapshot, asked: Asked, window: UsageWindow, size: PointSize
) -> tuple[dict[Values, int], dict[DocumentId | None, int]]:
    """Numbers of series: by the values of the keys, and by the set of dimensions. Refuses: InvalidArgument.

    Two sets may have equal values, because they differ in other dimensions. It stops reading texts at the first series
    that is too many.
    """
    currencies: dict[DocumentId | None, set[str]] = {}
    found = sets_used(snapshot, asked.wanted, window, size, limit=SETS_MAX + 1)
    if len(found) > SETS_MAX:
        reason = f"would take in more than {SETS_MAX} sets of dimensions: choose a shorter window"
        raise InvalidArgument("groupBy", reason)
    for each in found:
        currencies.setdefault(each.dimension_set, set()).add(each.currency)
    labels: dict[Values, int] = {}
    numbers: dict[DocumentId | None, int] = {}
    series: set[tuple[str, Values]] = set()
    for name, dimensions in _dimensions(snapshot, list(currencies)):
        values = tuple(dimensions.get(key) for key in asked.keys)
        numbers[name] = labels.setdefault(values, len(labels))
        series |= {(currency, values) for currency in currencies[name]}
        if len(series) > SERIES_MAX:
            raise _too_many("groupBy", "choose keys with fewer values, or a shorter window")
    return labels, numbers


def _dimensions(
    snapshot: Snapshot, names: Sequence[DocumentId | None]
) -> Iterator[tuple[DocumentId | None, Mapping[str, str]]]:
    """Each set with its dimensions; none for a use without any, and where they were erased."""
    for first in range(0, len(names), DOCUMENTS_AT_ONCE):
        chunk = names[first : first + DOCUMENTS_AT_ONCE]
        texts: Mapping[Any, Any] = load_documents(snapshot.connection, [name for name in chunk if name is not None])
        for name in chunk:
            yield name, texts.get(name, {}).get("dimensions", {})


def _too_many(field: str, advice: str) -> InvalidArgument:
    return InvalidArgument(field, f"leads to more than {SERIES_MAX} series: {advice}")


def _place(series: CreditUsageSeries) -> tuple[Any, ...]:
    """By currency, the largest first, then by the values; no value comes last."""
    values = [(dimension.value is None, dimension.value or "") for dimension in series.dimensions]
    return series.currency_id, -series.units, values
