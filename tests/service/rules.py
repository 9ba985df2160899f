"""Somebody who makes allocation rules and uses credits, over HTTP."""

import itertools
import json
import secrets
from typing import Any

import httpx

from tests.service.serving import Service

API = "/license/api/v1"
LIST, RULE = f"{API}/credit-allocation-rules", f"{API}/credit-allocation-rule"
SUMMARY, NAMES = f"{API}/credit-allocation-rule-summary", f"{API}/credit-allocation-rule-names"
GRANT = "mutation ($input: CreditGrantInput!) { createCreditGrant(input: $input) { id } }"
CONSUME = "mutation ($input: ConsumeCreditInput!) { consumeCredits(input: $input) { transactionId } }"
REFUND = "mutation ($input: RefundCreditsInput!) { refundCredits(input: $input) { transactionId } }"
MUCH = "9999999999999999999"
PROBLEM = {"timestamp", "status", "error", "message", "path"}
Rule = dict[str, Any]
ToldRules = list[Rule]


class Rules:
    """Rules that are called after a customer, and what this customer uses; a service's tests see all rules of it.

    Every read is right at the head of the log.
    """

    def __init__(self, service: Service, customer: str) -> None:
        self.service = service
        self.customer = customer
        self.group = f"group of {customer}"
        self.names: list[str] = []
        self._numbers = itertools.count()
        self._granted: set[str] = set()

    def wanted(self, name: str | None = None, **fields: Any) -> dict[str, Any]:
        """What a rule is made with: by default 100 credits for the customer's own group, to warn from 50 percent on."""
        return {
            "name": f"{self.customer} {next(self._numbers):04}" if name is None else name,
            "targetType": "AccountGroup",
            "allocatedCredits": 100,
            "alarmThreshold": 50,
            "accountGroups": [self.group],
        } | fields

    def define(self, name: str | None = None, **fields: Any) -> Rule:
        """A new rule, as it was answered."""
        rule = _done(self.service.http.post(RULE, json=self.wanted(name, **fields)))
        self.names.append(rule["name"])
        return rule

    def change(self, rule: Rule, **fields: Any) -> Rule:
        """The rule as it is afterwards."""
        changed = _done(self.service.http.patch(f"{RULE}/{rule['id']}", json=fields))
        self.names[self.names.index(rule["name"])] = changed["name"]
        return changed

    def remove(self, rule: Rule) -> None:
        answer = self.service.http.delete(f"{RULE}/{rule['id']}")
        assert (answer.status_code, answer.content) == (200, b""), answer.text
        self.names.remove(rule["name"])

    def use(self, amount: object, *groups: str, at: str | None = None, currency: str = "credits") -> str:
        """Use credits, of which there are plenty; the transaction."""
        if currency not in self._granted:
            self._granted.add(currency)
            self.grant(MUCH, currency)
        used = {
            "customerId": self.customer, "currencyId": currency, "amountExact": str(amount), "createdAt": at,
            "accountGroupIds": list(groups) or None, "idempotencyKey": secrets.token_hex(8),
        }  # fmt: skip
        transaction: str = self.service.data(CONSUME, input=used)["consumeCredits"]["transactionId"]
        return transaction

    def refund(self, transaction: str, amount: object = None) -> None:
        """Give back some of a use; by default all that is left."""
        exact = None if amount is None else str(amount)
        given = {"transactionId": transaction, "amountExact": exact, "idempotencyKey": secrets.token_hex(8)}
        self.service.data(REFUND, input=given)

    def grant(self, amount: object, currency: str = "credits", **given: Any) -> str:
        """Give the customer credits; the grant."""
        fields = {"customerId": self.customer, "currencyId": currency, "displayName": "grant", "grantType": "PAID"}
        made = self.service.data(GRANT, input=fields | {"amountExact": str(amount)} | given)
        grant: str = made["createCreditGrant"]["id"]
        return grant

    def list(self, **body: Any) -> dict[str, Any]:
        """A page of all the rules that there are."""
        return _done(self.ask(LIST, body))

    def own(self, **body: Any) -> ToldRules:
        """These rules alone, as a list tells them; at most 1000."""
        if not self.names:
            return []
        found: ToldRules = self.list(ruleNames=self.names, limit=1000, **body)["rules"] or []
        return found

    def usage(self, **body: Any) -> dict[str, tuple[int, int]]:
        """usedCredits and percentage of each of these rules, by its name."""
        found = self.own(**body)
        usage = {rule["name"]: (rule["usedCredits"], rule["percentage"]) for rule in found}
        assert len(usage) == len(found)
        return usage

    def used(self, rule: Rule, **body: Any) -> int:
        """usedCredits of one rule."""
        (found,) = self.list(ruleNames=[rule["name"]], **body)["rules"]
        used: int = found["usedCredits"]
        return used

    def summary(self, **body: Any) -> httpx.Response:
        return self.ask(SUMMARY, body)

    def refused(self, path: str = LIST, **body: Any) -> str:
        """The message of a request that is refused for what is in it."""
        answer = self.ask(path, body)
        problem = answer.json()
        assert (answer.status_code, problem.keys(), problem["status"], problem["path"]) == (400, PROBLEM, 400, path)
        message: str = problem["message"]
        return message

    def ask(self, path: str, body: Any) -> httpx.Response:
        """A question that is answered at the head of the log."""
        head = self.service.http.get("/readyz").json()["head"]
        headers = {"X-Ledger-At-Least": str(head), "Content-Type": "application/json"}
        return self.service.http.post(path, content=json.dumps(body), headers=headers)


def _done(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body
