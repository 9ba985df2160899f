"""Used credits by account groups: any window is exact to the microsecond, at any position of the log."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ledger.domain.auto_recharge import month_of
from ledger.domain.credits import Credits, credits_of
from ledger.domain.instants import FOREVER, Instant, add_months
from ledger.domain.threshold_watch import UsedIn
from ledger.domain.values import StreamId
from projections.allocation_rules.queries import RuleRow, RulesFilter, rules_with_usage, used_by_rules
from projections.group_sets.queries import groups_of_sets
from projections.group_usage.queries import UsedSet, used_by_months, used_by_sets
from projections.read_model import RULE_MODELS, ReadModel
from projections.reading import Snapshot
from projections.runner import advance
from projections.usage.windows import DAY, HOUR, UsageWindow
from tests.conftest import START
from tests.projections import naive_usage
from tests.projections.followed import Followed, followed_ledger
from tests.projections.naive_usage import (
    CURRENCIES,
    FIRST_USE_AT,
    GROUPS,
    TICK,
    by_set,
    histories,
    instants,
    naive_uses,
    of_rule,
    play,
    within,
)

GIVEN: Any = {"phases": [Phase.generate], "suppress_health_check": [HealthCheck.function_scoped_fixture]}
EVER = UsageWindow(datetime(1970, 1, 1, tzinfo=UTC), FOREVER)


@pytest.fixture(scope="module")
def followed(server_dsn: str) -> Iterator[Followed]:
    """A ledger to which each example adds its own history; what is asked is asked of all of them together."""
    with followed_ledger(server_dsn) as followed:
        naive_usage.endow(followed)
        yield followed


def told(snapshot: Snapshot, used: dict[UsedSet, Credits]) -> dict[tuple[str, frozenset[str]], Credits]:
    """By the groups themselves, not the ids of their sets."""
    groups = groups_of_sets(snapshot, {group_set for _, group_set in used})
    return {(currency, frozenset(groups[group_set])): amount for (currency, group_set), amount in used.items()}


def a_rule(number: int, groups: frozenset[str], currency: str | None) -> RuleRow:
    return RuleRow(StreamId(str(number)), f"rule {number}", tuple(groups), 100, 50, currency, START)


edges = instants() | st.sampled_from([FIRST_USE_AT, START, START + HOUR, START + 400 * DAY, *EVER])
windows = st.tuples(edges, edges).filter(lambda both: both[0] != both[1]).map(lambda both: UsageWindow(*sorted(both)))
rules = st.builds(
    a_rule,
    st.integers(0, 10**6),
    st.frozensets(st.sampled_from([*GROUPS, "nobody's"]), min_size=1),
    st.none() | st.sampled_from([*CURRENCIES, "nobody's"]),
)


@settings(max_examples=12, **GIVEN)
@given(acts=histories, asked=st.lists(st.tuples(windows, st.floats(0, 1)), min_size=12, max_size=12), at_uses=st.data())
def test_any_window_says_what_a_count_of_the_log_says_at_any_position(
    followed: Followed, acts: list[Any], asked: list[tuple[UsageWindow, float]], at_uses: st.DataObject
) -> None:
    """Whether its edges lie at uses, beside them, where buckets meet, ahead of the last use or of now."""
    play(followed, acts)
    with followed.at_head(RULE_MODELS) as snapshot:
        log = naive_uses(snapshot.connection)
        places = sorted({use.use_at + tick for use in log for tick in (0 * TICK, TICK)})
        drawn = at_uses.draw(st.lists(st.tuples(*2 * [st.sampled_from(places)]), min_size=12, max_size=12))
        between = [UsageWindow(*sorted(both)) for both in drawn if both[0] != both[1]]
        for window, share in [*asked, *((window, 0.5) for window in between)]:
            now = told(snapshot, used_by_sets(snapshot, window))
            assert now == by_set(within(log, *window)), window
            position = round(snapshot.position * share)
            then = told(snapshot, used_by_sets(snapshot, window, position=position))
            assert then == by_set(within(log, *window, position)), (window, position)


@settings(max_examples=3, **GIVEN)
@given(
    acts=histories,
    wanted=st.lists(rules, min_size=5, max_size=5, unique_by=lambda rule: rule.rule),
    back=st.integers(0, 2),
)
def test_the_hours_of_a_month_add_up_to_the_month_for_each_rule_and_in_all(
    followed: Followed, acts: list[Any], wanted: list[RuleRow], back: int
) -> None:
    play(followed, acts)
    start = add_months(datetime(2026, 1, 1, tzinfo=UTC), -back)
    end = add_months(start, 1)
    with followed.at_head(RULE_MODELS) as snapshot:
        whole = used_by_sets(snapshot, UsageWindow(start, end))
        of_rules = used_by_rules(snapshot, wanted, whole)
        by_hours: defaultdict[UsedSet, Credits] = defaultdict(int)
        rules_by_hours: defaultdict[StreamId, Credits] = defaultdict(int)
        for hour in range((end - start) // HOUR):
            used = used_by_sets(snapshot, UsageWindow(start + hour * HOUR, start + (hour + 1) * HOUR))
            for each, amount in used.items():
                by_hours[each] += amount
            for rule, amount in used_by_rules(snapshot, wanted, used).items() if used else ():
                rules_by_hours[rule] += amount
        log = list(within(naive_uses(snapshot.connection), start, end))
    assert {each: amount for each, amount in by_hours.items() if amount} == whole
    assert sum(whole.values()) == sum(use.used for use in log) > 0
    counted = {rule.rule: of_rule(log, rule.account_groups, rule.currency) for rule in wanted}
    assert any(counted.values())
    assert {rule: rules_by_hours[rule] for rule in counted} == {rule: of_rules[rule] for rule in counted} == counted


@settings(max_examples=6, **GIVEN)
@given(acts=histories, share=st.floats(0, 1))
def test_months_say_what_a_count_of_the_log_says_at_any_position(
    followed: Followed, acts: list[Any], share: float
) -> None:
    play(followed, acts)
    with followed.at_head(RULE_MODELS) as snapshot:
        for position in (round(snapshot.position * share), snapshot.position):
            sums: defaultdict[UsedIn, Credits] = defaultdict(int)
            for use in within(naive_uses(snapshot.connection), *EVER, position):
                if use.groups:
                    sums[UsedIn(month_of(use.use_at), use.currency, tuple(sorted(use.groups)))] += use.used
            found = used_by_months(snapshot, position)
            assert found == {used_in: used for used_in, used in sums.items() if used != 0}
        assert len({used_in.month for used_in in found}) >= 3


@pytest.mark.parametrize(
    "into", [0 * HOUR, 5 * HOUR, timedelta(hours=5, minutes=20), timedelta(hours=7, seconds=181)], ids=str
)
def test_a_window_begins_with_its_start_and_ends_before_its_end(followed: Followed, into: timedelta) -> None:
    """Whether an edge lies between two days, two hours, two times ten minutes, or in one."""
    edge, group = datetime(2026, 1, 20, tzinfo=UTC) + into, f"edge {into}"
    followed.books.issue_grant(holder=group, currency="c", amount=111, display_name="g", grant_type="PAID")
    for amount, use_at in ((1, edge - TICK), (10, edge), (100, edge + TICK)):
        followed.books.consume(holder=group, currency="c", amount=amount, use_at=use_at, account_groups=(group,))
    with followed.at_head(RULE_MODELS) as snapshot:

        def used(start: Instant, end: Instant) -> Credits:
            return told(snapshot, used_by_sets(snapshot, UsageWindow(start, end))).get(("c", frozenset({group})), 0)

        for length in (2 * TICK, timedelta(minutes=4), timedelta(minutes=17), HOUR, 30 * HOUR, 400 * DAY):
            assert used(edge, edge + length) == credits_of(110)
            assert used(edge + TICK, edge + TICK + length) == credits_of(100)
            assert used(edge - length, edge) == credits_of(1)
            assert used(edge - length, edge + TICK) == credits_of(11)
        assert used(edge, edge + TICK) == credits_of(10)


def test_a_use_that_names_two_groups_of_a_rule_counts_once_for_it(followed: Followed) -> None:
    """In whichever order and however often they were named."""
    minute = timedelta(minutes=1)
    last = FIRST_USE_AT - 30 * DAY
    followed.books.issue_grant(
        holder="acme", currency="apart", amount=10**5, display_name="g", grant_type="PAID", effective_at=last
    )
    for number, groups in enumerate([("a", "b"), ("b", "a"), ("a", "b", "a"), ("b",), ()]):
        followed.books.consume(
            holder="acme", currency="apart", amount=10**number, use_at=last + minute, account_groups=groups
        )
    with followed.at_head(RULE_MODELS) as snapshot:
        used = used_by_sets(snapshot, UsageWindow(last, last + 2 * minute))
        assert sorted(told(snapshot, used).values()) == [credits_of(number) for number in (111, 1000, 10**4)]
        wanted = [
            a_rule(1, frozenset("ab"), None), a_rule(2, frozenset("a"), "apart"), a_rule(3, frozenset("b"), "tokens"),
        ]  # fmt: skip
        found = used_by_rules(snapshot, wanted, used)
    assert [found[rule.rule] for rule in wanted] == [credits_of(1111), credits_of(111), 0]


@pytest.mark.parametrize("behind", RULE_MODELS, ids=lambda model: model.name)
def test_a_list_is_right_as_of_where_the_last_of_its_read_models_has_come(
    followed: Followed, behind: ReadModel
) -> None:
    """The others know already how the rule was changed since, and a set of groups that was not used before."""

    def use(*groups: str) -> None:
        followed.books.consume(holder="acme", currency="credits", amount=3, account_groups=groups)

    name = f"behind {behind.name}"
    rule = followed.books.define_allocation_rule(
        name=name, account_groups=(name,), allocated=100, alarm_threshold=50
    ).stream_id
    use(name)
    with followed.at_head(RULE_MODELS) as snapshot:
        position = snapshot.position
    use(name)
    use(name, "and another")
    followed.books.change_allocation_rule(rule=rule, account_groups=("and another",))
    for model in RULE_MODELS:
        if model is not behind:
            advance(followed.projector, model)
    with followed.reader.snapshot(RULE_MODELS) as snapshot:
        assert (snapshot.stale, snapshot.position) == (True, position)
        window = UsageWindow(FIRST_USE_AT - 60 * DAY, snapshot.now + TICK)
        (found,) = rules_with_usage(snapshot, window, RulesFilter([name]), position=position, limit=9)
    assert (found.rule.account_groups, found.used) == ((name,), credits_of(3))
