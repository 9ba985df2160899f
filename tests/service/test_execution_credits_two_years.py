"""Two years of a company's execution credits by HTTP: after every step all figures are what another model has."""

from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, NamedTuple

import httpx

from ledger.store.clock import set_test_clock, settable_clock
from ledger.store.database import Database, Role
from service.doctor import examine
from tests.service.load import eventually
from tests.service.naive_execution_credits import (
    ADDON,
    MONTHS,
    Create,
    Debit,
    Delete,
    NaiveCredit,
    NaiveExecutionCredits,
    Period,
    Refund,
    Refused,
    Step,
    Transaction,
    Update,
    credit_on_the_wire,
    transaction_on_the_wire,
)
from tests.service.serving import ANSWER_SECONDS_MAX, Service, serving

COMPANY = "acme"
BEGINS = datetime(2026, 1, 31, 12, tzinfo=UTC)
ENDS = datetime(2028, 2, 29, 12, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
CREDIT_TYPES = ("AI_PENTEST", "DAST")
ROLLUP_TYPES = (*MONTHS, ADDON)
TRANSACTIONS_MAX = 1000
NEWEST = 2
TRANSACTION = """
fragment transaction on ExecutionCreditTransaction {
  id transactionId executionCreditId transactionType credits projectId createdAt updatedAt
}
"""
CREDIT = """
fragment credit on ExecutionCredit {
  id company { id label } companyId creditType rollupType credits usedCredits createdAt updatedAt deletedAt
  transactions { ...transaction executionCredit { id usedCredits } }
}
"""
PAGE = """
fragment page on ExecutionCreditCollection {
  collection { id } metadata { currentPage limitValue totalCount totalPages }
}
"""
NEWEST_OF_CREDIT = CREDIT.replace("transactions {", "transactions(limit: $newest) {")
SHOWS_CREDIT = ("executionCredit { ...credit }", CREDIT + TRANSACTION)
SHOWS_TRANSACTIONS = ("transactionId transactions { ...transaction }", TRANSACTION)
MUTATIONS = {
    Create: ("create", "Credit", *SHOWS_CREDIT),
    Update: ("update", "Credit", *SHOWS_CREDIT),
    Delete: ("delete", "Credit", "deletedId", ""),
    Debit: ("debit", "Credits", *SHOWS_TRANSACTIONS),
    Refund: ("refund", "Credits", *SHOWS_TRANSACTIONS),
}
TWO_DEBITS = """
mutation ($one: DebitExecutionCreditsInput!, $other: DebitExecutionCreditsInput!) {
  one: debitExecutionCredits(input: $one) { errors }
  other: debitExecutionCredits(input: $other) { errors }
}
"""
PERIODS = """
SELECT stream_id::text AS credit, cause, effective_at, lot_expires_at, amount::integer FROM movements
WHERE type = 'ledger.granted' AND cause IN ('ISSUED', 'RENEWED') ORDER BY stream_id, position
"""


class Row(NamedTuple):
    """At an instant a step is sent; a name that was sent before is the same request again.

    `then` is what comes of it: used/credits of every credit that is not deleted, or why it was refused.
    """

    at: str
    name: str
    step: Step | None
    then: str


NOTHING_LEFT = "Insufficient credits: no available recurrent balance and no ADDON pool found for AI_PENTEST"
UNTIL_THE_SLEEP = [
    Row("2026-01-31T12:00:00", "pentest", Create("AI_PENTEST", 10, "MONTHLY"), "0/10"),
    Row("2026-02-01T00:00:00", "dast", Create("DAST", 24, "YEARLY", BEGINS), "0/10 0/24"),
    Row("2026-02-01T00:00:00", "second", Create("DAST", 1, "MONTHLY"),
        "company acme already has a live renewing credit for DAST"),
    Row("2026-02-02T08:00:00", "d1", Debit("AI_PENTEST", 11),
        "Insufficient credits: 11 requested, 10 available for AI_PENTEST"),
    Row("2026-02-02T08:00:00", "d1", Debit("AI_PENTEST", 10), "10/10 0/24"),
    Row("2026-02-02T09:00:00", "d2", Debit("AI_PENTEST", 1), NOTHING_LEFT),
    Row("2026-02-03T00:00:00", "pentest+", Create("AI_PENTEST", 5, ADDON), "10/10 0/24 0/5"),
    Row("2026-02-04T00:00:00", "dast+", Create("DAST", 4, ADDON), "10/10 0/24 0/5 0/4"),
    Row("2026-02-05T00:00:00", "d3", Debit("DAST", 26, project="shop"), "10/10 24/24 0/5 2/4"),
    Row("2026-02-05T10:00:00", "r1", Refund("d3", 3), "10/10 23/24 0/5 0/4"),
    Row("2026-02-05T10:00:00", "r1", Refund("d3", 3), "10/10 23/24 0/5 0/4"),
    Row("2026-02-05T11:00:00", "r2", Refund("r1", 1), "no debit r1"),
    Row("2026-02-06T00:00:00", "r2", Refund("d1", 4), "6/10 23/24 0/5 0/4"),
    Row("2026-02-06T00:00:00", "r3", Refund("d1", 7), "7 credits to refund, 6 left to refund"),
    Row("2026-02-07T00:00:00", "d4", Debit("AI_PENTEST", 6, project="7"), "10/10 23/24 2/5 0/4"),
    Row("2026-02-28T11:59:59.999999", "", None, "10/10 23/24 2/5 0/4"),
    Row("2026-02-28T12:00:00", "", None, "0/10 23/24 2/5 0/4"),
    Row("2026-03-01T00:00:00", "r4", Refund("d4"), "0/10 23/24 0/5 0/4"),
    Row("2026-03-01T00:00:00", "r5", Refund("d4", 1), "1 credit to refund, 0 left to refund"),
    Row("2026-03-02T00:00:00", "d5", Debit("AI_PENTEST", 13), "10/10 23/24 3/5 0/4"),
    Row("2026-03-05T00:00:00", "u1", Update("pentest", credits=20), "10/20 23/24 3/5 0/4"),
    Row("2026-03-06T00:00:00", "d6", Debit("AI_PENTEST", 7), "17/20 23/24 3/5 0/4"),
    Row("2026-03-07T00:00:00", "u2", Update("pentest", credits=16), "credits cannot be lowered to 16: 17 are used"),
    Row("2026-03-07T00:00:00", "u2", Update("pentest", credits=17), "17/17 23/24 3/5 0/4"),
    Row("2026-03-08T00:00:00", "d7", Debit("AI_PENTEST", 3),
        "Insufficient credits: 3 requested, 2 available for AI_PENTEST"),
    Row("2026-03-30T00:00:00", "r6", Refund("d5", 4), "16/17 23/24 0/5 0/4"),
    Row("2026-03-31T11:59:59.999999", "", None, "16/17 23/24 0/5 0/4"),
    Row("2026-03-31T12:00:00", "", None, "0/17 23/24 0/5 0/4"),
    Row("2026-04-10T00:00:00", "u3", Update("pentest", rollup_type=ADDON),
        "rollupType cannot be changed from MONTHLY to ADDON"),
    Row("2026-04-29T00:00:00", "d8", Debit("AI_PENTEST", 18), "17/17 23/24 1/5 0/4"),
    Row("2026-04-30T12:00:00", "d9", Debit("AI_PENTEST", 5), "5/17 23/24 1/5 0/4"),
    Row("2026-05-10T00:00:00", "u4", Update("pentest", rollup_type="QUARTERLY"), "5/17 23/24 1/5 0/4"),
    Row("2026-05-31T11:59:59.999999", "", None, "5/17 23/24 1/5 0/4"),
    Row("2026-05-31T12:00:00", "d10", Debit("AI_PENTEST", 4), "4/17 23/24 1/5 0/4"),
    Row("2026-07-31T12:00:00", "", None, "4/17 23/24 1/5 0/4"),
    Row("2026-08-01T00:00:00", "d11", Debit("DAST", 3), "4/17 24/24 1/5 2/4"),
    Row("2026-08-02T00:00:00", "x1", Delete("dast+"), "4/17 24/24 1/5"),
    Row("2026-08-02T00:00:00", "x2", Delete("dast+"), "execution credit dast+ is deleted"),
    Row("2026-08-02T00:00:00", "u5", Update("dast+", credits=9), "execution credit dast+ is deleted"),
    Row("2026-08-03T00:00:00", "d12", Debit("DAST", 1),
        "Insufficient credits: no available recurrent balance and no ADDON pool found for DAST"),
    Row("2026-08-04T00:00:00", "r7", Refund("d11"), "4/17 23/24 1/5"),
    Row("2026-08-05T00:00:00", "dast++", Create("DAST", 2, ADDON), "4/17 23/24 1/5 0/2"),
    Row("2026-08-31T11:59:59.999999", "", None, "4/17 23/24 1/5 0/2"),
    Row("2026-08-31T12:00:00", "", None, "0/17 23/24 1/5 0/2"),
    Row("2026-09-01T00:00:00", "u6", Update("pentest", rollup_type="MONTHLY"), "0/17 23/24 1/5 0/2"),
    Row("2026-09-02T00:00:00", "d13", Debit("AI_PENTEST", 3), "3/17 23/24 1/5 0/2"),
    Row("2026-09-05T00:00:00", "d14", Debit("DAST", 2), "3/17 24/24 1/5 1/2"),
]  # fmt: skip
WAKES = "2027-02-05T00:00:00"
ASLEEP = [
    Row(WAKES, "", None, "0/17 0/24 1/5 1/2"),
    Row(WAKES, "d15", Debit("AI_PENTEST", 22), "Insufficient credits: 22 requested, 21 available for AI_PENTEST"),
]
AWAKE = [
    Row(WAKES, "", None, "0/17 0/24 1/5 1/2"),
    Row(WAKES, "r8", Refund("d14"), "0/17 0/24 1/5 0/2"),
    Row("2027-02-06T00:00:00", "d16", Debit("AI_PENTEST", 20), "17/17 0/24 4/5 0/2"),
    Row("2027-02-07T00:00:00", "x3", Delete("pentest"), "0/24 4/5 0/2"),
    Row("2027-02-08T00:00:00", "r9", Refund("d16", 4), "0/24 1/5 0/2"),
    Row("2027-02-08T00:00:00", "d17", Debit("AI_PENTEST", 5),
        "Insufficient credits: 5 requested, 4 available for AI_PENTEST"),
    Row("2027-02-20T00:00:00", "again", Create("AI_PENTEST", 8, "MONTHLY", datetime(2026, 8, 29, 6, tzinfo=UTC)),
        "0/24 1/5 0/2 0/8"),
    Row("2027-02-21T00:00:00", "d18", Debit("AI_PENTEST", 9), "0/24 2/5 0/2 8/8"),
    Row("2027-02-28T05:59:59.999999", "", None, "0/24 2/5 0/2 8/8"),
    Row("2027-02-28T06:00:00", "", None, "0/24 2/5 0/2 0/8"),
    Row("2027-03-29T06:00:00", "d19", Debit("AI_PENTEST", 2), "0/24 2/5 0/2 2/8"),
    Row("2027-12-31T23:59:59.999999", "d20", Debit("DAST", 25), "24/24 2/5 1/2 0/8"),
    Row("2028-01-31T11:59:59.999999", "r10", Refund("d20", 2), "23/24 2/5 0/2 0/8"),
    Row("2028-01-31T12:00:00", "r11", Refund("d20"), "0/24 2/5 0/2 0/8"),
    Row("2028-02-29T05:59:59.999999", "d21", Debit("AI_PENTEST", 1), "0/24 2/5 0/2 1/8"),
    Row("2028-02-29T06:00:00", "", None, "0/24 2/5 0/2 0/8"),
]  # fmt: skip


class SideBySide:
    """The service and the model: every step goes to both, and then they agree about everything that can be asked."""

    def __init__(self, service: Service, database: Database) -> None:
        self.service = service
        self.naive = NaiveExecutionCredits(COMPANY, BEGINS)
        self.sent: dict[str, tuple[Step, list[Transaction]]] = {}
        """The steps that were carried out, by their names, which are their idempotency keys."""
        self._database = database
        self._ids: dict[str, str] = {}
        """What the service calls that which a step made."""

    def move(self, now: datetime, *, beside: bool = False) -> bool:
        """Set the clock, by the service's door, which then writes what is due, or beside it.

        Returns whether a period has ended.
        """
        if beside:
            with self._database.connect(Role.WRITER) as connection:
                set_test_clock(connection, now)
        else:
            assert self.service.set_clock(now.isoformat()).status_code == 200
        return self.naive.move(now)

    def play(self, rows: list[Row], *, beside: bool = False) -> None:
        for row in rows:
            self.move(datetime.fromisoformat(row.at).replace(tzinfo=UTC), beside=beside)
            refused = None if row.step is None else self.take(row.name, row.step)
            figures = self.agree()
            assert (row, self._with_names(refused or figures)) == (row, row.then)

    def take(self, name: str, step: Step) -> str | None:
        """Send a step, again if its name was sent before; the model answers the same. Returns why it is refused."""
        step = self._with_ids(step)
        verb, noun, shown, fragments = MUTATIONS[type(step)]
        what = f"{verb.capitalize()}Execution{noun}"
        document = (
            f"mutation ($input: {what}Input!) {{ answer: {verb}Execution{noun}(input: $input) {{ errors {shown} }} }}"
        )
        answer = self.service.data(document + fragments, input=fields_of(step) | {"idempotencyKey": name})["answer"]
        errors = answer.pop("errors")
        if name in self.sent:
            assert self.sent[name][0] == step
            made = self.sent[name][1]
        else:
            made_id = (answer.get("executionCredit") or {}).get("id") or answer.get("transactionId") or ""
            made, refusal = self._taken(step, made_id)
            if refusal is not None:
                assert (errors, set(answer.values())) == ([refusal], {None}), step
                return refusal
            if made_id:
                self._ids[name] = made_id
            self.sent[name] = (step, made)
            for transaction, told in zip(made, answer.get("transactions") or (), strict=True):
                transaction.id = told["id"]
        assert (errors, answer) == (None, self._answer(step, made)), step
        return None

    def agree(self, *, briefly: bool = False) -> str:
        """About every credit, every list, and what is said to one who asks for one more than there is.

        Briefly, it looks at what is not deleted, at the newest transactions and one list.
        Returns used/credits of what is not deleted.
        """
        newest = NEWEST if briefly else TRANSACTIONS_MAX
        fields: dict[str, dict[str, Any]] = {}
        for credit in self.naive.listed() if briefly else self.naive.credits.values():
            shown = credit_on_the_wire(credit)
            fields[f'executionCredit(id: "{credit.id}") {{ ...credit }}'] = shown
            shown["transactions"] = shown["transactions"][:newest]
        pages = list(self._pages().items())
        fields |= {f"executionCredits({ask}) {{ ...page }}": page for ask, page in pages[: 1 if briefly else None]}
        asked = " ".join(f"answer{number}: {field}" for number, field in enumerate(fields))
        document = f"query ($newest: Int) {{ {asked} }}" + NEWEST_OF_CREDIT + TRANSACTION + PAGE
        found = dict(zip(fields, self._read(document, newest=newest).values(), strict=True))
        for ask, expected in fields.items():
            assert found[ask] == expected, ask
        too_many = [Debit(credit_type, self.naive.available(credit_type) + 1) for credit_type in CREDIT_TYPES]
        given = [fields_of(step) | {"idempotencyKey": "one too many"} for step in too_many]
        refused = self.service.data(TWO_DEBITS, one=given[0], other=given[1])
        assert [answer["errors"] for answer in refused.values()] == [[self._taken(step, "")[1]] for step in too_many]
        live = [found[ask] for ask in fields if found[ask].get("deletedAt", "a list") is None]
        return " ".join("{usedCredits}/{credits}".format(**credit) for credit in live)

    def close(self) -> None:
        """The log has every period of every credit once, dated when it begins, and the doctor finds nothing."""
        self.move(self.naive.now)
        assert periods_in(self._database) == {credit.id: credit.periods for credit in self.naive.credits.values()}
        assert [found for found in examine(self._database, clock=settable_clock()) if not found.healthy] == []

    def _read(self, document: str, **variables: Any) -> Any:
        """The data of the first answer that does not say that it is behind."""
        answers: list[httpx.Response] = []

        def is_up_to_date() -> bool:
            answers.append(self.service.graphql(document, **variables))
            return "X-Ledger-Stale" not in answers[-1].headers

        assert eventually(is_up_to_date, ANSWER_SECONDS_MAX)
        return answers[-1].json()["data"]

    def _pages(self) -> dict[str, Any]:
        """The page that the model has of each list."""
        listed = self.naive.listed
        pages = {f'companyId: "{COMPANY}"': page_of(listed())}
        pages |= {f"creditType: {wanted}": page_of(listed(credit_type=wanted)) for wanted in CREDIT_TYPES}
        pages |= {f"rollupType: {wanted}": page_of(listed(rollup_type=wanted)) for wanted in ROLLUP_TYPES}
        pages["page: 2, limit: 3"] = page_of(listed(), page=2, limit=3)
        pages["pagination: {page: 1, perPage: 3}"] = page_of(listed(), limit=3)
        return pages

    def _answer(self, step: Step, made: list[Transaction]) -> dict[str, Any]:
        """What the model answers to a step that is carried out."""
        match step:
            case Create() | Update():
                credit_id = step.credit if isinstance(step, Update) else next(reversed(self.naive.credits))
                return {"executionCredit": credit_on_the_wire(self.naive.credits[credit_id])}
            case Delete(credit):
                return {"deletedId": credit}
            case Debit() | Refund():
                shown = [transaction_on_the_wire(transaction) for transaction in made]
                return {"transactionId": made[0].transaction_id, "transactions": shown}

    def _taken(self, step: Step, made_id: str) -> tuple[list[Transaction], str | None]:
        """What the model makes of a step: transactions, or why it refuses it."""
        try:
            return self.naive.take(step, made_id), None
        except Refused as refused:
            return [], str(refused)

    def _with_ids(self, step: Step) -> Step:
        """The step with what the service calls the credit or debit that it names."""
        match step:
            case Update(name) | Delete(name):
                return step._replace(credit=self._ids.get(name, name))
            case Refund(name):
                return step._replace(debit=self._ids.get(name, name))
        return step

    def _with_names(self, text: str) -> str:
        for name, made_id in self._ids.items():
            text = text.replace(made_id, name)
        return text


def fields_of(step: Step) -> dict[str, Any]:
    """The input of a step's mutation, but for its key."""
    match step:
        case Create(credit_type, credits, rollup_type, anchor):
            given = {"companyId": COMPANY, "creditType": credit_type, "credits": credits, "rollupType": rollup_type}
            return given | {"periodAnchor": anchor and anchor.isoformat()}
        case Update(credit, credits, rollup_type):
            return {"id": credit, "credits": credits, "rollupType": rollup_type}
        case Delete(credit):
            return {"id": credit}
        case Debit(credit_type, credits, project):
            return {"companyId": COMPANY, "creditType": credit_type, "credits": credits, "projectId": project}
        case Refund(debit, credits):
            return {"transactionId": debit, "credits": credits}


def page_of(credits: list[NaiveCredit], page: int = 1, limit: int = 25) -> dict[str, Any]:
    return {
        "collection": [{"id": credit.id} for credit in credits[(page - 1) * limit : page * limit]],
        "metadata": {
            "currentPage": page,
            "limitValue": limit,
            "totalCount": len(credits),
            "totalPages": -(-len(credits) // limit),
        },
    }


def periods_in(database: Database) -> dict[str, list[Period]]:
    """What the log grants each credit for its periods, in the order of the log."""
    with database.connect(Role.READER) as connection:
        rows: Any = connection.execute(PERIODS).fetchall()
    periods: dict[str, list[Period]] = {}
    for row in rows:
        assert row["cause"] == ("RENEWED" if row["credit"] in periods else "ISSUED")
        periods.setdefault(row["credit"], []).append(Period(row["effective_at"], row["lot_expires_at"], row["amount"]))
    return periods


def head(service: Service) -> str:
    position: str = service.http.get("/readyz").json()["head"]
    return position


FIRST = (
    Create("AI_PENTEST", 20, "MONTHLY"),
    Create("DAST", 20, "YEARLY"),
    Create("AI_PENTEST", 20, ADDON),
    Create("DAST", 20, ADDON),
)


def some_instant(dice: Random, naive: NaiveExecutionCredits) -> datetime:
    """Often the same again, or soon; now and then at the turn of a period, seldom months later."""
    turns = [credit.ends_at for credit in naive.listed() if credit.ends_at is not None]
    match dice.choices(("now", "soon", "turn", "late"), (490, 410, 80, 4))[0]:
        case "soon":
            return naive.now + timedelta(seconds=dice.randint(1, 300_000), microseconds=dice.choice((0, 1, 1000)))
        case "turn" if turns:
            return max(naive.now, min(turns) + dice.choice((-1, 0, 1)) * MICROSECOND)
        case "late":
            return naive.now + timedelta(days=dice.randint(40, 150))
    return naive.now


def some_step(dice: Random, naive: NaiveExecutionCredits) -> Step:
    """Most can be carried out; some ask for a little too much, or for what there is already."""
    credit_type = dice.choice(CREDIT_TYPES)
    match dice.choices(("debit", "refund", "resize", "cycle", "delete", "create"), (46, 25, 12, 8, 2, 7))[0]:
        case "debit":
            most = naive.available(credit_type) + 1
            return Debit(credit_type, min(most, dice.randint(1, 20)), dice.choice((None, "shop")))
        case "refund" if naive.debits:
            debit = dice.choice(list(naive.debits)[-12:])
            most = sum(draw.left for draw in naive.debits[debit]) + 1
            return Refund(debit, dice.choice((None, dice.randint(1, most))) if most > 1 else 1)
        case "resize" if live := naive.listed(credit_type):
            credit = dice.choice(live)
            return Update(credit.id, credits=max(1, credit.used + dice.randint(-2, 40)))
        case "cycle" if live := naive.listed(credit_type):
            credit = live[0]
            return Update(
                credit.id, rollup_type=dice.choice([each for each in MONTHS if each != credit.next_rollup_type])
            )
        case "delete":
            return Delete(dice.choice(list(naive.credits)))
    anchor = naive.now - timedelta(days=dice.randint(0, 400))
    rollup_type = dice.choice((*MONTHS, ADDON, ADDON))
    return Create(credit_type, dice.randint(1, 30), rollup_type, dice.choice((None, anchor)))


def running(database: Database, *arguments: str) -> AbstractContextManager[Service]:
    return serving(
        *arguments,
        database_url=database.dsn,
        schema=database.schema,
        test_clock="1",
        execution_requests_per_minute="100000",
    )


def test_two_years_step_by_step_with_a_sleep_of_five_months(database: Database) -> None:
    with running(database) as service:
        books = SideBySide(service, database)
        books.play(UNTIL_THE_SLEEP)
    with running(database, "--no-worker") as books.service:
        before = head(books.service)
        books.play(ASLEEP, beside=True)
        assert head(books.service) == before  # what was due was computed, and nobody has written it
        assert books.take("u7", Update("pentest", rollup_type="QUARTERLY")) is None
    with running(database) as books.service:
        books.play(AWAKE)
        books.close()


def test_two_years_as_chance_has_them(database: Database) -> None:
    dice = Random(125)
    with running(database) as service:
        books = SideBySide(service, database)
        books.move(BEGINS)
        for first in FIRST:
            books.take(f"first {first}", first)
        number = 0
        while books.naive.now < ENDS:
            instant, beside = some_instant(dice, books.naive), dice.random() < 0.5
            if instant > books.naive.now and books.move(instant, beside=beside):
                books.agree()
            again = [name for name, (step, _) in books.sent.items() if isinstance(step, Debit | Refund)]
            if again and dice.random() < 0.04:
                name = dice.choice(again)
                books.take(name, books.sent[name][0])
            else:
                books.take(f"step {number}", some_step(dice, books.naive))
            books.agree(briefly=number % 8 > 0)
            number += 1
        assert number > 150
        books.close()
