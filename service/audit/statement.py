"""The question about a holder's statement."""

from dataclasses import dataclass

from projections.reports.report import Report
from projections.reports.statement import statement
from service.audit.parameters import OneHolder, Period
from service.audit.question import Asking, Question


@dataclass(frozen=True, kw_only=True)
class Asked(OneHolder, Period):
    """One holder's period."""


def _answer(asking: Asking, asked: Asked) -> Report:
    scope = asked.scope(asking.seen)
    return statement(
        asking.reader, scope, asked.resource, asked.start, asking.as_of, asking.told, rows_max=asking.rows_max
    )


STATEMENT = Question(
    "report",
    "statement",
    Asked,
    _answer,
    "Every movement of a holder's credits in a period, with its running balance.",
    "credit-ledger report statement --customer acme --from 2026-03-01T00:00:00Z --to 2026-04-01T00:00:00Z",
)
