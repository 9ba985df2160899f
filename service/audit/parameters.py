"""The parameters of questions: each a field of a class, read from texts alike at every door."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, NamedTuple, TypeVar, get_type_hints

from ledger.domain.instants import ISO_8601, Instant, instant_from_text
from ledger.domain.refusals import InvalidArgument
from ledger.domain.values import Kind, text_of
from projections.reports.as_of import RecordedAsOf, before
from projections.reports.figures import Scope
from projections.reports.report import camel
from service.access import IdentityForbidden

POSITION_DIGITS_MAX = 18
Asked = TypeVar("Asked", bound="Clocks")
Read = Callable[[str, str], Any]
"""Reads a text; the second one is the parameter's name."""


class Parameter(NamedTuple):
    """How one is read and told; `name` is snake_case, `choices` are all there are."""

    name: str
    read: Read
    help: str
    choices: tuple[str, ...] | None = None
    required: bool = False

    @property
    def wire(self) -> str:
        """As HTTP calls it: `effectiveAsOf`."""
        return camel(self.name)

    @property
    def option(self) -> str:
        """As the command line calls it: `--effective-as-of`."""
        return "--" + self.name.replace("_", "-")


def one_of(name: str, choices: type[StrEnum], text: str) -> Parameter:
    """A parameter that is one of some words."""
    words = tuple(word.value for word in choices)

    def chosen(given: str, called: str) -> StrEnum:
        if given not in words:
            raise InvalidArgument(called, f"must be one of {', '.join(words)}")
        return choices(given)

    return Parameter(name, chosen, text, words)


def read_text(given: str, name: str) -> str:
    return text_of(given, field=name)


def read_instant(given: str, name: str) -> Instant:
    return instant_from_text(given, field=name)


def read_recorded(given: str, name: str) -> RecordedAsOf:
    """A position, or an instant."""
    if given.isascii() and given.isdigit() and len(given) <= POSITION_DIGITS_MAX:
        return int(given)
    if not ISO_8601.fullmatch(given):
        raise InvalidArgument(name, "must be a position of the log, or an instant like 2026-01-31T00:00:00Z")
    return instant_from_text(given, field=name)


@dataclass(frozen=True, kw_only=True)
class Clocks:
    """What every question takes."""

    effective_as_of: Annotated[
        Instant | None,
        Parameter(
            "effective_as_of",
            read_instant,
            "Count what is dated up to this instant; default: that of --recorded-as-of.",
        ),
    ] = None
    recorded_as_of: Annotated[
        RecordedAsOf,
        Parameter(
            "recorded_as_of",
            read_recorded,
            "As the log stood at this position, or instant; default: now, what is due written first.",
        ),
    ] = None

    @property
    def until(self) -> Instant | None:
        """Up to when things count, included; None: not said."""
        return self.effective_as_of

    def scope(self, seen: frozenset[str] | None) -> Scope:
        """Whose lots are asked for, of those that may be seen. Refuses: InvalidArgument, IdentityForbidden."""
        return Scope(None, seen)


@dataclass(frozen=True, kw_only=True)
class Holders(Clocks):
    """A question about all holders, or one of them."""

    customer: Annotated[str | None, Parameter("customer", read_text, "Only this customer's.")] = None
    company: Annotated[str | None, Parameter("company", read_text, "Only this company's execution credits.")] = None
    currency: Annotated[str | None, Parameter("currency", read_text, "Only of this currency, or credit type.")] = None

    @property
    def kind(self) -> Kind | None:
        if self.customer is not None and self.company is not None:
            raise InvalidArgument("company", "must not be given beside a customer")
        if self.customer is None and self.company is None:
            return None
        return Kind.CREDIT_GRANT if self.company is None else Kind.EXECUTION_CREDIT

    @property
    def holder(self) -> str | None:
        return self.customer or self.company

    def scope(self, seen: frozenset[str] | None) -> Scope:
        kind, holder = self.kind, self.holder
        if holder is None:
            return Scope(None, seen, self.currency)
        if seen is not None and holder not in seen:
            raise IdentityForbidden("to be for this customer or company")
        return Scope(kind, frozenset({holder}), self.currency)


@dataclass(frozen=True, kw_only=True)
class OneHolder(Holders):
    """A question about one holder."""

    resource: Annotated[
        str | None, Parameter("resource", read_text, "Those of this resource; default: of all, and of none.")
    ] = None

    def scope(self, seen: frozenset[str] | None) -> Scope:
        if self.kind is None:
            raise InvalidArgument("customer", "must be given, or a company")
        return super().scope(seen)


@dataclass(frozen=True, kw_only=True)
class Period(Holders):
    """A question about [from, to)."""

    start: Annotated[
        Instant | None, Parameter("from", read_instant, "Where the period begins; default: with the log.")
    ] = None
    end: Annotated[
        Instant | None, Parameter("to", read_instant, "Where the period ends, itself excluded; default: now, included.")
    ] = None

    @property
    def until(self) -> Instant | None:
        if self.end is None:
            until = self.effective_as_of
        elif self.effective_as_of is None:
            until = before(self.end, field="to")
        else:
            raise InvalidArgument("to", "must not be given beside the effective clock: both say where the period ends")
        if until is not None and self.start is not None and until < self.start:
            raise InvalidArgument("from", "must be earlier than the end of the period")
        return until


def parameters_of(asked: type[Clocks]) -> dict[str, Parameter]:
    """All that a class has, by its fields; the clocks last."""
    found = {name: hint.__metadata__[0] for name, hint in get_type_hints(asked, include_extras=True).items()}
    return dict(sorted(found.items(), key=lambda each: each[0] in Clocks.__annotations__))


def read(asked: type[Asked], texts: Mapping[str, str]) -> Asked:
    """What was asked, from texts by the parameters' names. Refuses: InvalidArgument, by such a name."""
    values: dict[str, Any] = {}
    for name, parameter in parameters_of(asked).items():
        if parameter.name in texts:
            values[name] = parameter.read(texts[parameter.name], parameter.name)
        elif parameter.required:
            raise InvalidArgument(parameter.name, "must be given")
    return asked(**values)
