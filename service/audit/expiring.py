"""The question about what expires soon."""

from dataclasses import dataclass
from typing import Annotated

from projections.reports.expiring import expiring
from projections.reports.report import Report
from projections.reports.rollforward import By
from service.audit.parameters import Holders, one_of
from service.audit.question import Asking, Question


@dataclass(frozen=True, kw_only=True)
class Asked(Holders):
    by: Annotated[By, one_of("by", By, "What has a row of its own; default: customer.")] = By.CUSTOMER


def _answer(asking: Asking, asked: Asked) -> Report:
    scope = asked.scope(asking.seen)
    return expiring(asking.reader, scope, asked.by, asking.as_of, asking.told)


EXPIRING = Question(
    "report",
    "expiring",
    Asked,
    _answer,
    "What is left of lots that have not ended, by when they end.",
    "credit-ledger report expiring --effective-as-of 2026-04-01T00:00:00Z --by currency",
)
