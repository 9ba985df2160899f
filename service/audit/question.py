"""A question of finance: its name, what it takes, and who answers it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeAlias, TypeVar

from ledger.domain.instants import Instant, instant_text
from projections.reading import Reader
from projections.refusals import TooManyRows
from projections.reports.as_of import as_of
from projections.reports.figures import Told
from projections.reports.report import AsOf, Report
from projections.reports.tree import Tree
from service.audit.parameters import Clocks, Parameter, parameters_of, read

Answer: TypeAlias = Report | Tree
TRACE = "audit trace"
"""The group whose answers are trees."""
Answered = TypeVar("Answered", bound=Answer, covariant=True)


@dataclass(frozen=True)
class Asking:
    """Somebody's question on its way: who reads, at which clocks, whose figures he may see (None: all), and how many
    rows he can be given at once (None: any number)."""

    reader: Reader
    as_of: AsOf
    seen: frozenset[str] | None
    told: Told
    rows_max: int | None


@dataclass(frozen=True)
class Question(Generic[Answered]):
    """`group` is the command it belongs to, and its place on HTTP: `report rollforward`, `/v1/report/rollforward`.

    `arguments` names the parameters that the command line takes without their names.
    """

    group: str
    name: str
    asked: type[Clocks]
    answer: Callable[[Asking, Any], Answered]
    help: str
    example: str
    arguments: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        return f"/v1/{self.group.replace(' ', '/')}/{self.name}"

    @property
    def tabular(self) -> bool:
        """Whether its answer is a table, which can be exported."""
        return self.group != TRACE

    @property
    def parameters(self) -> list[Parameter]:
        return list(parameters_of(self.asked).values())

    def settles(self, texts: Mapping[str, str]) -> bool:
        """Whether it is about the present, so that what is due has to be written first."""
        return "recorded_as_of" not in texts

    def ask(
        self,
        reader: Reader,
        texts: Mapping[str, str],
        seen: frozenset[str] | None = None,
        told: Told = lambda done, total: None,
        rows_max: int | None = None,
    ) -> Answered:
        """The answer to a question with these parameters, by their names.

        Refuses: InvalidArgument, by such a name; IdentityForbidden; PositionNotReached; TooManyRows.
        """
        asked = read(self.asked, texts)
        until = asked.until
        asked.scope(seen)
        with reader.connection() as connection:
            clocks = as_of(connection, reader.clock, until, asked.recorded_as_of)
        answer = self.answer(Asking(reader, clocks, seen, told, rows_max), asked)
        if rows_max is not None and isinstance(answer, Report) and len(answer.rows) > rows_max:
            raise TooManyRows(rows_max)
        return replace(answer, parameters=_told(asked, seen))


def _told(asked: Clocks, seen: frozenset[str] | None) -> dict[str, str]:
    """What was asked, always in the same words and order; of a key that is bound, whose figures it sees."""
    values = {each.name: getattr(asked, field) for field, each in parameters_of(type(asked)).items()}
    told = {name: _text(value) for name, value in values.items() if value is not None}
    return told if seen is None else told | {"holders": ", ".join(sorted(seen))}


def _text(value: object) -> str:
    return instant_text(value) if isinstance(value, Instant) else str(value)
