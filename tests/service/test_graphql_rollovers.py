"""What is left of a schedule's grants rolls over once, up to a cap, with its cost; the rest lapses.

These tests move the clock, forward only: each begins on 31 January of a year that none has used.
"""

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.service.serving import Service
from tests.service.test_graphql_clock import MICROSECOND, move, wire
from tests.service.test_graphql_schedules import (
    balance_of,
    end,
    grants_of,
    ledger_of,
    schedule_of,
    start,
    step,
    use_of,
)

__all__ = ["start"]
REFUND = """
mutation ($input: RefundCreditsInput!) {
  refundCredits(input: $input) { transactionId draws { grantId amountExact } }
}
"""
VOID = "mutation ($input: VoidCreditGrantInput!) { voidCreditGrant(input: $input) { status } }"
NANO = Decimal("1e-9")


def scheduled(service: Service, customer: str, amount: str = "10", **given: Any) -> Any:
    """A schedule of months whose grants roll over for one period, and its first grant."""
    rollover = {"expiresAfterPeriods": 1} | given.pop("rollover", {})
    made = schedule_of(service, customer, amountPerPeriod=None, amountPerPeriodExact=amount, rollover=rollover, **given)
    (grant,) = grants_of(service, customer)
    return made | {"grant": grant}


def refund_of(service: Service, transaction: str, **given: Any) -> Any:
    wanted = {"transactionId": transaction, "idempotencyKey": "refund"} | given
    return service.data(REFUND, input=wanted)["refundCredits"]


def of_type(grants: list[Any], grant_type: str) -> list[Any]:
    return [grant for grant in grants if grant["grantType"] == grant_type]


def told(rows: list[Any]) -> list[tuple[str, str, str]]:
    return [(row["eventType"], row["signedAmount"], row["balanceAfter"]) for row in rows]


def test_what_is_left_rolls_over_into_a_grant_that_names_its_origin(
    service: Service, start: datetime, customer: str
) -> None:
    scheduled(service, customer, cost={"amount": 5, "currency": "EUR"}, priority=3)
    use_of(service, customer, "4")
    move(service, step(start, 1))
    origin, rollover, following = grants_of(service, customer)
    assert (origin["rolledOverTo"], origin["rolledOverFrom"]) == (rollover["grantId"], None)
    assert (rollover["rolledOverTo"], rollover["rolledOverFrom"]) == (None, origin["grantId"])
    assert (following["rolledOverTo"], following["rolledOverFrom"]) == (None, None)
    assert (origin["status"], origin["consumedAmountExact"], origin["remainingAmount"]) == ("EXPIRED", "4", "0")
    assert rollover == rollover | {
        "grantType": "ROLLOVER", "status": "ACTIVE", "displayName": "Plan", "amountExact": "6",
        "remainingAmount": "6", "priorityExact": "3", "resourceId": None, "effectiveAt": wire(step(start, 1)),
        "expireAt": wire(step(start, 2)), "cost": {"amountExact": "3", "currency": "EUR"},
    }  # fmt: skip
    assert (following["grantType"], following["amountExact"]) == ("SUBSCRIPTION", "10")
    assert balance_of(service, customer) == "16"


def test_the_ledger_tells_of_a_rollover_on_both_sides(service: Service, start: datetime, customer: str) -> None:
    """What the cap does not let through lapses, as a row of its own."""
    scheduled(service, customer, rollover={"maxAmount": 2.5})
    use_of(service, customer, "4")
    move(service, step(start, 1) + timedelta(days=1))
    rows = ledger_of(service, customer)
    assert told(rows) == [
        ("CREDITS_GRANTED",     "10",   "10"),
        ("CREDITS_CONSUMED",    "-4",   "6"),
        ("CREDITS_ROLLED_OVER", "-2.5", "3.5"),
        ("CREDITS_GRANTED",     "2.5",  "6"),
        ("CREDITS_EXPIRED",     "-3.5", "2.5"),
        ("CREDITS_GRANTED",     "10",   "12.5"),
    ]  # fmt: skip
    out, into, lost, new = rows[2:]
    origin, rollover, following = grants_of(service, customer)
    assert [row["creditGrantId"] for row in (out, into, lost, new)] == [
        origin["id"], rollover["id"], origin["id"], following["id"],
    ]  # fmt: skip
    assert out["eventId"] == into["eventId"] == lost["eventId"] != new["eventId"]
    assert (out["grantBalanceAfter"], lost["grantBalanceAfter"], into["grantBalanceAfter"]) == ("3.5", "0", "2.5")
    assert {row["timestamp"] for row in rows[2:]} == {wire(step(start, 1))}
    assert {row["recordedAt"] for row in rows[2:]} == {wire(step(start, 1) + timedelta(days=1))}
    assert ledger_of(service, customer, "CREDITS_ROLLED_OVER") == [out]
    assert ledger_of(service, customer, "CREDITS_EXPIRED") == [lost]
    assert ledger_of(service, customer, "CREDITS_EXPIRED", "CREDITS_ROLLED_OVER") == [out, lost]


@pytest.mark.parametrize(
    ("cap", "used", "carried", "lost"),
    [
        (None, "0",           "10",          None),
        (None, "3.5",         "6.5",         None),
        (None, "9.999999999", "0.000000001", None),
        (None, "10",          None,          None),
        ("6",  "0",           "6",           "4"),
        ("6",  "3.999999999", "6",           "0.000000001"),
        ("6",  "4",           "6",           None),
        ("6",  "4.000000001", "5.999999999", None),
        ("6",  "10",          None,          None),
        ("11", "0",           "10",          None),
    ],
)  # fmt: skip
def test_so_much_is_carried_and_so_much_is_lost(
    service: Service, start: datetime, customer: str, cap: str | None, used: str, carried: str | None, lost: str | None
) -> None:
    scheduled(service, customer, rollover={"maxAmountExact": cap})
    if used != "0":
        use_of(service, customer, used)
    move(service, step(start, 1))
    rollovers = of_type(grants_of(service, customer), "ROLLOVER")
    assert [grant["amountExact"] for grant in rollovers] == ([carried] if carried else [])
    for event, amount in (("CREDITS_ROLLED_OVER", carried), ("CREDITS_EXPIRED", lost)):
        assert [row["signedAmount"] for row in ledger_of(service, customer, event)] == (
            [f"-{amount}"] if amount else []
        )
    assert Decimal(balance_of(service, customer)) == 10 + Decimal(carried or 0)


def share(cost: str, part: Decimal, whole: str) -> Decimal:
    """The cost of a part, to nine places, halves to even."""
    return (Decimal(cost) * part / Decimal(whole)).quantize(NANO)


@pytest.mark.parametrize(
    ("amount", "cost", "used", "cap"),
    [
        ("10", "5",          "4",           None),
        ("10", "9.99",       "3",           "2"),
        ("3",  "1",          "1",           None),
        ("3",  "1",          "1",           "1"),
        ("3",  "1",          "0",           "1"),
        ("3",  "1",          "0",           None),
        ("7",  "0.000000001", "3",          "2"),
        ("7",  "100",        "6.999999999", None),
        ("8",  "0.000000001", "4",          "2"),
        ("10", "0",          "1",           None),
    ],
)  # fmt: skip
def test_a_rollover_carries_its_share_of_the_cost(
    service: Service, start: datetime, customer: str, amount: str, cost: str, used: str, cap: str | None
) -> None:
    """The cost of what was consumed, of what is carried and of what is lost is the cost of the grant, exactly."""
    scheduled(service, customer, amount, cost={"amountExact": cost}, rollover={"maxAmountExact": cap})
    if used != "0":
        use_of(service, customer, used)
    move(service, step(start, 1))
    (rollover,) = of_type(grants_of(service, customer), "ROLLOVER")
    carried = Decimal(rollover["amountExact"])
    consumed_cost = share(cost, Decimal(used), amount)
    carried_cost = Decimal(rollover["cost"]["amountExact"])
    lost_cost = Decimal(cost) - share(cost, Decimal(used) + carried, amount)
    assert consumed_cost + carried_cost + lost_cost == Decimal(cost)
    assert abs(carried_cost - share(cost, carried, amount)) <= NANO
    if cap is None:
        assert carried_cost == Decimal(cost) - consumed_cost, "nothing is lost, so nothing is lost of the cost"


@pytest.mark.parametrize(
    ("given", "months", "periods"),
    [
        ({"billingPeriod": "MONTH"},                                                1,  1),
        ({"billingPeriod": "MONTH"},                                                1,  3),
        ({"billingPeriod": "YEAR", "cadence": "MONTHLY", "amountPerPeriod": "120"}, 12, 1),
    ],
)  # fmt: skip
def test_a_rollover_lasts_so_many_billing_periods_and_never_rolls_again(
    service: Service, start: datetime, customer: str, given: dict[str, Any], months: int, periods: int
) -> None:
    amount = given.pop("amountPerPeriod", "10")
    scheduled(service, customer, amount, **given, rollover={"expiresAfterPeriods": periods})
    move(service, step(start, 1))
    (rollover,) = of_type(grants_of(service, customer), "ROLLOVER")
    ends = step(start, 1 + months * periods)
    assert (rollover["amountExact"], rollover["expireAt"]) == ("10", wire(ends))
    move(service, ends - MICROSECOND)
    assert rollover | {"status": "ACTIVE"} in grants_of(service, customer)
    move(service, ends)
    (ended,) = [grant for grant in grants_of(service, customer) if grant["id"] == rollover["id"]]
    assert (ended["status"], ended["rolledOverTo"], ended["remainingAmount"]) == ("EXPIRED", None, "0")
    lapse = [row for row in ledger_of(service, customer) if row["creditGrantId"] == rollover["id"]]
    assert [(row["eventType"], row["signedAmount"]) for row in lapse] == [
        ("CREDITS_GRANTED", "10"), ("CREDITS_EXPIRED", "-10"),
    ]  # fmt: skip
    assert rollover["grantId"] not in {grant["rolledOverFrom"] for grant in grants_of(service, customer)}


def test_a_rollover_is_used_before_the_new_part_that_ends_with_it(
    service: Service, start: datetime, customer: str
) -> None:
    scheduled(service, customer)
    move(service, step(start, 1))
    draws = use_of(service, customer, "12")["draws"]
    _, rollover, following = grants_of(service, customer)
    assert draws == [
        {"grantId": rollover["grantId"], "amountExact": "10"}, {"grantId": following["grantId"], "amountExact": "2"},
    ]  # fmt: skip


def test_what_was_voided_does_not_roll_over(service: Service, start: datetime, customer: str) -> None:
    made = scheduled(service, customer)
    use_of(service, customer, "4")
    service.data(VOID, input={"id": made["grant"]["id"]})
    move(service, step(start, 1))
    grants = grants_of(service, customer)
    assert [(grant["grantType"], grant["status"], grant["rolledOverTo"]) for grant in grants] == [
        ("SUBSCRIPTION", "VOIDED", None), ("SUBSCRIPTION", "ACTIVE", None),
    ]  # fmt: skip
    assert ledger_of(service, customer, "CREDITS_ROLLED_OVER", "CREDITS_EXPIRED") == []


def test_what_is_left_when_a_schedule_was_ended_lapses(service: Service, start: datetime, customer: str) -> None:
    made = scheduled(service, customer)
    end(service, made["id"])
    move(service, step(start, 1))
    assert [grant["grantType"] for grant in grants_of(service, customer)] == ["SUBSCRIPTION"]
    assert [row["signedAmount"] for row in ledger_of(service, customer, "CREDITS_EXPIRED")] == ["-10"]


def test_what_was_given_back_in_time_rolls_over(service: Service, start: datetime, customer: str) -> None:
    scheduled(service, customer)
    use = use_of(service, customer, "10")
    move(service, step(start, 1) - MICROSECOND)
    refund_of(service, use["transactionId"], amountExact="7")
    move(service, step(start, 1))
    assert [grant["amountExact"] for grant in of_type(grants_of(service, customer), "ROLLOVER")] == ["7"]


@pytest.mark.parametrize("used", ["4", "10"])
def test_what_is_given_back_to_a_grant_that_has_rolled_over_ends_again(
    service: Service, start: datetime, customer: str, used: str
) -> None:
    """It is restored and at once ended, dated at the refund; nothing rolls over a second time, then or later."""
    made = scheduled(service, customer)
    use = use_of(service, customer, used)
    move(service, step(start, 1) + timedelta(days=1))
    before, usable = grants_of(service, customer), balance_of(service, customer)
    refund = refund_of(service, use["transactionId"])
    assert refund["draws"] == [{"grantId": made["grant"]["grantId"], "amountExact": used}]
    restored, ended = ledger_of(service, customer)[-2:]
    assert [(row["eventType"], row["signedAmount"]) for row in (restored, ended)] == [
        ("CREDITS_REFUNDED", used), ("CREDITS_EXPIRED", f"-{used}"),
    ]  # fmt: skip
    assert restored["eventId"] == ended["eventId"] == refund["transactionId"]
    assert ended["timestamp"] == wire(step(start, 1) + timedelta(days=1))
    assert balance_of(service, customer) == usable
    after = grants_of(service, customer)
    assert after[0] == before[0] | {"status": "EXPIRED", "consumedAmountExact": "0"}
    assert after[1:] == before[1:]
    move(service, step(start, 3))
    rolled = [grant["rolledOverFrom"] for grant in of_type(grants_of(service, customer), "ROLLOVER")]
    assert sorted(rolled) == sorted(
        grant["grantId"] for grant in of_type(grants_of(service, customer), "SUBSCRIPTION") if grant["rolledOverTo"]
    )
    assert rolled.count(made["grant"]["grantId"]) == (used != "10")


def test_what_is_given_back_to_a_rollover_that_has_ended_ends_again(
    service: Service, start: datetime, customer: str
) -> None:
    scheduled(service, customer)
    move(service, step(start, 1))
    use = use_of(service, customer, "10")
    move(service, step(start, 2))
    count = len(grants_of(service, customer))
    refund_of(service, use["transactionId"])
    assert told(ledger_of(service, customer)[-2:]) == [
        ("CREDITS_REFUNDED", "10", "30"),
        ("CREDITS_EXPIRED", "-10", "20"),
    ]
    assert len(grants_of(service, customer)) == count


def test_a_rollover_stays_in_the_pool_of_its_resource(service: Service, start: datetime, customer: str) -> None:
    schedule_of(service, customer, resourceId="site-1", rollover={"expiresAfterPeriods": 1})
    move(service, step(start, 1))
    assert grants_of(service, customer) == []
    (rollover,) = of_type(grants_of(service, customer, resourceId="site-1"), "ROLLOVER")
    assert (rollover["resourceId"], rollover["amountExact"]) == ("site-1", "10")


@dataclass
class ModelLot:
    begins: datetime
    ends: datetime
    left: Decimal
    rolls: bool


@dataclass
class Model:
    """What the contract says of a pool with one schedule, without a look at the ledger's own code."""

    anchor: datetime
    parts: list[Decimal]
    period_months: int
    cap: Decimal | None
    periods: int
    part: int = 0
    lots: list[ModelLot] = field(default_factory=list)
    carried: Decimal = Decimal(0)
    lost: Decimal = Decimal(0)
    used: Decimal = Decimal(0)
    granted: Decimal = Decimal(0)

    def advance(self, instant: datetime) -> None:
        """Let the months begin that have begun by now; each ends what came to its end there."""
        while (at := step(self.anchor, self.part)) <= instant:
            for lot in [lot for lot in self.lots if lot.ends <= at]:
                self.lots.remove(lot)
                carried = (lot.left if self.cap is None else min(lot.left, self.cap)) if lot.rolls else Decimal(0)
                self.carried, self.lost = self.carried + carried, self.lost + lot.left - carried
                ends = step(self.anchor, self.part + self.period_months * self.periods)
                self.lots += [ModelLot(at, ends, carried, rolls=False)] if carried else []
            amount = self.parts[self.part % len(self.parts)]
            self.lots.append(ModelLot(at, step(self.anchor, self.part + 1), amount, rolls=True))
            self.granted += amount
            self.part += 1

    @property
    def balance(self) -> Decimal:
        return sum((lot.left for lot in self.lots), Decimal(0))

    def use(self, amount: Decimal) -> None:
        """First what ends first; of what ends together, first what was rolled over, then what began first."""
        self.used += amount
        for lot in sorted(self.lots, key=lambda lot: (lot.ends, lot.rolls, lot.begins)):
            taken = min(lot.left, amount)
            lot.left, amount = lot.left - taken, amount - taken
        assert amount == 0


PLANS: dict[str, tuple[dict[str, Any], tuple[list[Decimal], int, Decimal | None, int]]] = {
    "month": ({"amountPerPeriod": 30, "rollover": {"expiresAfterPeriods": 1}}, ([Decimal(30)], 1, None, 1)),
    "month, capped": (
        {"amountPerPeriod": 30, "rollover": {"expiresAfterPeriods": 2, "maxAmount": 7.5}},
        ([Decimal(30)], 1, Decimal("7.5"), 2),
    ),
    "parts of a year": (
        {"amountPerPeriod": 100, "billingPeriod": "YEAR", "cadence": "MONTHLY", "rollover": {"expiresAfterPeriods": 1}},
        ([Decimal("8.333333333")] * 11 + [Decimal("8.333333337")], 12, None, 1),
    ),
    "parts of a year, capped": (
        {
            "amountPerPeriod": 100, "billingPeriod": "YEAR", "cadence": "MONTHLY",
            "rollover": {"expiresAfterPeriods": 2, "maxAmountExact": "1.000000001"},
        },
        ([Decimal("8.333333333")] * 11 + [Decimal("8.333333337")], 12, Decimal("1.000000001"), 2),
    ),
}  # fmt: skip


def test_a_year_of_random_uses_comes_out_as_a_model_says(service: Service, start: datetime, customer: str) -> None:
    """At the instants of periods, just before them and between them; at the end every credit is accounted for."""
    chance = random.Random(20260131)
    models: dict[str, Model] = {}
    for name, (given, (parts, months, cap, periods)) in PLANS.items():
        schedule_of(service, f"{customer} {name}", **given)
        models[name] = Model(start, parts, months, cap, periods)
    instants = {step(start, month) + shift for month in range(1, 15) for shift in (-MICROSECOND, 0 * MICROSECOND)}
    instants |= {start + chance.random() * (step(start, 14) - start) for _ in range(25)}
    for number, instant in enumerate(sorted(instants)):
        move(service, instant)
        for name, model in models.items():
            model.advance(instant)
            pool = f"{customer} {name}"
            assert Decimal(balance_of(service, pool)) == model.balance, (name, instant)
            amount = (model.balance * Decimal(chance.choice(["0", "0", "0.2", "0.7", "1"]))).quantize(NANO)
            if amount:
                use_of(service, pool, str(amount), f"use-{number}")
                model.use(amount)
                assert Decimal(balance_of(service, pool)) == model.balance, (name, instant)
    for name, model in models.items():
        grants = grants_of(service, f"{customer} {name}")
        assert sum(Decimal(grant["consumedAmountExact"]) for grant in grants) == model.used
        for grant_type, whole in (("SUBSCRIPTION", model.granted), ("ROLLOVER", model.carried)):
            assert sum(Decimal(grant["amountExact"]) for grant in of_type(grants, grant_type)) == whole
        assert model.granted == model.used + model.lost + model.balance
