"""Allocation rules from the command line."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click

from ledger.application import ChangeAllocationRule, DefineAllocationRule, Receipt, RemoveAllocationRule
from ledger.application.inputs import id_of
from ledger.domain.credits import credits_text
from ledger.domain.events import RuleDetails, RuleEvent, ThresholdReached
from ledger.domain.instants import Instant, instant_from_text
from ledger.domain.refusals import AllocationRuleNotFound, InvalidArgument, Refusal
from ledger.domain.values import UUID, StreamId, text_of
from projections.allocation_rules.queries import (
    RuleRow,
    RulesFilter,
    RuleUsage,
    names_of_rules,
    rule_by_id,
    rules_with_usage,
)
from projections.group_usage.queries import used_by_sets
from projections.lots.queries import purchased
from projections.read_model import RULE_MODELS, SUMMARY_MODELS
from projections.usage.windows import UsageWindow
from service.bootstrap import RunningLedger
from service.cli.frame import ExampledGroup, Returned, operator, show, table, with_json, with_ledger
from service.refusals import in_words
from service.rest.time_ranges import CALENDAR_UNITS, EPOCH, LAST_MONTH, RangeType, TimeRange, Unit, window_of

WORDS = {"id": "RULE", "allocatedCredits": "--allocated", "alarmThreshold": "--threshold"}
"""What these commands call the fields of theirs that no other command has."""
COLUMN_OF = {
    "rule": "id",
    "name": "name",
    "groups": "accountGroups",
    "currency": "currencyId",
    "allocated": "allocatedCredits",
    "threshold": "alarmThreshold",
}
"""The columns of rules, and what each shows."""
USAGE_COLUMN_OF = {"used": "usedCredits", "percent": "percentage", "above": "aboveThreshold"}
REACHED_COLUMNS = ("month", "used", "allocated", "threshold", "position", "at")
RIGHT = ("allocated", "threshold", "used", "percent")
LIMIT_MAX = 10_000
LAST = re.compile(rf"([1-9]\d{{0,8}}) ({'|'.join(Unit)})s?", re.ASCII)
RULE_ID = "018f6e2a-0000-7000-8000-000000000001"
DEFINE = "credit-ledger rules define --name Research --account-group lab --allocated 1000 --threshold 80"
LIST = 'credit-ledger rules list --above --last "1 month"'


class RulesGroup(ExampledGroup):
    """A group in which a refusal calls the fields of rules as its options do."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Refusal as refusal:
            raise in_words(refusal, WORDS) from None


def with_window(function: Callable[..., Returned]) -> Callable[..., Returned]:
    """Gives a command the options that tell a window of time; `window_told` reads them."""
    for option in (
        click.option("--to", "to_text", metavar="INSTANT", help="Its end, which is not in it."),
        click.option("--from", "from_text", metavar="INSTANT", help="Its beginning, ISO 8601 with zone; with --to."),
        click.option(
            "--this", type=click.Choice([unit.value for unit in CALENDAR_UNITS]), help="The present one up to now."
        ),
        click.option("--last", help='Units up to now, as "2 weeks"; default: "1 month".'),
    ):
        function = option(function)
    return function


@click.group("rules", cls=RulesGroup, example="credit-ledger rules list --above")
def rules_group() -> None:
    """Allocation rules: how many credits groups of accounts are to use, and what they have used."""


@rules_group.command("define", example=DEFINE)
@click.option("--name", required=True, help="What it is called; no other rule is.")
@click.option("--account-group", "groups", required=True, multiple=True, help="Whose use counts; may be repeated.")
@click.option("--allocated", required=True, type=int, help="Whole credits; no use is stopped by them.")
@click.option("--threshold", required=True, type=int, help="Percent of them from which on to warn, 0 to 100.")
@click.option("--currency", help="Count only what is used in this currency; default: in any.")
@click.option("--key", help="Idempotency key: the same command again changes nothing.")
@with_json
@with_ledger
def define(running: RunningLedger, as_json: bool, **given: Any) -> None:
    """Make a rule."""
    _show_told(running.blocking.execute(DefineAllocationRule(**_fields(given))), as_json)


@rules_group.command("change", example=f"credit-ledger rules change {RULE_ID} --allocated 1500")
@click.argument("rule", metavar="RULE")
@click.option("--name", help="What it is called.")
@click.option("--account-group", "groups", multiple=True, help="Whose use counts, all of them; may be repeated.")
@click.option("--allocated", type=int, help="Whole credits.")
@click.option("--threshold", type=int, help="Percent of them from which on to warn, 0 to 100.")
@click.option("--currency", help="Count only what is used in this currency.")
@click.option("--key", help="Idempotency key.")
@with_json
@with_ledger
def change(running: RunningLedger, rule: str, as_json: bool, **given: Any) -> None:
    """Change a rule; what is not given stays as it is."""
    _show_told(running.blocking.execute(ChangeAllocationRule(rule=rule, **_fields(given))), as_json)


@rules_group.command("remove", example=f"credit-ledger rules remove {RULE_ID}")
@click.argument("rule", metavar="RULE")
@click.option("--key", help="Idempotency key.")
@with_json
@with_ledger
def remove(running: RunningLedger, rule: str, key: str | None, as_json: bool) -> None:
    """Remove a rule; its name is free again, what it counted stays in the log."""
    _show_told(
        running.blocking.execute(RemoveAllocationRule(rule=rule, idempotency_key=key, actor=operator())), as_json
    )


@rules_group.command("list", example=LIST)
@click.option("--name", "names", multiple=True, help="Only of this name; may be repeated.")
@click.option("--account-group", "groups", multiple=True, help="Only with this one; may be repeated: any of them.")
@click.option("--above/--below", "above", default=None, help="Only those above, or below, their threshold.")
@click.option("--limit", type=click.IntRange(1, LIMIT_MAX), default=100, help="At most so many.")
@with_window
@with_json
@with_ledger
def list_rules(running: RunningLedger, as_json: bool, limit: int, above: bool | None, **given: Any) -> None:
    """Rules by name, each with what was used of it in a window of time."""
    names = tuple(text_of(name, field="name") for name in given["names"])
    groups = tuple(text_of(group, field="accountGroups") for group in given["groups"])
    wanted = RulesFilter(names or None, groups or None, above)
    with running.reader.snapshot(RULE_MODELS) as snapshot:
        window = window_told(snapshot.now, given)
        found = rules_with_usage(snapshot, window, wanted, position=snapshot.position, limit=limit + 1)
    data = [_with_usage(each) for each in found[:limit]]
    show(data, as_json, lambda: _table(data, COLUMN_OF | USAGE_COLUMN_OF))
    if len(found) > limit:
        click.echo(f"there are more than {limit}: give a larger --limit", err=True)


@rules_group.command("show", example=f"credit-ledger rules show {RULE_ID}")
@click.argument("rule", metavar="RULE")
@with_json
@with_ledger
def show_rule(running: RunningLedger, rule: str, as_json: bool) -> None:
    """One rule as it is, and the months in which its threshold was reached."""
    rule = id_of(rule, field="id")
    with running.reader.snapshot(RULE_MODELS) as snapshot:
        row = rule_by_id(snapshot, StreamId(rule)) if UUID.fullmatch(rule) else None
    if row is None:
        raise AllocationRuleNotFound(rule)
    reached = [_reached(event) for event in running.ledger.events.get(row.rule) if isinstance(event, ThresholdReached)]
    data = _facts(row.rule, row) | {"thresholdsReached": reached}
    lines = [list(crossing.values()) for crossing in reached]
    below = ["", *table(REACHED_COLUMNS, lines, right=REACHED_COLUMNS[1:])] if reached else []
    show(data, as_json, lambda: iter([*_table([data], COLUMN_OF), *below]))


@rules_group.command("names", example="credit-ledger rules names")
@with_json
@with_ledger
def names(running: RunningLedger, as_json: bool) -> None:
    """The names of all rules, in their order."""
    with running.reader.snapshot(RULE_MODELS) as snapshot:
        found = names_of_rules(snapshot)
    show(found, as_json, lambda: iter(found))


@rules_group.command("summary", example="credit-ledger rules summary --this year")
@with_window
@with_json
@with_ledger
def summary(running: RunningLedger, as_json: bool, **given: Any) -> None:
    """What was purchased and used in a window of time, by all customers and companies together."""
    while running.blocking.settle_due():
        pass  # as many at a time as one look finds; a period that has begun is a purchase
    with running.reader.snapshot(SUMMARY_MODELS, at_least=running.ledger.writer.head) as snapshot:
        window = window_told(snapshot.now, given)
        bought, used = purchased(snapshot, window), sum(used_by_sets(snapshot, window).values())
    data = {"purchased": credits_text(bought), "usage": credits_text(used)}
    show(data, as_json, lambda: table(list(data), [list(data.values())], right=list(data)))


def window_told(now: Instant, given: dict[str, Any]) -> UsageWindow:
    """The window that the options of `with_window` tell, cut as those of requests are. Refuses: InvalidArgument."""
    last, this, start, end = (given[name] for name in ("last", "this", "from_text", "to_text"))
    if (start is None) != (end is None) or sum(each is not None for each in (last, this, start)) > 1:
        raise click.UsageError("tell the window by one of --last, --this, or --from with --to")
    if start is not None:
        start, end = instant_from_text(start, field="--from"), instant_from_text(end, field="--to")
        if start >= end:
            raise InvalidArgument("--from", "must be before --to")
        return UsageWindow(max(start, EPOCH), max(end, EPOCH))
    if this is not None:
        return window_of(TimeRange(RangeType.TO_NOW, Unit(this), None), now)
    return window_of(LAST_MONTH if last is None else _last(last), now)


def _last(text: str) -> TimeRange:
    found = LAST.fullmatch(text)
    if found is None:
        raise InvalidArgument("--last", f'must be a number and one of {", ".join(Unit)}, like "1 month"')
    return TimeRange(RangeType.RELATIVE, Unit(found[2]), int(found[1]))


def _fields(given: dict[str, Any]) -> dict[str, Any]:
    """What a command takes of the options."""
    return {
        "name": given["name"],
        "account_groups": given["groups"] or None,
        "allocated": given["allocated"],
        "alarm_threshold": given["threshold"],
        "currency": given["currency"],
        "idempotency_key": given["key"],
        "actor": operator(),
    }


def _show_told(receipt: Receipt, as_json: bool) -> None:
    """A rule as a command left it: so a replay shows the same."""
    event = receipt.events[0]
    assert isinstance(event, RuleEvent)
    data = _facts(event.originator_id, event.rule) | {"removedAt": event.rule.removed_at}
    show(data, as_json, lambda: _table([data], COLUMN_OF))


def _facts(rule_id: StreamId, rule: RuleRow | RuleDetails) -> dict[str, Any]:
    """A rule by the contract's names."""
    return {
        "id": rule_id,
        "name": rule.name,
        "accountGroups": list(rule.account_groups),
        "allocatedCredits": rule.allocated,
        "alarmThreshold": rule.alarm_threshold,
        "currencyId": rule.currency,
        "createdAt": rule.created_at,
    }


def _with_usage(each: RuleUsage) -> dict[str, Any]:
    """Its use as an exact text, the percentage as large as it is."""
    return _facts(each.rule.rule, each.rule) | {
        "usedCredits": credits_text(each.used),
        "percentage": each.percentage,
        "aboveThreshold": each.above_threshold,
    }


def _reached(event: ThresholdReached) -> dict[str, Any]:
    """A crossing, with the rule's figures of that instant."""
    return {
        "month": event.month,
        "usedCredits": credits_text(event.used),
        "allocatedCredits": event.allocated,
        "alarmThreshold": event.alarm_threshold,
        "position": str(event.reached_position),
        "reachedAt": event.reached_at,
    }


def _table(data: Sequence[dict[str, Any]], columns: dict[str, str]) -> Iterator[str]:
    lines = [[_cell(facts[name]) for name in columns.values()] for facts in data]
    return table(list(columns), lines, right=RIGHT)


def _cell(value: object) -> object:
    match value:
        case list():
            return ",".join(value)
        case bool():
            return "yes" if value else "no"
        case _:
            return value
