"""Several mutations in one document: each is answered as it left things, whatever its neighbours had read before."""

from typing import Any

import pytest

from tests.service.serving import Service

GRANT = """
mutation ($customer: String!) {
  createCreditGrant(
    input: {customerId: $customer, currencyId: "c", displayName: "first", grantType: PAID, amount: 10}
  ) { id }
}
"""
LOOKS = """
consumeCredits(input: {customerId: $customer, currencyId: "c", amount: 1, idempotencyKey: "1"}) {
  credit { currencyId }
}
"""
"""It reads the state of the pool, from a snapshot that the document then has."""
CREDIT = "companyId: $company, creditType: DAST"
CREATE = f"""
createExecutionCredit(input: {{{CREDIT}, credits: 9, rollupType: MONTHLY, companyLabel: "Acme"}}) {{
  executionCredit {{ credits company {{ label }} }}
}}
"""
DEBIT = f"""
debitExecutionCredits(input: {{{CREDIT}, credits: 2, projectId: "p", idempotencyKey: "1"}}) {{
  transactions {{ projectId executionCredit {{ usedCredits transactions {{ credits }} }} }}
}}
"""
ISSUE = """
createCreditGrant(
  input: {customerId: $customer, currencyId: "d", displayName: "second", grantType: PAID, amount: 5}
) { displayName }
"""
USE = """
consumeCreditsAsync(
  input: {consumptions: [{customerId: $customer, currencyId: "d", amount: 5, idempotencyKey: "2"}]}
) { results { response { draws { grantId amountExact } } } }
"""
EXPECTED: dict[str, Any] = {
    "created": {"executionCredit": {"credits": 9, "company": {"label": "Acme"}}},
    "debited": {
        "transactions": [{"projectId": "p", "executionCredit": {"usedCredits": 2, "transactions": [{"credits": 2}]}}]
    },
    "issued": {"displayName": "second"},
}


@pytest.mark.parametrize("looks_first", [False, True])
def test_what_a_mutation_wrote_is_in_its_answer(service: Service, customer: str, looks_first: bool) -> None:
    service.data(GRANT, customer=customer)
    fields = {"created": CREATE, "debited": DEBIT, "issued": ISSUE, "used": USE}
    if looks_first:
        fields = {"looks": LOOKS} | fields
    document = " ".join(f"{name}: {text}" for name, text in fields.items())
    found = service.data(
        f"mutation ($customer: String!, $company: ID!) {{ {document} }}", customer=customer, company=customer
    )
    (used,) = found.pop("used")["results"]
    (draw,) = used["response"]["draws"]
    assert (draw["grantId"][:3], draw["amountExact"]) == ("cg-", "5")
    found.pop("looks", None)
    assert found == EXPECTED
