"""The page of credit grants, carried out from its first request to its last: it shows what the service answers."""

import json
from difflib import unified_diff
from pathlib import Path

from graphql import build_schema

from ledger.store.database import Database
from tests.service.serving import serving
from tests.stories.credit_grants_page import PATH, executed, steps_of

PAGE = PATH.read_text()
SCHEMA = build_schema(Path(PATH.parent, "contracts", "schema.graphql").read_text())


def test_the_page_shows_what_the_service_answers(database: Database) -> None:
    with serving(database_url=database.dsn, schema=database.schema, test_clock="1") as service:
        real = executed(PAGE, service)
    difference = unified_diff(PAGE.splitlines(), real.splitlines(), "the page", "the service", n=8, lineterm="")
    assert real == PAGE, "\n".join(difference)


def test_the_page_has_an_example_of_every_operation() -> None:
    assert SCHEMA.query_type is not None
    assert SCHEMA.mutation_type is not None
    answered = {
        name
        for step in steps_of(PAGE)
        if step.answer is not None
        for name, value in json.loads(step.answer.text)["data"].items()
        if value is not None
    }
    assert answered == {*SCHEMA.query_type.fields, *SCHEMA.mutation_type.fields}
