"""Somebody who uses credits through the REST door, and the same through GraphQL to compare with."""

import json
import secrets
from typing import Any

import httpx

from tests.service.executions import CREATE
from tests.service.serving import Service

DEBITS, BATCH, REFUNDS, BALANCES = "/v1/debits", "/v1/debits:batch", "/v1/refunds", "/v1/balances"
GRANT = "mutation ($input: CreditGrantInput!) { createCreditGrant(input: $input) { id } }"
CONSUME = """
mutation ($input: ConsumeCreditInput!) { answer: consumeCredits(input: $input) {
  transactionId customerId currencyId resourceId amountExact timestamp
  draws { creditGrantId amountExact } position replayed
} }
"""
REFUND = """
mutation ($input: RefundCreditsInput!) { answer: refundCredits(input: $input) {
  transactionId refundedTransactionId amountExact timestamp draws { creditGrantId amountExact } position replayed
} }
"""
NOW = "2026-01-31T12:00:00.000Z"
"""Where the test clock stands."""
JSON = dict[str, Any]
Headers = dict[str, str] | None


def granted(service: Service, holder: str, amount: int | str = 100, **fields: Any) -> str:
    """The id of a new grant."""
    given = {"customerId": holder, "currencyId": "credits", "displayName": "g", "grantType": "PAID"} | fields
    exact = {"amountExact": str(amount)}
    grant: str = service.data(GRANT, input=given | exact)["createCreditGrant"]["id"]
    return grant


def allotted(service: Service, company: str, credits: int = 100) -> None:
    """The company has an ADDON of that size."""
    given = {"companyId": company, "creditType": "DAST", "rollupType": "ADDON", "credits": credits}
    assert service.data(CREATE, input=given)["answer"]["errors"] is None


def debit(holder: str, amount: Any = "1", **fields: Any) -> JSON:
    return {"holder": holder, "currency": "credits", "amount": amount} | fields


def execution(company: str, amount: Any = 1, **fields: Any) -> JSON:
    return {"kind": "EXECUTION_CREDIT", "holder": company, "currency": "DAST", "amount": amount} | fields


def sent(service: Service, path: str, body: object, headers: Headers = None) -> httpx.Response:
    """A body as it is, or as JSON; a `Raw` in it stands for its own text."""
    content = body if isinstance(body, bytes) else written(body).encode()
    return service.http.post(path, content=content, headers=headers)


class Raw(str):
    """JSON that no value of Python's stands for, like 1.50 or a number of a thousand digits."""


def written(value: object) -> str:
    """JSON, in which each `Raw` stands as it is."""
    marks: dict[str, str] = {}

    def marked(value: object) -> object:
        if isinstance(value, Raw):
            mark = secrets.token_hex(16)
            marks[f'"{mark}"'] = str(value)
            return mark
        if isinstance(value, dict):
            return {name: marked(each) for name, each in value.items()}
        return [marked(each) for each in value] if isinstance(value, list) else value

    text = json.dumps(marked(value))
    for mark, raw in marks.items():
        text = text.replace(mark, raw)
    return text


def done(service: Service, path: str, body: object, headers: Headers = None) -> Any:
    """What a request is answered with that is carried out."""
    answer = sent(service, path, body, headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(service: Service, path: str, body: object, headers: Headers = None) -> JSON:
    """The body of a refusal: five keys, the code and the facts."""
    answer = sent(service, path, body, headers)
    told: JSON = answer.json()
    assert answer.status_code >= 400, answer.text
    assert told["status"] == answer.status_code
    assert told["path"] == path
    assert {"timestamp", "error", "message", "code"} <= told.keys()
    return told


def used(service: Service, *items: object, headers: Headers = None) -> list[Any]:
    """What each item of a batch is answered with: the debit, or the error."""
    body = done(service, BATCH, {"debits": list(items)}, headers)
    results = body["results"]
    assert [each["index"] for each in results] == list(range(len(items)))
    assert all(each.keys() in ({"index", "debit"}, {"index", "error"}) for each in results)
    positions = [int(each["debit"]["position"]) for each in results if "debit" in each]
    assert body["position"] == (str(max(positions)) if positions else None)
    return [each.get("debit") or each["error"] for each in results]


def balances(service: Service, holder: str, **parameters: str) -> list[JSON]:
    """The pools of a holder."""
    answer = service.http.get(f"{BALANCES}/{holder}", params=parameters)
    assert answer.status_code == 200, answer.text
    pools: list[JSON] = answer.json()["pools"]
    return pools


def by_graphql(service: Service, holder: str, amount: str, key: str, **fields: Any) -> JSON:
    """A debit through GraphQL, told in the words of the REST door."""
    given = {"customerId": holder, "currencyId": "credits", "amountExact": amount, "idempotencyKey": key} | fields
    told = service.data(CONSUME, input=given)["answer"]
    return {
        "transactionId": told["transactionId"],
        "holder": told["customerId"],
        "currency": told["currencyId"],
        "resource": told["resourceId"],
        "amount": told["amountExact"],
        "useAt": told["timestamp"],
        "draws": [{"lot": draw["creditGrantId"], "amount": draw["amountExact"]} for draw in told["draws"]],
        "position": told["position"],
        "replayed": told["replayed"],
    }
