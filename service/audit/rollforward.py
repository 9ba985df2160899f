"""The question about the roll-forward."""

from dataclasses import dataclass
from typing import Annotated

from projections.reports.report import Report
from projections.reports.rollforward import By, rollforward
from service.audit.parameters import Period, one_of
from service.audit.question import Asking, Question


@dataclass(frozen=True, kw_only=True)
class Asked(Period):
    by: Annotated[By, one_of("by", By, "What has a row of its own; default: customer.")] = By.CUSTOMER


def _answer(asking: Asking, asked: Asked) -> Report:
    scope = asked.scope(asking.seen)
    return rollforward(asking.reader, scope, asking.as_of, asked.start, asked.by, asking.told)


ROLLFORWARD = Question(
    "report",
    "rollforward",
    Asked,
    _answer,
    "How the balances at the beginning of a period became those at its end.",
    "credit-ledger report rollforward --from 2026-03-01T00:00:00Z --to 2026-04-01T00:00:00Z --by currency",
)
