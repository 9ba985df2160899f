"""The command line as scripts meet it: data on stdout, talk on stderr, exit codes, no need of a terminal or a home."""

import json
import os
import pty
import secrets
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ledger.store.database import Database, Role
from ledger.store.migrate import migrations
from service.cli.frame import run
from service.cli.main import cli
from service.refusals import Exit
from tests.conftest import drop
from tests.service.serving import ANSWER_SECONDS_MAX, COMMAND, command, environment, serving

NOTHING = "018f6e2a-0000-7000-8000-000000000001"
ISSUE = ("grants", "issue", "--currency", "credits", "--name", "March", "--type", "PAID", "--customer")
CONSUME = ("credits", "consume", "--currency", "credits", "--customer")


class Ledger(NamedTuple):
    """A ledger as the settings name it; asked through the command line, each command in a process of its own."""

    settings: dict[str, str]

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return command(*arguments, cwd=None, **self.settings)

    def json(self, *arguments: str) -> Any:
        """The one JSON document on stdout of a command that succeeds."""
        done = self.run(*arguments, "--json")
        assert done.returncode == Exit.DONE, done.stderr
        return json.loads(done.stdout)

    def error(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """Exit code and error of a command that fails: JSON on stderr and nothing else anywhere."""
        done = self.run(*arguments, "--json")
        assert done.stdout == ""
        return done.returncode, json.loads(done.stderr)["error"]


def ledger_on(database: Database) -> Ledger:
    return Ledger({"database_url": database.dsn, "schema": database.schema})


@pytest.fixture(scope="module")
def books(schema: Database) -> Ledger:
    """A ledger on a server, with no service running."""
    return ledger_on(schema)


@pytest.fixture
def untouched(server_dsn: str) -> Iterator[Database]:
    """A schema that is not there yet, but has to be when the test ends."""
    database = Database(server_dsn, f"t_{secrets.token_hex(6)}")
    yield database
    drop(database)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """An empty folder that the account of an embedded server can enter."""
    with tempfile.TemporaryDirectory(prefix="ledger-cli-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_migrate_makes_the_ledger_and_again_is_fine(untouched: Database) -> None:
    """Until then every command says so, with what to do about it, and makes nothing by itself."""
    books = ledger_on(untouched)
    for arguments in (("credits", "balance", "--customer", "acme"), ("keys", "list")):
        ended, error = books.error(*arguments)
        assert (ended, error["code"]) == (Exit.USAGE, "Unusable")
        assert "credit-ledger migrate" in error["message"]
    assert books.run("doctor").returncode == Exit.FAULT
    every = [name for name, _ in migrations()]
    assert books.json("migrate") == {"applied": every}
    assert books.json("migrate") == {"applied": []}
    assert books.json("credits", "balance", "--customer", "acme") == []


def test_a_customers_story_by_commands_alone(books: Ledger, customer: str) -> None:
    """Each figure follows from the commands before it; both names of a grant lead to it."""
    welcome = books.json(
        *ISSUE[:-3], "--type", "PROMOTIONAL", "--customer", customer,
        "--amount", "20", "--expire-at", "2999-01-01T00:00:00Z", "--comment", "to begin with", "--priority", "1.5",
    )  # fmt: skip
    march = books.json(*ISSUE, customer, "--amount", "50", "--cost", "45.00", "--cost-currency", "EUR")
    told = {name: welcome[name] for name in ("customerId", "grantType", "status", "amount", "comment", "priority")}
    assert told == {
        "customerId": customer, "grantType": "PROMOTIONAL", "status": "ACTIVE", "amount": "20",
        "comment": "to begin with", "priority": "1.5",
    }  # fmt: skip
    assert march["cost"] == {"amount": "45", "currency": "EUR"}
    assert welcome == books.json("grants", "show", welcome["id"]) == books.json("grants", "show", welcome["grantId"])

    used = books.json(*CONSUME, customer, "--amount", "32.5", "--key", "job", "--used-at", "2026-01-01T00:00:00+01:00")
    assert [draw["amount"] for draw in used["draws"]] == ["20", "12.5"]
    assert [draw["creditGrantId"] for draw in used["draws"]] == [welcome["id"], march["id"]]
    back = books.json("credits", "refund", used["transactionId"], "--amount", "15", "--key", "back")
    assert [draw["amount"] for draw in back["draws"]] == ["12.5", "2.5"]
    rest = books.json("credits", "refund", used["transactionId"], "--key", "rest", "--reason", "it failed")
    assert rest["amount"] == "17.5"

    void = books.json("grants", "void", march["grantId"], "--reason", "contract ended")
    assert (void["id"], void["status"], void["remainingAmount"]) == (march["id"], "VOIDED", "0")
    listed = books.json("grants", "list", "--customer", customer)
    assert [(grant["grantId"], grant["status"]) for grant in listed] == [
        (march["grantId"], "VOIDED"), (welcome["grantId"], "ACTIVE"),
    ]  # fmt: skip
    assert books.json("grants", "list", "--customer", customer, "--status", "ACTIVE") == [listed[1]]
    (balance,) = books.json("credits", "balance", "--customer", customer)
    assert balance == {
        "currencyId": "credits", "totalGranted": "20", "totalConsumed": "0", "currentBalance": "20",
        "validUntil": "2999-01-01T00:00:00.000Z",
    }  # fmt: skip
    rows = books.json("credits", "ledger", "--customer", customer)
    assert [(row["event"], row["signedAmount"], row["balanceAfter"]) for row in rows] == [
        ("voided", "-50", "20"),
        ("refunded", "17.5", "70"),
        ("refunded", "2.5", "52.5"),
        ("refunded", "12.5", "50"),
        ("debited", "-12.5", "37.5"),
        ("debited", "-20", "50"),
        ("granted", "50", "70"),
        ("granted", "20", "20"),
    ]
    assert {row["actor"].partition(":")[0] for row in rows} == {"OPERATOR"}
    limited = books.run("credits", "ledger", "--customer", customer, "--limit", "3", "--json")
    assert json.loads(limited.stdout) == rows[:3]
    assert "more than 3" in limited.stderr


def test_a_command_sent_twice_with_its_key_happens_once(books: Ledger, customer: str) -> None:
    issue = (*ISSUE, customer, "--amount", "10", "--key", "issue")
    grant = books.json(*issue)
    assert books.json(*issue)["id"] == grant["id"]
    use = (*CONSUME, customer, "--key", "use", "--amount")
    first, again = books.json(*use, "4"), books.json(*use, "4.000")
    assert (first["replayed"], again["replayed"]) == (False, True)
    assert {**again, "replayed": False} == first
    ended, error = books.error(*use, "5")
    assert (ended, error["code"], error["differing"]) == (Exit.REFUSED, "IdempotencyKeyReused", ["--amount"])
    back = ("credits", "refund", first["transactionId"], "--key", "back")
    assert [books.json(*back)["replayed"], books.json(*back)["replayed"]] == [False, True]
    void = ("grants", "void", "--key", "void")
    assert books.json(*void, grant["id"])["voidedAt"] == books.json(*void, grant["grantId"])["voidedAt"]
    assert [row["event"] for row in books.json("credits", "ledger", "--customer", customer)] == [
        "voided", "refunded", "debited", "granted",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments",                                                     "ends",         "code"),
    [
        ((*ISSUE, "c", "--amount", "0"),                              Exit.USAGE,     "InvalidArgumentError"),
        ((*ISSUE, "c", "--amount", "1", "--cost", "1e400"),           Exit.USAGE,     "InvalidArgumentError"),
        ((*ISSUE, "c", "--amount", "1", "--effective-at", "2026-01-01"), Exit.USAGE,  "InvalidArgumentError"),
        ((*ISSUE, "c", "--amount", "1", "--expire-at", "2020-01-01T00:00:00Z"), Exit.USAGE,
         "ExpireAtMustBeLaterThanEffectiveAtError"),
        ((*ISSUE, "\udcff", "--amount", "1"),                         Exit.USAGE,     "InvalidArgumentError"),
        ((*CONSUME, "nobody", "--amount", "1", "--key", "k"),         Exit.REFUSED,   "InsufficientCredits"),
        ((*CONSUME, "nobody", "--amount", "nan", "--key", "k"),       Exit.USAGE,     "InvalidArgumentError"),
        (("credits", "refund", NOTHING, "--key", "k"),                Exit.NOT_FOUND, "TransactionNotFound"),
        (("credits", "refund", "no-id", "--key", "k"),                Exit.NOT_FOUND, "TransactionNotFound"),
        (("credits", "balance", "--customer", ""),                    Exit.USAGE,     "InvalidArgumentError"),
        (("credits", "balance", "--customer", "c", "--currency", "\udcff"), Exit.USAGE, "InvalidArgumentError"),
        (("credits", "ledger", "--customer", "c", "--resource", "\udcff"), Exit.USAGE, "InvalidArgumentError"),
        (("grants", "list", "--customer", "c", "--resource", "\udcff"), Exit.USAGE,   "InvalidArgumentError"),
        (("grants", "show", "cg-nothing"),                            Exit.NOT_FOUND, "CreditGrantNotFound"),
        (("grants", "void", NOTHING),                                 Exit.NOT_FOUND, "CreditGrantNotFound"),
        (("keys", "create", "--name", "n", "--role", "owner"),        Exit.USAGE,     "InvalidArgumentError"),
        (("keys", "create", "--name", "", "--role", "reader"),        Exit.USAGE,     "InvalidArgumentError"),
        (("keys", "create", "--name", "n", "--role", "admin", "--holder", "c"), Exit.USAGE, "InvalidArgumentError"),
        (("keys", "revoke", "key-0"),                                 Exit.NOT_FOUND, "ApiKeyNotFound"),
        (("keys", "revoke", "\udcff"),                                Exit.USAGE,     "InvalidArgumentError"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else None,
)  # fmt: skip
def test_what_is_turned_down_says_so_by_its_exit_code(
    schema: Database,
    arguments: tuple[str, ...],
    ends: Exit,
    code: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """U+DCFF stands for a byte that is no UTF-8."""
    monkeypatch.setenv("LEDGER_DATABASE_URL", schema.dsn)
    monkeypatch.setenv("LEDGER_SCHEMA", schema.schema)
    ended = run(cli, [*arguments, "--json"])
    out, err = capsys.readouterr()
    error = json.loads(err)["error"]
    assert (ended, out, error["code"]) == (ends, "", code)
    assert error["message"]


def test_a_refusal_tells_its_facts_and_calls_arguments_by_their_options(books: Ledger, customer: str) -> None:
    books.json(*ISSUE, customer, "--amount", "1.5")
    _, short = books.error(*CONSUME, customer, "--amount", "2", "--key", "k")
    assert (short["availableExact"], short["requestedExact"], short["shortfallExact"]) == ("1.5", "2", "0.5")
    done = books.run(*CONSUME, customer, "--amount", "-1", "--key", "k")
    assert (done.returncode, done.stdout) == (Exit.USAGE, "")
    assert done.stderr.startswith("error: --amount ")


def test_for_people_there_are_tables_and_talk_stays_on_stderr(
    schema: Database, customer: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LEDGER_DATABASE_URL", schema.dsn)
    monkeypatch.setenv("LEDGER_SCHEMA", schema.schema)

    def told(*arguments: str) -> tuple[list[list[str]], str]:
        assert run(cli, arguments) == Exit.DONE
        out, err = capsys.readouterr()
        return [line.split() for line in out.splitlines()], err

    (titles, row), talk = told(*ISSUE, customer, "--amount", "12.50")
    assert titles == [
        "grant",
        "type",
        "status",
        "currency",
        "resource",
        "amount",
        "consumed",
        "remaining",
        "expires",
        "name",
    ]
    assert (row[1:], talk) == (["PAID", "ACTIVE", "credits", "-", "12.5", "0", "12.5", "-", "March"], "")
    (titles, drawn), talk = told(*CONSUME, customer, "--amount", "2.5", "--key", "k")
    assert (titles, drawn[1:], talk.split()[0]) == (["grant", "amount"], ["2.5"], "transaction")
    (_, line), _ = told("credits", "balance", "--customer", customer)
    assert line == ["credits", "12.5", "2.5", "10", "-"]
    (titles, debit, issue), _ = told("credits", "ledger", "--customer", customer)
    assert titles == ["position", "effective", "what", "cause", "currency", "amount", "grant", "left", "balance", "by"]
    assert [each[2:9] for each in (debit, issue)] == [
        ["debited", "CONSUMED", "credits", "-2.5", row[0], "10", "10"],
        ["granted", "ISSUED", "credits", "12.5", row[0], "12.5", "12.5"],
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ("grants", "shwo"),
        ("credits", "consume", "--customer", "c"),
        ("grants", "list", "--customer", "c", "--limit", "0"),
    ],
    ids=" ".join,
)
def test_bad_usage_is_told_on_stderr_and_as_json_where_that_was_asked_for(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(cli, arguments) == Exit.USAGE
    out, err = capsys.readouterr()
    assert (out, "Usage: credit-ledger" in err) == ("", True)
    assert run(cli, [*arguments, "--json"]) == Exit.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err)["error"]["message"]


@pytest.mark.parametrize("arguments", [("migrate",), ("credits", "balance", "--customer", "c"), ("keys", "list")])
def test_a_database_that_is_away_can_be_tried_again(arguments: tuple[str, ...]) -> None:
    away = Ledger({"database_url": "postgresql://127.0.0.1:1/nothing"})
    ended, error = away.error(*arguments)
    assert (ended, error["code"]) == (Exit.TRY_AGAIN, "LedgerUnavailable")


def test_keys_are_made_listed_and_revoked_and_shown_once(books: Ledger) -> None:
    made = books.json("keys", "create", "--name", "portal", "--role", "reader", "--holder", "b", "--holder", "a")
    text = books.run("keys", "create", "--name", "plain", "--role", "auditor")
    assert text.stdout.count("\n") == 1
    assert text.stdout.split(".")[0] in text.stderr
    secret = made.pop("key").partition(".")[2]
    assert len(secret) >= 43  # 256 bits
    assert made.items() >= {"name": "portal", "role": "reader", "holders": ["a", "b"], "revoked_at": None}.items()
    listing = books.run("keys", "list", "--json")
    assert made in json.loads(listing.stdout)
    assert secret not in listing.stdout
    revoked = books.json("keys", "revoke", made["id"])
    assert revoked["revoked_at"] is not None
    assert books.json("keys", "revoke", made["id"]) == revoked


def test_the_doctor_tells_a_healthy_ledger_from_one_with_a_fault(untouched: Database) -> None:
    books = ledger_on(untouched)
    books.run("migrate")
    grant = books.json(*ISSUE, "acme", "--amount", "5")
    healthy = books.run("doctor")
    assert (healthy.returncode, healthy.stderr) == (Exit.DONE, "")
    assert {line.split()[0] for line in healthy.stdout.splitlines()} == {"ok"}
    with untouched.connect(Role.OWNER) as connection:
        connection.execute("DELETE FROM open_lots")
    sick = books.run("doctor", "--json")
    assert sick.returncode == Exit.FAULT
    bad = [finding for finding in json.loads(sick.stdout) if not finding["healthy"]]
    assert [finding["check"] for finding in bad] == ["open-lots"]
    assert grant["id"] in bad[0]["says"]


def test_a_name_that_is_not_ascii_survives_a_poor_environment(books: Ledger, customer: str) -> None:
    """No home, no user's name, the C locale, and nothing that could be a terminal."""
    name = f"bär-{customer}"
    poor = environment(**books.settings) | {"LC_ALL": "C"}
    assert not {"HOME", "USER", "LOGNAME", "TERM"} & set(poor)
    for arguments in ([*ISSUE, name, "--amount", "7"], ["grants", "list", "--customer", name, "--json"]):
        done = subprocess.run(
            [COMMAND, *arguments], env=poor, capture_output=True, check=False, timeout=ANSWER_SECONDS_MAX, cwd="/"
        )
        assert (done.returncode, b"\x1b" in done.stdout + done.stderr) == (Exit.DONE, False), done.stderr
    assert [grant["customerId"] for grant in json.loads(done.stdout)] == [name]
    assert [row["balanceAfter"] for row in books.json("credits", "ledger", "--customer", name)] == ["7"]


@pytest.mark.parametrize(("extra", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True)])
def test_an_error_is_red_on_a_terminal_unless_no_colour_is_wanted(extra: dict[str, str], coloured: bool) -> None:
    """By the convention an empty NO_COLOR is none. Without a terminal nothing is ever coloured (other tests see it)."""
    ours, theirs = pty.openpty()
    try:
        ended = subprocess.run(
            [COMMAND, "config", "show"], env=environment(port="no") | extra, stderr=theirs, check=False,
            stdout=subprocess.PIPE, timeout=ANSWER_SECONDS_MAX,
        )  # fmt: skip
        said = os.read(ours, 10_000)
    finally:
        os.close(ours)
        os.close(theirs)
    assert (ended.returncode, ended.stdout) == (Exit.USAGE, b"")
    assert b"LEDGER_PORT" in said
    assert (b"\x1b[" in said) == coloured


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_reader_who_goes_away_early_is_no_fault(form: list[str]) -> None:
    """As with `| head -1`: whoever reads has gone before the first line."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [COMMAND, "config", "show", *form], env=environment(), stdout=writing, stderr=subprocess.PIPE,
        check=False, timeout=ANSWER_SECONDS_MAX,
    )  # fmt: skip
    os.close(writing)
    assert (done.returncode, done.stderr) == (Exit.DONE, b"")


def test_the_demo_tells_its_statement_and_leaves_nothing_behind(open_folder: Path) -> None:
    def demo(*form: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [COMMAND, "demo", *form], env=environment() | {"TMPDIR": str(open_folder)}, cwd=open_folder,
            capture_output=True, text=True, check=True, timeout=ANSWER_SECONDS_MAX,
        )  # fmt: skip

    plain, as_json = demo(), demo("--json")
    assert plain.stdout.startswith("Statement of acme")
    assert plain.stdout.endswith("available: 42\n")
    assert "Mar 01: " in plain.stderr
    told = json.loads(as_json.stdout)
    assert (told["currentBalance"], told["statement"][-1]["balanceAfter"]) == ("42", "42")
    assert as_json.stderr == plain.stderr
    assert list(open_folder.iterdir()) == []


def test_on_a_data_folder_commands_work_without_a_service_and_beside_one(open_folder: Path) -> None:
    """With a service they visit its server, for one data folder has one server; after it, the data is still there."""
    books = Ledger({"data_dir": str(open_folder / "data")})
    books.json(*ISSUE, "acme", "--amount", "10")
    with serving(cwd=None, **books.settings) as service:
        books.json(*CONSUME, "acme", "--amount", "4", "--key", "k")
        summary = 'query { creditBalanceSummary(input: {customerId: "acme"}) { balances { currentBalanceExact } } }'
        assert service.data(summary)["creditBalanceSummary"]["balances"] == [{"currentBalanceExact": "6"}]
        made = books.json("keys", "create", "--name", "n", "--role", "reader")
        assert service.graphql(summary, headers={"X-API-KEY": made["key"]}).status_code == 200
        assert service.end() == Exit.DONE
    (balance,) = books.json("credits", "balance", "--customer", "acme")
    assert balance["currentBalance"] == "6"


def test_commands_side_by_side_on_one_data_folder_take_turns(open_folder: Path) -> None:
    """With no service there, each starts the server for itself; none is cut off by the end of another's."""
    ledger = Ledger({"data_dir": str(open_folder / "data")})
    assert ledger.run(*ISSUE, "acme", "--amount", "100").returncode == Exit.DONE
    with ThreadPoolExecutor(4) as threads:
        keys = [f"k{number}" for number in range(8)]
        done = list(threads.map(lambda key: ledger.run(*CONSUME, "acme", "--amount", "1", "--key", key), keys))
    assert [each.returncode for each in done] == [Exit.DONE] * 8, [each.stderr for each in done]
    (balance,) = ledger.json("credits", "balance", "--customer", "acme")
    assert balance["currentBalance"] == "92"


@pytest.mark.parametrize("place", ["a-file", "a-file/below", "/proc/nowhere"])
@pytest.mark.parametrize("arguments", [("serve",), ("grants", "list", "--customer", "acme")])
def test_a_data_folder_that_cannot_be_used_is_named(open_folder: Path, place: str, arguments: tuple[str, ...]) -> None:
    (open_folder / "a-file").touch()
    folder = open_folder / place
    done = command(*arguments, data_dir=str(folder), port="0")
    assert (done.returncode, done.stdout) == (Exit.USAGE, "")
    assert done.stderr.startswith("error: ")
    assert "a-file" in done.stderr or "/proc" in done.stderr


def test_a_full_disk_is_told(books: Ledger) -> None:
    done = subprocess.run(
        f"{COMMAND} config show > /dev/full", shell=True, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == Exit.FAULT
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
