"""All questions there are, in the order they are told in."""

from service.audit.deferred_revenue import DEFERRED_REVENUE
from service.audit.expiring import EXPIRING
from service.audit.figures import BALANCES, LEDGER, LOTS, USAGE
from service.audit.question import Answer, Question
from service.audit.rollforward import ROLLFORWARD
from service.audit.statement import STATEMENT
from service.audit.trace import BALANCE_TRACE, LOT_TRACE, USAGE_TRACE
from service.audit.trace_cell import CELL_TRACE

QUESTIONS: tuple[Question[Answer], ...] = (
    *(ROLLFORWARD, DEFERRED_REVENUE, STATEMENT, EXPIRING, BALANCES, LOTS, LEDGER, USAGE),
    *(BALANCE_TRACE, LOT_TRACE, CELL_TRACE, USAGE_TRACE),
)
