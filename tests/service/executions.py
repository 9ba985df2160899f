"""A company and what it asks of its execution credits over GraphQL."""

import calendar
import secrets
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier
from typing import Any

from psycopg.rows import DictRow

from ledger.store.database import Database, Role
from tests.service.serving import ANSWER_SECONDS_MAX, Service
from tests.service.test_graphql_clock import move, now, read

TRANSACTION = """
id transactionId executionCreditId transactionType credits projectId createdAt updatedAt
"""
CREDIT = f"""
id company {{ id label }} companyId creditType rollupType credits usedCredits transactions {{ {TRANSACTION} }}
createdAt updatedAt deletedAt
"""


def mutation(name: str, fields: str) -> str:
    """A document of one mutation; its payload is called `answer`."""
    input_type = f"{name[0].upper()}{name[1:]}Input!"
    return f"mutation ($input: {input_type}) {{ answer: {name}(input: $input) {{ clientMutationId errors {fields} }} }}"


CREATE = mutation("createExecutionCredit", f"executionCredit {{ {CREDIT} }}")
UPDATE = mutation("updateExecutionCredit", f"executionCredit {{ {CREDIT} }}")
DELETE = mutation("deleteExecutionCredit", "deletedId")
DEBIT = mutation("debitExecutionCredits", f"transactionId position transactions {{ {TRANSACTION} }}")
REFUND = mutation("refundExecutionCredits", f"transactionId position transactions {{ {TRANSACTION} }}")
ONE = f"query ($id: ID!) {{ executionCredit(id: $id) {{ {CREDIT} }} }}"
LIST = "query ($company: ID) { executionCredits(companyId: $company) { collection { id rollupType } } }"
RENEWING = ("MONTHLY", "QUARTERLY", "SEMIANNUAL", "YEARLY")
CREDIT_TYPES = ("AI_PENTEST", "DAST")

Parts = list[tuple[str, int]]
"""Credit and amount of each part of a debit or a refund, in order."""


def done(service: Service, document: str, given: dict[str, Any], headers: dict[str, str] | None = None) -> Any:
    """The payload of a mutation that succeeded."""
    payload = service.data(document, headers, input=given)["answer"]
    assert payload["errors"] is None, payload
    return payload


def refusal(service: Service, document: str, given: dict[str, Any], headers: dict[str, str] | None = None) -> str:
    """The one message of a mutation that a rule refused; its payload has nothing else."""
    return message_of(service.data(document, headers, input=given)["answer"])


def message_of(payload: dict[str, Any]) -> str:
    """The one message of a payload that has nothing else."""
    message: str
    (message,) = payload["errors"]
    assert {name for name, value in payload.items() if value is not None} - {"clientMutationId"} == {"errors"}
    return message


class Company:
    """A company that no other test knows, on one service; each of its requests has a key of its own."""

    def __init__(self, service: Service, id: str | None = None) -> None:
        self.service = service
        self.id = id or f"company-{secrets.token_hex(6)}"

    def creation(self, rollup_type: str = "MONTHLY", credits: int = 10, **given: Any) -> dict[str, Any]:
        fields = {"companyId": self.id, "creditType": "AI_PENTEST", "rollupType": rollup_type, "credits": credits}
        return fields | given

    def use(self, credits: int, **given: Any) -> dict[str, Any]:
        fields = {"companyId": self.id, "creditType": "AI_PENTEST", "credits": credits}
        return fields | {"idempotencyKey": secrets.token_hex(8)} | given

    def create(self, rollup_type: str = "MONTHLY", credits: int = 10, **given: Any) -> str:
        """The id of a new credit."""
        created: str = done(self.service, CREATE, self.creation(rollup_type, credits, **given))["executionCredit"]["id"]
        return created

    def debit(self, credits: int, **given: Any) -> Any:
        return done(self.service, DEBIT, self.use(credits, **given))

    def refused_debit(self, credits: int, **given: Any) -> str:
        return refusal(self.service, DEBIT, self.use(credits, **given))

    def has(self, available: int, credit_type: str = "AI_PENTEST") -> bool:
        """Whether a debit finds just so much, which is above zero: of one more it says so."""
        says = f"Insufficient credits: {available + 1} requested, {available} available for {credit_type}"
        return self.refused_debit(available + 1, creditType=credit_type) == says

    def listed(self) -> list[str]:
        """The credits that the company's list shows."""
        found = read(self.service, LIST, company=self.id)["executionCredits"]["collection"]
        return [credit["id"] for credit in found]


def giving_back(debit: dict[str, Any], credits: int | None = None, **given: Any) -> dict[str, Any]:
    """The input of a refund of a debit; by default of all that is left."""
    return {
        "transactionId": debit["transactionId"], "credits": credits, "idempotencyKey": secrets.token_hex(8),
    } | given  # fmt: skip


def refund(service: Service, debit: dict[str, Any], credits: int | None = None, **given: Any) -> Any:
    return done(service, REFUND, giving_back(debit, credits, **given))


def update(service: Service, credit: str, **given: Any) -> Any:
    """The credit as the update left it."""
    return done(service, UPDATE, {"id": credit} | given)["executionCredit"]


def delete(service: Service, credit: str) -> None:
    assert done(service, DELETE, {"id": credit})["deletedId"] == credit


def shown(service: Service, credit: str) -> Any:
    """A credit as a read at the head of the log shows it."""
    return read(service, ONE, id=credit)["executionCredit"]


def used(service: Service, *credits: str) -> list[int]:
    """The used credits of each."""
    return [shown(service, credit)["usedCredits"] for credit in credits]


def parts(payload: dict[str, Any]) -> Parts:
    """The parts of a debit or refund, which share its id."""
    assert {part["transactionId"] for part in payload["transactions"]} == {payload["transactionId"]}
    return [(part["executionCreditId"], part["credits"]) for part in payload["transactions"]]


def movements(schema: Database, company: str) -> list[DictRow]:
    """Every event on a company's execution credits, as the log tells them; `credits` is the amount, null if none."""
    with schema.connect(Role.READER) as connection:
        return connection.execute(
            "SELECT *, amount::float AS credits FROM movements "
            "WHERE kind = 'EXECUTION_CREDIT' AND holder = %s ORDER BY position",
            [company],
        ).fetchall()


def renewals(schema: Database, company: str) -> list[datetime]:
    """At which instants a company's credits were renewed."""
    return [row["effective_at"] for row in movements(schema, company) if row["cause"] == "RENEWED"]


def last_of_january(service: Service, *, leap: bool = False) -> datetime:
    """Move the clock to noon of 31 January in a year that no test has used, and that has a 29 February or has none."""
    year = now(service).year + 1
    while calendar.isleap(year) != leap:
        year += 1
    instant = datetime(year, 1, 31, 12, tzinfo=UTC)
    move(service, instant)
    return instant


def at_once(service: Service, document: str, inputs: list[dict[str, Any]]) -> list[Any]:
    """The payloads of one mutation that as many threads, each on a connection of its own, send at the same moment."""
    together = Barrier(len(inputs))

    def send(given: dict[str, Any]) -> Any:
        together.wait(ANSWER_SECONDS_MAX)
        return service.data(document, input=given)["answer"]

    with ThreadPoolExecutor(len(inputs)) as threads:
        return list(threads.map(send, inputs))
