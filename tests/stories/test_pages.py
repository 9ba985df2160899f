"""The pages of examples, carried out from the first request to the last: they show what the service answers."""

import json
from difflib import unified_diff
from pathlib import Path

import pytest
from graphql import build_schema as parse_schema

from ledger.store.database import Database
from service.graphql.schema import build_schema
from service.rest import debits_openapi
from service.rest.openapi import OPERATIONS
from tests.stories.pages import ID, PAGES, PROBLEM, executed, steps_of


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_shows_what_the_service_answers(path: Path, database: Database) -> None:
    page = path.read_text()
    real = executed(page, database_url=database.dsn, schema=database.schema)
    difference = unified_diff(page.splitlines(), real.splitlines(), "the page", "the service", n=8, lineterm="")
    assert real == page, "\n".join(difference)


def test_the_pages_have_an_example_of_every_operation() -> None:
    """One that is answered with data, not with an error."""
    schema = parse_schema(build_schema().as_str())
    assert schema.query_type is not None
    assert schema.mutation_type is not None
    answers = [
        json.loads(step.answer.text) for path in PAGES for step in steps_of(path.read_text()) if step.answer is not None
    ]
    graphql = [answer["data"] for answer in answers if "data" in answer]
    answered = {name for data in graphql for name, value in data.items() if value is not None}
    assert answered == {*schema.query_type.fields, *schema.mutation_type.fields}


def test_the_pages_have_an_example_of_every_request() -> None:
    """One that is answered with what was asked for, not with an error."""
    shown = set()
    for step in (step for page in PAGES for step in steps_of(page.read_text())):
        answer = json.loads(step.answer.text) if step.answer is not None else None
        if step.operation is not None and not (isinstance(answer, dict) and answer.keys() == PROBLEM):
            method, path = step.operation
            shown.add((method, ID.sub("{ruleId}", path).replace("globex", "{holder}")))
    of_rest = (*OPERATIONS, *debits_openapi.OPERATIONS)
    assert {(operation.method.upper(), operation.path) for operation in of_rest} <= shown
