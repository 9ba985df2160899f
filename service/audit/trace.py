"""The questions that lead from a balance, a lot or a usage to its events."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from ledger.domain.refusals import InvalidArgument
from ledger.domain.values import UUID, LotId
from projections.lots.queries import grant_named, lots_by_id
from projections.read_model import LOTS
from projections.reports.balances import of_resource
from projections.reports.credit_trace import BALANCE
from projections.reports.figures import LotFigures, Scope, lots_of
from projections.reports.report import Of, below_zero
from projections.reports.trace import TO_POOLS, Asked, lot_facts, trace
from projections.reports.tree import Branch, Tree
from projections.reports.usage import rule_at
from projections.reports.usage_trace import Uses, trace_usage
from service.audit.figures import UsageOf, usage
from service.audit.parameters import POSITION_DIGITS_MAX, Clocks, OneHolder, Parameter, read_text
from service.audit.question import Asking, Question
from service.audit.refusals import FigureNotFound

GROUP = "audit trace"
LEAVES = 100


def read_leaves(given: str, name: str) -> int:
    if not (given.isascii() and given.isdigit() and len(given) <= POSITION_DIGITS_MAX):
        raise InvalidArgument(name, "must be a whole number; 0: all")
    return int(given)


Leaves = Annotated[
    int, Parameter("leaves", read_leaves, f"How much to tell of each list, the rest as one; 0: all; default: {LEAVES}.")
]


@dataclass(frozen=True, kw_only=True)
class AskedBalance(OneHolder):
    leaves: Leaves = LEAVES


@dataclass(frozen=True, kw_only=True)
class AskedLot(Clocks):
    lot: Annotated[str, Parameter("lot", read_text, "A lot, or a grant by its readable id.", required=True)]
    leaves: Leaves = LEAVES


@dataclass(frozen=True, kw_only=True)
class AskedUsage(UsageOf):
    leaves: Leaves = LEAVES


def _balance(asking: Asking, asked: AskedBalance) -> Tree:
    scope = asked.scope(asking.seen)
    found = lots_of(asking.reader, scope, asking.as_of, told=asking.told).values()
    lots = of_resource(found, asked.resource)
    currency = asked.currency or _only(sorted({lot.pool.currency for lot in lots}))
    facts = {"kind": scope.kind, "holder": asked.holder, "currency": currency, "resource": asked.resource}
    root = Branch("balance", sum(lot.closing for lot in lots), facts)
    trace(asking.reader, lots, BALANCE, Asked(asking.as_of, None, asked.leaves), root, TO_POOLS)
    return tree("balance", asking, root, Of.CREDITS, currency, below_zero([root.amount]))


def _lot(asking: Asking, asked: AskedLot) -> Tree:
    lot = _lot_named(asking, asked.lot)
    facts = {**lot.pool._asdict(), **lot_facts(lot, asking.as_of.effective_at)}
    root = Branch("balance", lot.closing, facts)
    trace(asking.reader, [lot], BALANCE, Asked(asking.as_of, None, asked.leaves), root, ())
    return tree("lot", asking, root, Of.CREDITS, lot.pool.currency, below_zero([root.amount]))


def _lot_named(asking: Asking, name: str) -> LotFigures:
    """Refuses: FigureNotFound (also a lot that was recorded later, or that may not be seen)."""
    with asking.reader.snapshot((LOTS,), at_least=asking.as_of.position or None) as snapshot:
        if UUID.fullmatch(name):
            known = next(iter(lots_by_id(snapshot, [LotId(name)]).values()), None)
        else:
            known = grant_named(snapshot, name)
    if known is not None and (asking.seen is None or known.holder in asking.seen):
        scope = Scope(known.kind, frozenset({known.holder}), known.currency)
        lots = lots_of(asking.reader, scope, asking.as_of, told=asking.told)
        if known.lot in lots:
            return lots[known.lot]
    raise FigureNotFound(f"lot {name}")


def _usage(asking: Asking, asked: AskedUsage) -> Tree:
    report = usage(asking, asked)
    names = [column.name for column in report.columns]
    currencies = sorted({str(row[names.index("currency")]) for row in report.rows})
    used = [row[names.index("used")] for row in report.rows]
    root = Branch("used", sum(amount for amount in used if isinstance(amount, int)))
    if asked.rule is None:
        scope, groups, currency = asked.scope(asking.seen), None, asked.currency or _only(currencies)
        root.facts = {"kind": scope.kind, "holder": asked.holder, "currency": currency, "resource": asked.resource}
    else:
        rule = rule_at(asking.reader, asked.rule, asking.as_of.position)
        scope, groups, currency = Scope(currency=rule.currency), rule.account_groups, rule.currency
        root.facts = {"rule": rule.name, "currency": currency}
    uses = Uses(scope, asked.start, asked.end, asked.resource, groups)
    trace_usage(asking.reader, uses, Asked(asking.as_of, asked.start, asked.leaves), root, asking.told)
    return tree("usage", asking, root, Of.CREDITS, currency)


def tree(name: str, asking: Asking, root: Branch, of: Of, unit: str | None, notes: Sequence[str] = ()) -> Tree:
    return Tree(name=name, parameters={}, as_of=asking.as_of, of=of, unit=unit, root=root, notes=notes)


def _only(currencies: Sequence[str]) -> str | None:
    """The one that there is. Refuses: InvalidArgument (several: they are never added up)."""
    if len(currencies) > 1:
        raise InvalidArgument("currency", f"must be given, one of {', '.join(currencies)}")
    return currencies[0] if currencies else None


BALANCE_TRACE = Question(
    GROUP,
    "balance",
    AskedBalance,
    _balance,
    "What a balance is made of, by pool, by lot, down to the events.",
    "credit-ledger audit trace balance --customer acme",
)
LOT_TRACE = Question(
    GROUP,
    "lot",
    AskedLot,
    _lot,
    "What the balance of a grant, or of a period of an execution credit, is made of.",
    "credit-ledger audit trace lot cg-4vq2y7n0k3m8x5tz",
    arguments=("lot",),
)
USAGE_TRACE = Question(
    GROUP,
    "usage",
    AskedUsage,
    _usage,
    "What was used under a rule, or by a customer or company, by debit; refunds below their debits.",
    "credit-ledger audit trace usage --rule marketing --from 2026-03-01T00:00:00Z --to 2026-04-01T00:00:00Z",
)
