"""The help of the command line: every command begins with an example, and every example is one that runs."""

import re
import shlex
from collections.abc import Iterator

import click
import pytest

from service.cli.frame import CLI_WORDS, run
from service.cli.main import cli
from service.cli.rules import WORDS
from service.refusals import Exit
from service.settings import Settings
from tests.service.serving import command

SETTING = re.compile(r"LEDGER_([A-Z_]+)=\S+")
RUNS_ON = {"worker"}
"""It answers with what it does, not with data."""


def contexts(command: click.Command, parent: click.Context | None = None, name: str = "") -> Iterator[click.Context]:
    """A context for every command and group of a tree."""
    context = click.Context(command, parent, name or "credit-ledger")
    yield context
    if isinstance(command, click.Group):
        for below, found in command.commands.items():
            yield from contexts(found, context, below)


EVERY = list(contexts(cli))
WORKING = [each for each in EVERY if not isinstance(each.command, click.Group)]


def path_of(context: click.Context) -> str:
    return context.command_path


def examples(context: click.Context) -> list[str]:
    """The example lines of a help."""
    return re.findall(r"^Example: (.*)$", context.command.get_help(context), re.MULTILINE)


def parsed(example: str) -> tuple[str, list[str]]:
    """Parse an example as the shell and our command line do; its command's path, and the settings that it gives."""
    words = shlex.split(example)
    given = []
    while setting := SETTING.fullmatch(words[0]):
        given.append(setting[1].lower())
        words.pop(0)
    assert words.pop(0) == "credit-ledger"
    wanted: click.Command = cli
    path = ["credit-ledger"]
    while isinstance(wanted, click.Group):
        path.append(words.pop(0))
        wanted = wanted.commands[path[-1]]
    wanted.make_context(path[-1], words)
    return " ".join(path), given


@pytest.mark.parametrize("context", EVERY, ids=path_of)
def test_every_help_begins_with_an_example_that_parses(context: click.Context) -> None:
    """Also that of a group: it shows one of its commands."""
    text = context.command.get_help(context)
    (example,) = examples(context)
    assert text.startswith(f"Example: {example}\n\nUsage: {context.command_path} ")
    path, settings = parsed(example)
    below = isinstance(context.command, click.Group) and path.startswith(f"{context.command_path} ")
    assert path == context.command_path or below
    names = {field.alias or name for name, field in Settings.model_fields.items()}
    assert set(settings) <= names


@pytest.mark.parametrize("context", EVERY, ids=path_of)
def test_every_command_and_every_option_says_what_it_is_for(context: click.Context) -> None:
    assert context.command.help
    assert [
        option.name for option in context.command.params if isinstance(option, click.Option) and not option.help
    ] == []


@pytest.mark.parametrize("context", WORKING, ids=path_of)
def test_every_command_that_answers_can_answer_in_json(context: click.Context) -> None:
    options = {name for parameter in context.command.params for name in parameter.opts}
    assert ("--json" in options) == (context.info_name not in RUNS_ON)


def test_an_argument_that_is_refused_is_called_as_the_command_line_calls_it() -> None:
    """Every word in which the command line tells of a field is an option or argument of some command."""
    parameters = [parameter for context in WORKING for parameter in context.command.params]
    known = {word for parameter in parameters for word in [*parameter.opts, parameter.metavar]}
    assert {*CLI_WORDS.values(), *WORDS.values()} <= known


def test_the_help_is_on_stdout_and_names_the_exit_codes() -> None:
    done = command("--help")
    assert (done.returncode, done.stderr) == (Exit.DONE, "")
    assert done.stdout.startswith("Example: credit-ledger ")
    told = re.sub(r"\s+", " ", done.stdout)
    assert all(f"{code.value} " in told.partition("Exit codes:")[2] for code in Exit)


def test_help_needs_no_settings_that_are_right(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever has got them wrong has to be able to read what is right."""
    monkeypatch.setenv("LEDGER_PORT", "no")
    for context in EVERY:
        path = context.command_path.split()[1:]
        assert run(cli, [*path, "--help"]) == Exit.DONE
        assert capsys.readouterr().out.startswith("Example: ")
