"""The routes of allocation rules, as their contract has them."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ledger.application import (
    ChangeAllocationRule,
    DefineAllocationRule,
    Receipt,
    RemoveAllocationRule,
)
from ledger.application.inputs import WHOLE_MAX
from ledger.domain.credits import UNITS_PER_CREDIT, Credits, credits_text
from ledger.domain.events import RuleDetails, RuleEvent
from ledger.domain.refusals import AllocationRuleNotFound, InvalidArgument
from ledger.domain.values import UUID, StreamId
from projections.allocation_rules.queries import (
    After,
    RuleRow,
    RulesFilter,
    RuleUsage,
    names_of_rules,
    rule_by_id,
    rules_with_usage,
)
from projections.group_usage.queries import used_by_sets
from projections.lots.queries import purchased
from projections.read_model import SUMMARY_MODELS
from projections.reading import Snapshot
from projections.usage.windows import UsageWindow
from service.access import Right
from service.frame import json_answer, route
from service.parts import Parts
from service.rest.door import KEY_HEADER, asked
from service.rest.fields import body_of
from service.rest.models import (
    LIMIT_DEFAULT,
    TARGET_TYPE,
    ListRequest,
    NewRule,
    RuleChange,
    SummaryRequest,
    ThresholdFilter,
)
from service.rest.page_tokens import PageStart, page_start, page_token
from service.rest.time_ranges import LAST_MONTH, window_of
from service.settling import settle

API = "/license/api/v1"
RULES, RULE = f"{API}/credit-allocation-rules", f"{API}/credit-allocation-rule"
ONE_RULE = f"{RULE}/{{ruleId}}"
SUMMARY, NAMES = f"{API}/credit-allocation-rule-summary", f"{API}/credit-allocation-rule-names"
PASSED_EVENTS_MAX = 1_000_000
"""How many events may have come after a list's first page: they are read to tell the next pages as of that one."""


class Listed(NamedTuple):
    """A page of rules, one more if there is another page, and what they were told at."""

    rules: Sequence[RuleUsage]
    window: UsageWindow
    position: int


def rule_routes(parts: Parts) -> list[Route]:
    async def list_rules(request: Request) -> Response:
        """Rules with their usage in a window of time, page by page."""
        async with asked(request, parts, Right.READ) as door:
            wanted = await body_of(request, ListRequest, optional=True)
            start = None
            if wanted.pageToken is not None:
                token = wanted.pageToken
                start = await parts.threads.run(lambda: page_start(parts.signing, wanted, token))
            limit = wanted.limit or LIMIT_DEFAULT
            question = partial(_list, wanted=wanted, start=start, limit=limit)
            found = await door.ask(question, at_least=None if start is None else start.position)
            rules, next_token = found.rules[:limit], None
            if len(found.rules) > limit:
                last = rules[-1].rule
                begins = PageStart(found.window, found.position, After(last.name, last.rule))
                next_token = await parts.threads.run(lambda: page_token(parts.signing, wanted, begins))
            body = {"rules": [_with_usage(each) for each in rules] or None, "pageToken": next_token}
            return door.at(json_answer(body), found.position)

    async def define_rule(request: Request) -> Response:
        """Make a rule."""
        async with asked(request, parts, Right.WRITE) as door:
            given = await body_of(request, NewRule)
            receipt = await door.carry_out(DefineAllocationRule(**_fields(request, given)))
            return door.told(json_answer(_as_told(receipt)), receipt)

    async def get_rule(request: Request) -> Response:
        """A rule."""
        async with asked(request, parts, Right.READ) as door:
            rule_id = _id(request.path_params["ruleId"])
            rule = await door.ask(lambda snapshot: rule_by_id(snapshot, rule_id))
            if rule is None:
                raise AllocationRuleNotFound(rule_id)
            return door.at(json_answer(_wire(rule.rule, rule)))

    async def change_rule(request: Request) -> Response:
        """Change a rule."""
        async with asked(request, parts, Right.WRITE) as door:
            given = await body_of(request, RuleChange, besides=partial(_another_id, path=request.path_params["ruleId"]))
            rule_id = _id(request.path_params["ruleId"])
            receipt = await door.carry_out(ChangeAllocationRule(rule=rule_id, **_fields(request, given)))
            return door.told(json_answer(_as_told(receipt)), receipt)

    async def remove_rule(request: Request) -> Response:
        """Remove a rule."""
        async with asked(request, parts, Right.WRITE) as door:
            key = request.headers.get(KEY_HEADER)
            receipt = await door.carry_out(
                RemoveAllocationRule(rule=_id(request.path_params["ruleId"]), idempotency_key=key)
            )
            return door.told(Response(), receipt)

    async def summarise(request: Request) -> Response:
        """What was purchased and used in a window of time, of all customers and companies together."""
        async with asked(request, parts, Right.READ, SUMMARY_MODELS) as door:
            wanted = await body_of(request, SummaryRequest, optional=True)
            settled = await settle(parts)
            bought, used = await door.ask(partial(_sum_up, wanted=wanted))
            door.reads.stale = door.reads.stale or not settled
            return door.at(Response(_exactly(purchased=bought, usage=used), media_type="application/json"))

    async def list_names(request: Request) -> Response:
        """The names of all rules."""
        async with asked(request, parts, Right.READ) as door:
            return door.at(json_answer({"names": await door.ask(names_of_rules)}))

    return [
        route("POST", RULES, list_rules),
        route("POST", RULE, define_rule),
        route("GET", ONE_RULE, get_rule),
        route("PATCH", ONE_RULE, change_rule),
        route("DELETE", ONE_RULE, remove_rule),
        route("POST", SUMMARY, summarise),
        route("GET", NAMES, list_names),
    ]


def _list(snapshot: Snapshot, *, wanted: ListRequest, start: PageStart | None, limit: int) -> Listed:
    above = wanted.thresholdFilter
    filtered = RulesFilter(
        wanted.ruleNames, wanted.accountGroupIds, None if above is None else above is ThresholdFilter.ABOVE
    )
    if start is None:
        window, position, after = window_of(wanted.timeRange or LAST_MONTH, snapshot.now), snapshot.position, None
    else:
        window, position, after = start
        if max(snapshot.positions.values()) - position > PASSED_EVENTS_MAX:
            raise InvalidArgument("pageToken", "is too old: begin the list again")
    rules = rules_with_usage(snapshot, window, filtered, position=position, after=after, limit=limit + 1)
    return Listed(rules, window, position)


def _sum_up(snapshot: Snapshot, *, wanted: SummaryRequest) -> tuple[Credits, Credits]:
    window = window_of(wanted.timeRange or LAST_MONTH, snapshot.now)
    return purchased(snapshot, window), sum(used_by_sets(snapshot, window).values())


def _fields(request: Request, given: NewRule | RuleChange) -> dict[str, Any]:
    """What a command takes of a body, and the key that it comes under."""
    return {
        "name": given.name,
        "account_groups": given.accountGroups,
        "allocated": given.allocatedCredits,
        "alarm_threshold": given.alarmThreshold,
        "currency": given.currencyId,
        "idempotency_key": request.headers.get(KEY_HEADER),
    }


def _another_id(given: dict[str, Any], *, path: str) -> Sequence[tuple[str, str]]:
    told = given.get("id")
    return [("id", "must be the id in the path")] if isinstance(told, str) and told.lower() != path.lower() else []


def _id(text: str) -> StreamId:
    """The id of a rule, as a path names it. Refuses: AllocationRuleNotFound, for what is no id of anything."""
    if not UUID.fullmatch(text):
        raise AllocationRuleNotFound(text)
    return StreamId(text.lower())


def _as_told(receipt: Receipt) -> dict[str, Any]:
    """A rule as a command left it."""
    event = receipt.events[0]
    assert isinstance(event, RuleEvent)
    return _wire(event.originator_id, event.rule)


def _wire(rule_id: StreamId, rule: RuleRow | RuleDetails) -> dict[str, Any]:
    return {
        "id": rule_id,
        "customerId": None,
        "prismaId": None,
        "name": rule.name,
        "targetType": TARGET_TYPE,
        "allocatedCredits": rule.allocated,
        "alarmThreshold": rule.alarm_threshold,
        "accountGroups": list(rule.account_groups),
        "currencyId": rule.currency,
    }


def _with_usage(each: RuleUsage) -> dict[str, Any]:
    used = (2 * each.used + UNITS_PER_CREDIT) // (2 * UNITS_PER_CREDIT)  # half up
    return _wire(each.rule.rule, each.rule) | {
        "usedCredits": min(used, WHOLE_MAX),
        "percentage": min(each.percentage, WHOLE_MAX),
    }


def _exactly(**amounts: Credits) -> str:
    """JSON whose numbers have every digit."""
    return "{" + ", ".join(f'"{name}": {credits_text(units)}' for name, units in amounts.items()) + "}"
