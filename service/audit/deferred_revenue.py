"""The question about deferred revenue."""

from dataclasses import dataclass
from typing import Annotated

from projections.reports.deferred_revenue import By, deferred_revenue
from projections.reports.report import Report
from service.audit.parameters import Period, one_of
from service.audit.question import Asking, Question


@dataclass(frozen=True, kw_only=True)
class Asked(Period):
    by: Annotated[By, one_of("by", By, "What has a row of its own; default: grant.")] = By.GRANT


def _answer(asking: Asking, asked: Asked) -> Report:
    scope = asked.scope(asking.seen)
    return deferred_revenue(asking.reader, scope, asking.as_of, asked.start, asked.by, asking.told)


DEFERRED_REVENUE = Question(
    "report",
    "deferred-revenue",
    Asked,
    _answer,
    "What became of the costs of grants in a period, and what of them is still to be earned.",
    "credit-ledger report deferred-revenue --from 2026-03-01T00:00:00Z --to 2026-04-01T00:00:00Z --by customer",
)
