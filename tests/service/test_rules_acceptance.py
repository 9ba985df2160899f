"""A long random life of a ledger with allocation rules: every list, page and summary is what a naive model tells."""

import json
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from tests.service.executions import Company, refund
from tests.service.naive_rules import TICK, Books, Lot, Use, forth, window_of
from tests.service.rules import MUCH, Rule, Rules, ToldRules
from tests.service.serving import Service
from tests.service.test_graphql_clock import VOID, move

STEPS = 400
BEGINS = datetime(2028, 1, 31, 22, 59, 59, 999_999, UTC)
NEVER = datetime.max.replace(tzinfo=UTC)
GROUPS = ("a", "b", "c", "d", "\u00e9\U0001f600")
CURRENCIES = ("credits", "tokens")
SCANS = "AI_PENTEST"
ALLOTMENT = 1_000_000
RULES_MIN = 8
ACTS = {
    "use": 30, "debit": 4, "give_back": 8, "define": 8, "change": 8, "remove": 4, "grant": 4, "void": 2, "move_on": 6,
    "ask": 12, "turn_a_page": 14, "sum_up": 6,
}  # fmt: skip


class Life:
    """What happens to a ledger, by chance, and the books that a naive model keeps of it."""

    def __init__(self, service: Service, rules: Rules, chance: random.Random) -> None:
        self.service, self.rules, self.chance = service, rules, chance
        self.books = Books(BEGINS)
        self.company, self.periods = Company(service), 0
        self.debits: dict[str, Any] = {}
        self.grants: list[str] = []
        self.pages: list[tuple[Rule, str, ToldRules]] = []
        """Lists that go on: the request, the token, and the rules that are still to come."""
        move(service, BEGINS)
        for currency in CURRENCIES:
            self.books.uses[rules.use(1, currency=currency)] = Use(BEGINS, currency, frozenset(), Decimal(1))
            self.books.lots[currency] = Lot(Decimal(MUCH), BEGINS, NEVER)
        self.company.create("MONTHLY", credits=ALLOTMENT)
        self._renew()

    def use(self) -> None:
        amount, groups, at = self._amount(), self._some(GROUPS), self._instant()
        currency = self.chance.choice(CURRENCIES)
        use = self.rules.use(f"{amount:f}", *groups, at=at.isoformat(), currency=currency)
        self.books.uses[use] = Use(at, currency, frozenset(groups), amount)

    def debit(self) -> None:
        amount, groups = self.chance.randint(1, 200), self._some(GROUPS)
        debit = self.company.debit(amount, accountGroupIds=groups or None)
        self.debits[debit["transactionId"]] = debit
        self.books.uses[debit["transactionId"]] = Use(self.books.now, SCANS, frozenset(groups), Decimal(amount))

    def give_back(self) -> None:
        transaction = self.chance.choice([each for each, use in self.books.uses.items() if use.left])
        use = self.books.uses[transaction]
        if transaction in self.debits:
            given = Decimal(self.chance.randint(1, int(use.left)))
            refund(self.service, self.debits[transaction], int(given))
        else:
            given = self.chance.choice([use.left, min(use.left, self._amount())])
            self.rules.refund(transaction, f"{given:f}")
        use.left -= given

    def define(self) -> None:
        rule = self.rules.define(self._name(), **self._fields())
        self.books.rules[rule["id"]] = rule

    def change(self) -> None:
        rule = self.chance.choice([*self.books.rules.values()])
        fields = self._fields() | {"name": self._name()}
        chosen = {name: fields[name] for name in self.chance.sample(sorted(fields), self.chance.randint(0, 3))}
        changed = self.books.rules[rule["id"]] = self.rules.change(rule, **chosen)
        assert changed == rule | {name: value for name, value in chosen.items() if value is not None}

    def remove(self) -> None:
        if len(self.books.rules) > RULES_MIN:
            self.rules.remove(self.books.rules.pop(self.chance.choice([*self.books.rules])))

    def grant(self) -> None:
        amount, begins = self._amount(), self.books.now + self._while() * self.chance.randint(0, 1)
        ends = self.chance.choice([NEVER, begins + self._while()])
        given = {"effectiveAt": begins.isoformat(), "expireAt": None if ends == NEVER else ends.isoformat()}
        self.grants.append(self.rules.grant(f"{amount:f}", "reserve", **given))
        self.books.lots[self.grants[-1]] = Lot(amount, begins, ends)

    def void(self) -> None:
        alive = [grant for grant in self.grants if self.books.lots[grant].ends > self.books.now]
        if alive:
            grant = self.chance.choice(alive)
            self.service.data(VOID, input={"id": grant})
            self.books.lots[grant].ends = self.books.now
            self.grants.remove(grant)

    def move_on(self) -> None:
        now = self.books.now
        month = window_of({"type": "from_now", "value": "month"}, now)[1]
        self.books.now = max(now, self.chance.choice([now + self._while(), month, month - TICK]))
        move(self.service, self.books.now)
        self._renew()

    def ask(self) -> None:
        names = [rule["name"] for rule in self.books.rules.values()]
        request = {
            "timeRange": self._range(),
            "ruleNames": self.chance.choice([None, None, [], ["nobody", *self._some(names)]]),
            "accountGroupIds": self.chance.choice([None, None, [], ["nothing", *self._some(GROUPS)]]),
            "thresholdFilter": self.chance.choice([None, "AboveThreshold", "BelowThreshold"]),
        }
        self._page(request, None, self.books.listed(request))

    def turn_a_page(self) -> None:
        if self.pages:
            self._page(*self.pages.pop(self.chance.randrange(len(self.pages))))

    def sum_up(self) -> None:
        time_range = self._range()
        told = json.loads(self.rules.summary(timeRange=time_range).text, parse_float=Fraction, parse_int=Fraction)
        assert (told["purchased"], told["usage"]) == self.books.summed(time_range), (time_range, self.books.now)

    def _page(self, request: Rule, token: str | None, coming: ToldRules) -> None:
        limit = self.chance.choice([1, 2, 3, 5, None])
        page = self.rules.list(limit=limit, pageToken=token, **request)
        expected, left = coming[:limit], [] if limit is None else coming[limit:]
        assert page["rules"] == (expected or None), (request, self.books.now)
        assert (page["pageToken"] is None) == (left == [])
        if left:
            self.pages.append((request, page["pageToken"], left))

    def _renew(self) -> None:
        while (begins := forth(BEGINS, "month", self.periods)) <= self.books.now:
            self.periods += 1
            self.books.lots[f"period {self.periods}"] = Lot(
                Decimal(ALLOTMENT), begins, forth(BEGINS, "month", self.periods)
            )

    def _some(self, values: Any) -> list[str]:
        return self.chance.sample(values, self.chance.choice([0, 1, 1, 2, min(3, len(values))]))

    def _amount(self) -> Decimal:
        units = [self.chance.randint(1, 150) * 10**9, self.chance.randint(1, 10**11), 1, 5 * 10**8, 10**18 + 1]
        return Decimal(self.chance.choice(units)).scaleb(-9)

    def _while(self) -> timedelta:
        lengths = [TICK, timedelta(hours=1), timedelta(days=1), timedelta(minutes=self.chance.randint(1, 30_000))]
        return self.chance.choice(lengths)

    def _instant(self) -> datetime:
        """Of a use: now, before now, or at the edge of some window."""
        edge = window_of(self._range(), self.books.now)[0] + self.chance.randint(-1, 1) * TICK
        return min(self.books.now, self.chance.choice([self.books.now, self.books.now - self._while(), edge, edge]))

    def _range(self) -> dict[str, Any] | None:
        unit = self.chance.choice(["hour", "day", "month", "year"])
        start = int(self.books.now.timestamp() * 1000) - self.chance.randint(-(10**8), 10**10)
        return self.chance.choice([
            None,
            {"type": "relative", "value": {"unit": unit, "amount": self.chance.randint(1, 3)}},
            {"type": "relative", "value": {"unit": "week", "amount": self.chance.randint(1, 9)}},
            {"type": "to_now", "value": self.chance.choice([unit, {"unit": unit}])},
            {"type": "from_now", "value": self.chance.choice([unit, {"unit": unit}])},
            {"type": "absolute", "value": {"startTime": start, "endTime": start + self.chance.randint(1, 10**10)}},
        ])  # fmt: skip

    def _fields(self) -> dict[str, Any]:
        return {
            "allocatedCredits": self.chance.choice([0, 1, 3, 100, 1000, 2**31 - 1]),
            "alarmThreshold": self.chance.choice([0, 1, 33, 50, 100]),
            "accountGroups": self.chance.sample(GROUPS, self.chance.randint(1, 3)),
            "currencyId": self.chance.choice([None, None, *CURRENCIES, SCANS]),
        }

    def _name(self) -> str:
        begins = self.chance.choice(["A", "a", "B", "b", "_", "\u00e9", "\uffff", "\U0001f600"])
        return f"{begins} {self.rules.customer} {self.chance.getrandbits(32)}"


def test_a_long_life_is_told_as_a_naive_model_tells_it(service: Service, customer: str) -> None:
    chance = random.Random(20280131)
    life = Life(service, Rules(service, customer), chance)
    for _ in range(RULES_MIN):
        life.define()
    for act in chance.choices([*ACTS], [*ACTS.values()], k=STEPS):
        getattr(life, act)()
    life.pages.sort(key=lambda page: page[1])
    while life.pages:
        life.turn_a_page()
