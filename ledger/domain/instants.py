"""Instants and the calendar: aware, in UTC, to the microsecond.

Nothing here reads a clock. The ledger's one clock belongs to the store; the domain is told what time it is.
"""

import calendar
import re
from datetime import UTC, datetime
from typing import TypeAlias

from ledger.domain.refusals import InvalidArgument

Instant: TypeAlias = datetime
"""An aware datetime in UTC."""

LAST_YEAR = 9999
FOREVER = datetime.max.replace(tzinfo=UTC)
"""Stands for 'never ends' where instants are ordered; it is never written."""

ISO_8601 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:[0-5]\d)", re.ASCII)
FRACTION_DIGITS_MAX = 6


def instant_of(value: object, *, field: str) -> Instant:
    """The same instant in UTC, as a plain datetime; one without a zone is refused (InvalidArgument)."""
    try:
        if not isinstance(value, datetime) or value.utcoffset() is None:
            raise InvalidArgument(field, "must be an instant with a time zone")
        utc = value.astimezone(UTC)
    except OverflowError:
        raise InvalidArgument(field, "must lie between the years 1 and 9999") from None
    except InvalidArgument:
        raise
    except Exception:  # a time zone is somebody's own class
        raise InvalidArgument(field, "must have a time zone that works") from None
    return datetime(utc.year, utc.month, utc.day, utc.hour, utc.minute, utc.second, utc.microsecond, UTC)


def instant_from_text(text: object, *, field: str) -> Instant:
    """Read an ISO 8601 instant with its zone and at most 6 fraction digits; finer ones are refused, never cut."""
    found = ISO_8601.fullmatch(text) if isinstance(text, str) else None
    if not isinstance(text, str) or found is None:
        raise InvalidArgument(field, "must be an instant with a zone in ISO 8601, like 2026-01-31T00:00:00Z")
    if len(found[2] or ".") - 1 > FRACTION_DIGITS_MAX:
        raise InvalidArgument(field, f"must have at most {FRACTION_DIGITS_MAX} fraction digits")
    try:
        return instant_of(datetime.fromisoformat(text), field=field)
    except ValueError as error:
        raise InvalidArgument(field, f"is no instant of the calendar: {error}") from None


def instant_text(instant: Instant) -> str:
    """The instant in ISO 8601 with `Z`: 3 fraction digits, or 6 where the microseconds are not whole milliseconds."""
    unit = "milliseconds" if instant.microsecond % 1000 == 0 else "microseconds"
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=unit) + "Z"


def add_months(anchor: Instant, months: int, *, field: str = "periodAnchor") -> Instant:
    """Step an anchor by calendar months, its day clamped to the month's end.

    Always step from the anchor, never from an earlier step: then 31 January gives 28 February and 31 March, no drift.
    """
    month_index = anchor.year * 12 + anchor.month - 1 + months
    year, month = divmod(month_index, 12)
    if year > LAST_YEAR:
        raise InvalidArgument(field, f"must not lead to a period beyond the year {LAST_YEAR}")
    last_day = calendar.monthrange(year, month + 1)[1]
    return anchor.replace(year=year, month=month + 1, day=min(anchor.day, last_day))


def months_between(anchor: Instant, instant: Instant) -> int:
    """The largest n with add_months(anchor, n) <= instant; negative before the anchor."""
    months = (instant.year - anchor.year) * 12 + instant.month - anchor.month
    return months if add_months(anchor, months) <= instant else months - 1
