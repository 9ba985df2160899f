"""Settings come from the environment alone: bounded, all that is wrong told at once, and a secret told to nobody."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import service
from service.cli.frame import run
from service.cli.main import cli
from service.embedded_postgres import default_data_folder
from service.refusals import Exit
from service.settings import MASK, SettingsError, read_settings, shown
from tests.service.serving import command

ROOM = Path(service.__file__).parent
SECRET = "hunter2"
DEFAULTS = {
    "LEDGER_DATABASE_URL": None,
    "LEDGER_SCHEMA": "ledger",
    "LEDGER_HOST": "127.0.0.1",
    "LEDGER_PORT": "8000",
    "LEDGER_ADMIN_KEY": None,
    "LEDGER_EXECUTION_REQUESTS_PER_MINUTE": "1200",
    "LEDGER_RULE_REQUESTS_PER_SECOND": "100",
    "LEDGER_RULE_REQUESTS_BURST": "1000",
    "LEDGER_WEBHOOK_RETRY_SECONDS": "259200",
    "LEDGER_WEBHOOK_PRIVATE_TARGETS": "0",
    "LEDGER_TEST_CLOCK": "0",
}
READ_ELSEWHERE = {"embedded_postgres.py": {"PATH"}, "cli/frame.py": {"NO_COLOR"}}
"""The names outside our prefix that a module may look up for itself."""


def show_config(**settings: str) -> dict[str, tuple[str | None, str]]:
    """Value and source of each setting, by name, as `config show --json` tells them."""
    done = command("config", "show", "--json", cwd=None, **settings)
    assert (done.returncode, done.stderr) == (Exit.DONE, "")
    return {row["name"]: (row["value"], row["source"]) for row in json.loads(done.stdout)}


def commands(group: click.Group = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that does something, with its path."""
    for name, found in group.commands.items():
        if isinstance(found, click.Group):
            yield from commands(found, (*path, name))
        else:
            yield (*path, name), found


def needed(found: click.Command) -> Iterator[str]:
    """The arguments without which a command does not begin."""
    for parameter in found.params:
        value = parameter.type.choices[0] if isinstance(parameter.type, click.Choice) else "1"
        if isinstance(parameter, click.Argument):
            yield value
        elif parameter.required:
            yield from (parameter.opts[0], value)


COMMANDS = [[*path, *needed(found)] for path, found in commands()]


def test_every_setting_has_its_default() -> None:
    told = show_config()
    assert told.pop("LEDGER_DATA_DIR") == (str(default_data_folder()), "default")
    assert told == {name: (value, "default") for name, value in DEFAULTS.items()}


def test_every_setting_can_be_given_and_says_so_and_secrets_are_masked() -> None:
    given = {"schema": "books", "data_dir": "/srv/ledger", "host": "::1", "port": "0", "test_clock": "1"}
    given |= {"execution_requests_per_minute": "7", "rule_requests_per_second": "8", "rule_requests_burst": "9"}
    given |= {"webhook_retry_seconds": "10", "webhook_private_targets": "1"}
    told = show_config(**given, admin_key=SECRET, database_url=f"postgresql://me:{SECRET}@db/books")
    dsn, source = told.pop("LEDGER_DATABASE_URL")
    assert dsn is not None
    assert (f"password={MASK}" in dsn, SECRET in dsn, source) == (True, False, "environment")
    assert told.pop("LEDGER_ADMIN_KEY") == (MASK, "environment")
    assert told == {f"LEDGER_{name.upper()}": (value, "environment") for name, value in given.items()}


def test_for_people_the_settings_are_a_table_with_what_each_means() -> None:
    done = command("config", "show", port="9000", admin_key=SECRET)
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert set(lines) == {"name", "LEDGER_DATA_DIR", *DEFAULTS}
    assert lines["LEDGER_PORT"].split()[:3] == ["LEDGER_PORT", "9000", "environment"]
    assert lines["LEDGER_ADMIN_KEY"].split()[:3] == ["LEDGER_ADMIN_KEY", MASK, "environment"]
    assert lines["LEDGER_SCHEMA"].endswith("the schema that holds this ledger")


def test_an_empty_setting_is_not_set_and_the_address_of_the_tests_is_nobodys_business() -> None:
    environment = dict.fromkeys(DEFAULTS, "") | {"LEDGER_TEST_DATABASE_URL": "postgresql://localhost", "LEDGERS": "7"}
    told = {row.name: (row.value, row.source) for row in shown(read_settings(environment), environment)}
    assert {name: told[name] for name in DEFAULTS} == {name: (value, "default") for name, value in DEFAULTS.items()}
    assert "LEDGER_TEST_DATABASE_URL" not in told


@pytest.mark.parametrize(
    ("name",          "text"),
    [
        ("SCHEMA",    "a"),
        ("SCHEMA",    "_" + "a" * 39),
        ("PORT",      "0"),
        ("PORT",      "65535"),
        ("ADMIN_KEY", "x"),
        ("ADMIN_KEY", "with space " + "x" * 244),
        ("EXECUTION_REQUESTS_PER_MINUTE", "1"),
        ("EXECUTION_REQUESTS_PER_MINUTE", "1000000"),
        ("RULE_REQUESTS_PER_SECOND", "1"),
        ("RULE_REQUESTS_PER_SECOND", "1000000"),
        ("RULE_REQUESTS_BURST", "1"),
        ("RULE_REQUESTS_BURST", "1000000"),
        ("TEST_CLOCK", "0"),
        ("TEST_CLOCK", "1"),
    ],
)  # fmt: skip
def test_the_bounds_of_a_setting_are_within_it(name: str, text: str) -> None:
    environment = {f"LEDGER_{name}": text}
    told = {row.name: row.value for row in shown(read_settings(environment), environment)}
    assert told[f"LEDGER_{name}"] == (MASK if name == "ADMIN_KEY" else text)


@pytest.mark.parametrize(
    ("name",           "text",                      "reason"),
    [
        ("SCHEMA",     "a" * 41,                    "40"),
        ("SCHEMA",     "Ledger",                    "lower-case"),
        ("SCHEMA",     "pg_mine",                   "SQL name"),
        ("SCHEMA",     "1st",                       "SQL name"),
        ("SCHEMA",     "a b",                       "SQL name"),
        ("SCHEMA",     "a\n",                       "SQL name"),
        ("SCHEMA",     "bär",                       "SQL name"),
        ("PORT",       "65536",                     "65535"),
        ("PORT",       "-1",                        "65535"),
        ("PORT",       "80 ",                       "65535"),
        ("PORT",       "8e3",                       "65535"),
        ("PORT",       "\u0668\u0660",              "65535"),
        ("PORT",       "9" * 5000,                  ""),
        ("ADMIN_KEY",  "x" * 256,                   "255"),
        ("ADMIN_KEY",  " x",                        "spaces"),
        ("ADMIN_KEY",  "x\ny",                      "printable"),
        ("ADMIN_KEY",  "schlüssel",                 "ASCII"),
        ("EXECUTION_REQUESTS_PER_MINUTE", "0",       "1"),
        ("EXECUTION_REQUESTS_PER_MINUTE", "1000001", "1000000"),
        ("EXECUTION_REQUESTS_PER_MINUTE", "-1",      "1"),
        ("EXECUTION_REQUESTS_PER_MINUTE", "1.5",     ""),
        ("EXECUTION_REQUESTS_PER_MINUTE", "1e3",     ""),
        ("EXECUTION_REQUESTS_PER_MINUTE", "1_000",   "number"),
        ("EXECUTION_REQUESTS_PER_MINUTE", "5 ",      "number"),
        ("EXECUTION_REQUESTS_PER_MINUTE", "+5",      "number"),
        ("EXECUTION_REQUESTS_PER_MINUTE", "no",      ""),
        ("RULE_REQUESTS_PER_SECOND", "0",           "1"),
        ("RULE_REQUESTS_PER_SECOND", "1000001",     "1000000"),
        ("RULE_REQUESTS_PER_SECOND", "1.5",         "number"),
        ("RULE_REQUESTS_BURST", "0",                "1"),
        ("RULE_REQUESTS_BURST", "1000001",          "1000000"),
        ("RULE_REQUESTS_BURST", "1_000",            "number"),
        ("TEST_CLOCK", "2",                         "1 or 0"),
        ("TEST_CLOCK", "true",                      "1 or 0"),
        ("TEST_CLOCK", "on",                        "1 or 0"),
        ("DATABASE_URL", "no connection",           "connection string"),
        ("DATABASE_URL", "https://db/ledger",       "connection string"),
    ],
)  # fmt: skip
def test_a_setting_out_of_bounds_is_refused_by_its_name(name: str, text: str, reason: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read_settings({f"LEDGER_{name}": text})
    (line,) = str(refused.value).splitlines()
    assert line.startswith(f"LEDGER_{name} ")
    assert reason in line


def test_all_that_is_wrong_is_told_at_once() -> None:
    wrong = {
        "port": "no",
        "schema": "A",
        "test_clock": "2",
        "admin_key": " ",
        "database_url": "?",
        "prot": "1",
        "x": "y",
    }
    done = command("config", "show", "--json", cwd=None, **wrong)
    assert (done.returncode, done.stdout) == (Exit.USAGE, "")
    lines = json.loads(done.stderr)["error"]["message"].splitlines()
    assert {line.split()[0] for line in lines} == {f"LEDGER_{name.upper()}" for name in wrong}
    assert len(lines) == len(wrong)


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: " ".join(arguments[:2]))
def test_every_command_refuses_a_setting_that_is_none(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever mistypes a name is told, whichever command he runs; none of them begins."""
    monkeypatch.setenv("LEDGER_DATABASE_URL", "postgresql://127.0.0.1:1/nothing")
    monkeypatch.setenv("LEDGER_SHEMA", "books")
    monkeypatch.setenv("LEDGER_PORT", "no")
    if arguments[0] in ("serve", "worker"):  # these take over the log of their process
        done = command(*arguments, database_url="postgresql://127.0.0.1:1/nothing", shema="books", port="no")
        ended, out, err = done.returncode, done.stdout, done.stderr
    else:
        ended = run(cli, arguments)
        out, err = capsys.readouterr()
    assert (ended, out) == (Exit.USAGE, "")
    assert "LEDGER_SHEMA" in err
    assert "LEDGER_PORT" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "dsn",
    [
        f"postgresql://me:{SECRET}@db:5432/books",
        f"postgres://me:{SECRET}@db1,db2/books?connect_timeout=3",
        f"postgresql://db/books?user=me&password={SECRET}",
        f"postgresql://me:%68unter2-{SECRET}@db/books",
        f"host=db dbname=books user=me password={SECRET}",
        f"host=db password='{SECRET} \\'and\\' more {SECRET}'",
        f"host=db sslkey=/etc/key sslpassword={SECRET}",
        f"host=db scram_client_key={SECRET}",
        f"host=db oauth_client_secret={SECRET}",
        f"postgresql://me:{SECRET}/x@db/books",
        f"postgresql://me:x@{SECRET}@db/books",
    ],
)
def test_no_form_of_connection_string_shows_its_password(
    dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last two are what becomes of a password whose / or @ nobody escaped: it lands in the port or the host."""
    monkeypatch.setenv("LEDGER_DATABASE_URL", dsn)
    for form in ([], ["--json"]):
        run(cli, ["config", "show", *form])
        out, err = capsys.readouterr()
        assert SECRET not in out + err
        assert "LEDGER_DATABASE_URL" in out + err


@pytest.mark.parametrize(
    ("dsn",                                                     "ends"),
    [
        (f"postgresql://me:{SECRET}%zz@127.0.0.1/books",        Exit.USAGE),
        (f"postgresql://me:{SECRET}@127.0.0.1/books?colour=red", Exit.USAGE),
        (f"http://me:{SECRET}@127.0.0.1/books",                 Exit.USAGE),
        (f"host=127.0.0.1 password=my {SECRET}",                Exit.USAGE),
        (f"host=127.0.0.1 password='{SECRET}",                  Exit.USAGE),
        (f"hots=127.0.0.1 password={SECRET}",                   Exit.USAGE),
        (f"postgresql://me:{SECRET}@127.0.0.1:1/books",         Exit.TRY_AGAIN),
        (f"host=127.0.0.1 port=1 user=me password={SECRET}",    Exit.TRY_AGAIN),
    ],
)  # fmt: skip
def test_no_error_message_tells_a_password(
    dsn: str, ends: Exit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LEDGER_DATABASE_URL", dsn)
    for form in ([], ["--json"]):
        ended = run(cli, ["migrate", *form])
        out, err = capsys.readouterr()
        assert (ended, out) == (ends, "")
        assert err
        assert SECRET not in err


@pytest.mark.parametrize(
    "dsn", [f"postgresql://me:{SECRET}/x@127.0.0.1/books", f"postgresql://me:x@{SECRET}@127.0.0.1/books"]
)
def test_no_error_message_tells_a_password_that_nobody_escaped(
    dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A / or @ in it makes a part of it the port or the host, of which messages are glad to tell."""
    monkeypatch.setenv("LEDGER_DATABASE_URL", dsn)
    assert run(cli, ["migrate"]) in (Exit.USAGE, Exit.TRY_AGAIN)
    out, err = capsys.readouterr()
    assert out == ""
    assert err
    assert SECRET not in err


def test_a_bad_admin_key_is_not_told_back() -> None:
    done = command("config", "show", admin_key=f"{SECRET}\u00fc")
    assert done.returncode == Exit.USAGE
    assert "LEDGER_ADMIN_KEY" in done.stderr
    assert SECRET not in done.stdout + done.stderr


def test_settings_do_not_change_while_a_process_runs() -> None:
    settings = read_settings({"LEDGER_PORT": "9000"})
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1  # type: ignore[misc]  # that is the point


def test_the_environment_is_read_in_one_place() -> None:
    """Besides names that are not ours, only settings.py looks at it: one answer to what a process runs with."""
    looking = {}
    for module in ROOM.rglob("*.py"):
        tree = ast.parse(module.read_text())
        if any(_looks(node) for node in ast.walk(tree)):
            texts = [str(node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant)]
            looking[module.relative_to(ROOM).as_posix()] = {text for text in texts if re.fullmatch("[A-Z_]+", text)}
    assert looking.pop("settings.py")
    assert looking.keys() == READ_ELSEWHERE.keys()
    for place, names in READ_ELSEWHERE.items():
        assert names <= looking[place]
        assert not [name for name in looking[place] if name.startswith("LEDGER")]


def _looks(node: ast.AST) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", None)
    return name in ("environ", "environb", "getenv")
