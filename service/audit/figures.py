"""The questions about figures as of two clocks: balances, lots, the ledger, usage."""

from dataclasses import dataclass
from typing import Annotated

from ledger.domain.instants import Instant
from ledger.domain.refusals import InvalidArgument
from projections.reports.balances import balances
from projections.reports.figures import Scope
from projections.reports.ledger import Part, ledger
from projections.reports.lots import lots
from projections.reports.report import Report
from projections.reports.usage import Window, usage_of_holder, usage_of_rule
from projections.usage.windows import PointSize
from service.access import IdentityForbidden
from service.audit.parameters import (
    POSITION_DIGITS_MAX,
    OneHolder,
    Parameter,
    one_of,
    read_instant,
    read_text,
)
from service.audit.question import Asking, Question


def read_whole(given: str, name: str) -> int:
    """A whole number above zero: how many, or a position."""
    if not (given.isascii() and given.isdigit() and len(given) <= POSITION_DIGITS_MAX and int(given) > 0):
        raise InvalidArgument(name, "must be a whole number above zero")
    return int(given)


@dataclass(frozen=True, kw_only=True)
class LotsAsked(OneHolder):
    grant: Annotated[str | None, Parameter("grant", read_text, "Only this grant's lot, by its id or grantId.")] = None


@dataclass(frozen=True, kw_only=True)
class LedgerAsked(OneHolder):
    start: Annotated[
        Instant | None, Parameter("from", read_instant, "What counts from here on; default: from the first event on.")
    ] = None
    before: Annotated[
        int | None, Parameter("before", read_whole, "Only what stands below this position: the next page.")
    ] = None
    limit: Annotated[int | None, Parameter("limit", read_whole, "At most so many, the newest; default: all.")] = None


@dataclass(frozen=True, kw_only=True)
class UsageOf(OneHolder):
    """Uses in a window: of a holder, or of whoever used what an allocation rule counts."""

    rule: Annotated[
        str | None, Parameter("rule", read_text, "Of this allocation rule, by id or name, whoever used it.")
    ] = None
    start: Annotated[
        Instant | None, Parameter("from", read_instant, "Uses at or after this instant; default: all.")
    ] = None
    end: Annotated[Instant | None, Parameter("to", read_instant, "Uses before this instant; default: all.")] = None

    def scope(self, seen: frozenset[str] | None) -> Scope:
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise InvalidArgument("from", "must be earlier than the end of the window")
        if self.rule is None:
            return super().scope(seen)
        for name in ("customer", "company", "currency", "resource"):
            if getattr(self, name) is not None:
                raise InvalidArgument(name, "must not be given beside a rule, which counts what all of them use")
        if seen is not None:
            raise IdentityForbidden("to be bound to no customer or company: rules count what all of them use")
        return Scope()


@dataclass(frozen=True, kw_only=True)
class UsageAsked(UsageOf):
    size: Annotated[
        PointSize | None, one_of("size", PointSize, "By this unit of the calendar; default: all in one.")
    ] = None


def _balances(asking: Asking, asked: OneHolder) -> Report:
    return balances(asking.reader, asked.scope(asking.seen), asked.resource, asking.as_of, asking.told)


def _lots(asking: Asking, asked: LotsAsked) -> Report:
    return lots(asking.reader, asked.scope(asking.seen), asked.resource, asked.grant, asking.as_of, asking.told)


def _ledger(asking: Asking, asked: LedgerAsked) -> Report:
    part = Part(asked.start, asked.before, asked.limit)
    return ledger(asking.reader, asked.scope(asking.seen), asked.resource, part, asking.as_of, rows_max=asking.rows_max)


def _usage(asking: Asking, asked: UsageAsked) -> Report:
    return usage(asking, asked, asked.size)


def usage(asking: Asking, asked: UsageOf, size: PointSize | None = None) -> Report:
    """What was used in a window, by unit of the calendar or as one."""
    scope, window = asked.scope(asking.seen), Window(asked.start, asked.end, size)
    if asked.rule is not None:
        return usage_of_rule(asking.reader, asked.rule, window, asking.as_of, asking.told)
    return usage_of_holder(asking.reader, scope, asked.resource, window, asking.as_of, asking.told)


BALANCES = Question(
    "audit",
    "balances",
    OneHolder,
    _balances,
    "What each pool of a holder was given, what left it, and what was usable, as of two clocks.",
    "credit-ledger audit balances --customer acme --effective-as-of 2026-03-31T23:59:59Z --recorded-as-of 4711",
)
LOTS = Question(
    "audit",
    "lots",
    LotsAsked,
    _lots,
    "The state of each grant, and of each billing period, as of two clocks.",
    "credit-ledger audit lots --customer acme --effective-as-of 2026-03-31T23:59:59Z",
)
LEDGER = Question(
    "audit",
    "ledger",
    LedgerAsked,
    _ledger,
    "The events of a holder's lots, newest first, as the log had them.",
    "credit-ledger audit ledger --customer acme --recorded-as-of 4711 --limit 50",
)
USAGE = Question(
    "audit",
    "usage",
    UsageAsked,
    _usage,
    "What a holder used, or what was used of an allocation rule, as of two clocks.",
    "credit-ledger audit usage --rule north --from 2026-03-01T00:00:00Z --to 2026-04-01T00:00:00Z --size DAY",
)
