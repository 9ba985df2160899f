"""For any history of rules and uses, thresholds are reached just where counting everything again says so."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.threshold_watch import Reached, Recorded, RuleTold, Step, ThresholdWatch, Used, UsedIn
from ledger.domain.values import StreamId, TransactionId
from tests.domain.rule_steps import details
from tests.domain.scenario import MICROSECOND, START
from tests.laws.naive_thresholds import live_rules, month_of_use, naive_reached

FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)
INSTANTS = (datetime(2025, 12, 31, tzinfo=UTC), FEBRUARY - MICROSECOND, FEBRUARY, FEBRUARY + timedelta(days=27))
groups = st.lists(st.sampled_from(["g", "h", "i", "j"]), min_size=1, max_size=3, unique=True)
currencies = st.sampled_from(["c", "d"])
rules = st.sampled_from(["R", "S", "T", "U"])

acts = st.one_of(
    st.tuples(
        *(st.just("told"), rules, groups, st.none() | currencies, st.integers(0, 4)),
        st.sampled_from([0, 1, 33, 50, 99, 100]),
    ),
    st.tuples(st.just("removed"), rules),
    *(
        st.tuples(
            *(st.just("used"), groups, currencies, st.sampled_from(INSTANTS)),
            st.sampled_from([1, 10**9 - 1, 10**9, 3 * 10**9]) | st.integers(1, 4 * 10**9),
        )
        for _ in range(3)
    ),
    st.tuples(st.just("back"), st.integers(0, 99), st.booleans()),
    st.tuples(st.just("recorded"), rules, st.sampled_from(["2025-12", "2026-01", "2026-02"])),
)


def steps_of(acts: list[Any]) -> list[Step]:
    """What the acts come to: rules end for good, and no more comes back of a use than was used."""
    steps: list[Step] = []
    uses: list[Used] = []
    left: Counter[int] = Counter()
    ended: set[str] = set()
    for position, act in enumerate(acts, 1):
        place = (position, TransactionId(f"t{position}"), START + position * timedelta(minutes=1))
        match act:
            case ("told", rule, named, currency, allocated, threshold) if rule not in ended:
                told = details(
                    rule, account_groups=named, currency=currency, allocated=allocated, alarm_threshold=threshold
                )
                steps.append(RuleTold(*place, StreamId(rule), told))
            case ("removed", rule) if rule in live_rules(steps):
                ended.add(rule)
                last = live_rules(steps)[StreamId(rule)].model_copy(update={"removed_at": START})
                steps.append(RuleTold(*place, StreamId(rule), last))
            case ("used", named, currency, use_at, amount):
                left[len(uses)] = amount
                uses.append(Used(*place, use_at, currency, tuple(sorted(named)), amount))
                steps.append(uses[-1])
            case ("back", which, half) if uses:
                which %= len(uses)
                amount = -(-left[which] // 2) if half else left[which]
                if amount:
                    left[which] -= amount
                    _, _, _, use_at, currency, named, _ = uses[which]
                    steps.append(Used(*place, use_at, currency, named, -amount))
            case ("recorded", rule, month):
                steps.append(Recorded(StreamId(rule), month))
    return steps


@given(st.lists(acts, min_size=10, max_size=60).map(steps_of), st.data())
def test_thresholds_are_reached_where_counting_all_again_says_so(steps: list[Step], data: st.DataObject) -> None:
    """By a watch that saw it all, and by one that begins anywhere with what there was by then."""
    expected = naive_reached(steps)
    watch = ThresholdWatch()
    assert [list(watch.follow([step])) for step in steps] == expected
    stretched, cut = ThresholdWatch(), data.draw(st.integers(0, len(steps)))
    flat = [each for some in expected for each in some]
    assert [*stretched.follow(steps[:cut]), *stretched.follow(steps[cut:])] == flat, "in two stretches"
    begins = data.draw(st.integers(0, len(steps)))
    later = begun(steps[:begins], [each for some in expected[:begins] for each in some])
    assert [list(later.follow([step])) for step in steps[begins:]] == expected[begins:]


def begun(steps: list[Step], reached: list[Reached]) -> ThresholdWatch:
    used: Counter[UsedIn] = Counter()
    for step in steps:
        if isinstance(step, Used):
            used[UsedIn(month_of_use(step), step.currency, step.account_groups)] += step.used
    known = {(each.rule, each.month) for each in reached}
    known |= {(step.rule, step.month) for step in steps if isinstance(step, Recorded)}
    return ThresholdWatch(used, live_rules(steps), known)
