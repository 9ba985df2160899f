"""The table of acts in the glossary: every name in it is one that the code has, and no act is left out."""

import re
from pathlib import Path

import click
from graphql import build_schema as parse_schema

from ledger.application import CreditLedger
from ledger.application.commands import Command
from ledger.domain.events import EVENT_TYPES
from service.cli.main import cli
from service.graphql.schema import build_schema
from service.rest import debits_openapi
from service.rest.door import KEY_HEADER
from service.rest.openapi import OPERATIONS

GLOSSARY = (Path(__file__).parent.parent.parent / "docs" / "glossary.md").read_text()
OF_THE_SYSTEM = {"RechargePool", "RecordThreshold", "SettleDue"}
"""Acts that nobody asks for: no door has them."""
TITLES = ("command", "event", "method", "aggregate", "mutation", "request", "command line")


def acts() -> list[dict[str, list[str]]]:
    """The rows of the table: by column, the names in code marks."""
    _, _, table = GLOSSARY.partition(f"| {' | '.join(TITLES)} |\n")
    rows = [line.strip("|").split("|") for line in table.splitlines()[1:]]
    return [dict(zip(TITLES, (re.findall(r"`([^`]+)`", cell) for cell in row), strict=True)) for row in rows]


def named(column: str) -> list[str]:
    return [name for act in acts() for name in act[column]]


def commands(below: type[Command] = Command) -> set[str]:
    found = {below.__name__} if hasattr(below, "operation") else set()
    return found.union(*(commands(kind) for kind in below.__subclasses__()))


def command_lines(group: click.Group, path: tuple[str, ...] = ()) -> set[str]:
    found: set[str] = set()
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found |= command_lines(command, (*path, name))
        else:
            found.add(" ".join((*path, name)))
    return found


def test_every_act_has_one_row() -> None:
    assert sorted(named("command")) == sorted(commands())


def test_every_mutation_is_in_the_row_of_its_act() -> None:
    mutations = parse_schema(build_schema().as_str()).mutation_type
    assert mutations is not None
    assert sorted(named("mutation")) == sorted(mutations.fields)


def test_every_request_that_writes_is_in_the_row_of_its_act() -> None:
    """`defineRule` asks for `DefineAllocationRule`."""
    asked = {request: command for act in acts() for request in act["request"] for command in act["command"]}
    writing = [operation for operation in (*OPERATIONS, *debits_openapi.OPERATIONS) if KEY_HEADER in operation.headers]
    assert asked == {
        f"{each.method.upper()} {each.path}": each.name[0].upper() + each.name[1:].replace("Rule", "AllocationRule")
        for each in writing
    }


def test_whatever_can_be_asked_for_through_a_door_can_be_done_on_the_command_line() -> None:
    assert set(named("command line")) <= command_lines(cli)
    without = {name for act in acts() if not act["command line"] for name in act["command"]}
    unasked = {name for act in acts() if not act["mutation"] and not act["request"] for name in act["command"]}
    assert without == unasked == OF_THE_SYSTEM


def test_methods_and_events_are_called_as_the_code_calls_them() -> None:
    assert [name for name in named("method") if not callable(getattr(CreditLedger, name, None))] == []
    assert set(named("event")) == {event_type.__name__ for event_type in EVENT_TYPES}
