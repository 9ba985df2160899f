"""The auditor's door: whom it lets in, what it shows them, and what it says of a question that it cannot take."""

import io
import json
import secrets
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import schemathesis
from psycopg import sql
from psycopg.conninfo import make_conninfo

from ledger.application import BlockingLedger, CreditLedger
from ledger.store.clock import settable_clock
from ledger.store.database import Database, Role
from projections.reading import Reader
from projections.refusals import TooManyRows
from service.audit.door import REPLAY, REPORTS_MAX
from service.audit.openapi import document
from service.audit.questions import QUESTIONS
from service.audit.rollforward import ROLLFORWARD as ROLLFORWARD_QUESTION
from service.audit.statement import STATEMENT
from tests.conftest import Hands
from tests.feed.conftest import key_for
from tests.service.load import eventually
from tests.service.serving import Service, client_of, command, serving

ROLLFORWARD = "/v1/report/rollforward"
API = schemathesis.openapi.from_dict(document())


@pytest.fixture(scope="module")
def settings(schema: Database) -> dict[str, str]:
    return {"database_url": schema.dsn, "schema": schema.schema, "test_clock": "1"}


@pytest.fixture(scope="module")
def service(schema: Database, settings: dict[str, str]) -> Iterator[Service]:
    """Two customers and a company have credits."""
    Hands(schema)
    with CreditLedger(schema, clock=settable_clock()) as ledger:
        books = BlockingLedger(ledger)
        for holder in ("acme", "globex"):
            books.issue_grant(holder=holder, currency="credits", amount=10, display_name="g", grant_type="PAID")
        books.open_execution_credit(company="hooli", credit_type="DAST", credits=3, rollup_type="MONTHLY")
    with serving(cwd=None, **settings) as service:
        yield service


def asked(service: Service, key: str | None, path: str = ROLLFORWARD, **parameters: Any) -> tuple[int, dict[str, Any]]:
    with client_of(service.url, key) as client:
        answer = client.get(path, params=parameters)
        return answer.status_code, answer.json()


@pytest.mark.parametrize("path", [question.path for question in QUESTIONS])
def test_only_a_key_that_may_audit_is_let_in(service: Service, schema: Database, path: str) -> None:
    assert asked(service, None, path)[0] == 401
    for role in ("reader", "writer"):
        status, problem = asked(service, key_for(schema, role=role)[1], path)
        assert (status, problem["code"]) == (403, "IdentityForbidden")
    assert asked(service, key_for(schema, role="auditor")[1], path)[0] in (200, 400)


def test_a_key_that_is_bound_sees_what_is_its_holders_and_no_more(service: Service, schema: Database) -> None:
    _, key = key_for(schema, "acme", "hooli", role="auditor")
    status, report = asked(service, key)
    assert (status, [row["holder"] for row in report["rows"]]) == (200, ["acme", "hooli"])
    assert report["parameters"] == {"by": "customer", "holders": "acme, hooli"}, "whose figures these are"
    status, report = asked(service, key, by="currency")
    assert [(row["currency"], row["closing"]) for row in report["rows"]] == [("credits", "10"), ("DAST", "3")]
    assert asked(service, key, customer="acme")[0] == 200
    for whose in ({"customer": "globex"}, {"customer": "nobody"}, {"company": "globex"}):
        status, problem = asked(service, key, **whose)
        assert (status, problem["code"]) == (403, "IdentityForbidden")


@pytest.mark.parametrize(
    ("parameters", "field", "says"),
    [
        ({"form": "x"}, "form", "is not a parameter; there are by, company, currency, customer, effectiveAsOf, format"),
        ({"from": "2026-02-30T00:00:00Z"}, "from", "is no instant of the calendar"),
        ({"from": "2026-02-01"}, "from", "must be an instant with a zone"),
        ({"to": "2026-02-01T00:00:00.1234567Z"}, "to", "must have at most 6 fraction digits"),
        ({"to": "0001-01-01T00:00:00Z"}, "to", "must be later"),
        ({"from": "2026-02-01T00:00:00Z", "to": "2026-02-01T00:00:00Z"}, "from", "must be earlier"),
        (
            {"to": "2026-02-01T00:00:00Z", "effectiveAsOf": "2026-02-01T00:00:00Z"},
            "to",
            "must not be given beside the effective clock",
        ),
        ({"recordedAsOf": "yesterday"}, "recordedAsOf", "must be a position of the log, or an instant"),
        ({"recordedAsOf": "1000"}, "recordedAsOf", "must not be beyond the head of the log"),
        ({"recordedAsOf": "-1"}, "recordedAsOf", "must be a position"),
        ({"format": "xls"}, "format", "must be one of json, csv, jsonl, parquet"),
        ({"by": "planet"}, "by", "must be one of customer, currency, grant-type"),
        ({"customer": "a", "company": "b"}, "company", "must not be given beside a customer"),
        ({"customer": ""}, "customer", "must be a text of 1 to 200 characters"),
        ({"by": ["customer", "currency"]}, "by", "must be given once"),
    ],
)
def test_what_is_wrong_with_a_question_is_told_by_the_parameters_name(
    service: Service, parameters: dict[str, Any], field: str, says: str
) -> None:
    status, problem = asked(service, service.key, **parameters)
    assert (status, problem["code"], problem["field"]) == (400, "InvalidArgumentError", field), problem
    assert says in problem["message"]


def test_the_command_line_tells_it_by_its_options_name(service: Service, settings: dict[str, str]) -> None:
    done = command(
        "report", "rollforward", "--to", "2026-02-01T00:00:00Z", "--effective-as-of", "2026-02-01T00:00:00Z",
        cwd=None, **settings,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: --to must not be given beside the effective clock")


def test_an_answer_tells_the_position_it_is_right_at(service: Service, schema: Database) -> None:
    answer = service.http.get(ROLLFORWARD, params={"recordedAsOf": "1"})
    assert answer.headers["X-Ledger-Position"] == answer.json()["asOf"]["recordedAsOf"] == "1"
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_file_by_http_is_the_file_of_the_command_line(
    service: Service, settings: dict[str, str], tmp_path: Path, form: str
) -> None:
    """Both are asked at the same clocks; the zip has the file and its manifest."""
    answer = service.http.get(ROLLFORWARD, params={"recordedAsOf": "3", "by": "currency", "format": form})
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/zip")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="rollforward.zip"'
    done = command(
        "report", "rollforward", "--recorded-as-of", "3", "--by", "currency", "--export", str(tmp_path), "--format",
        form, cwd=None, **settings,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    assert found == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert found.keys() == {f"rollforward.{form}", "manifest.json"}


def test_a_replay_by_http_finds_what_that_of_the_command_line_does(
    service: Service, schema: Database, settings: dict[str, str]
) -> None:
    answer = service.http.post(REPLAY, params={"to": "3"})
    done = command("audit", "replay", "--to", "3", "--json", cwd=None, **settings)
    assert (answer.status_code, done.returncode) == (200, 0), (answer.text, done.stderr)
    timing = {"seconds", "eventsPerSecond"}
    of_both = [{name: told[name] for name in told.keys() - timing} for told in (answer.json(), json.loads(done.stdout))]
    assert of_both[0] == of_both[1]
    assert (of_both[0]["position"], of_both[0]["passed"]) == (4, True), "to its end"
    status = service.http.post(REPLAY, params={"to": "1000"})
    assert (status.status_code, status.json()["field"]) == (400, "to")
    for key, refused in ((None, 401), (key_for(schema, role="reader")[1], 403)):
        with client_of(service.url, key) as client:
            assert client.post(REPLAY).status_code == refused
    with client_of(service.url, key_for(schema, "acme", role="auditor")[1]) as client:
        assert client.post(REPLAY).json()["code"] == "IdentityForbidden"


@pytest.mark.parametrize(
    ("path", "parameters", "status"),
    [
        *((question.path, {"customer": "acme"}, 200) for question in QUESTIONS if question.tabular),
        (ROLLFORWARD, {"format": "parquet"}, 200),
        (ROLLFORWARD, {"by": "planet"}, 400),
        ("/v1/audit/trace/balance", {"customer": "acme"}, 200),
        ("/v1/audit/trace/lot", {"lot": "cg-0000000000000000"}, 404),
    ],
)
def test_an_answer_is_as_the_document_says(
    service: Service, path: str, parameters: dict[str, str], status: int
) -> None:
    answer = service.http.get(path, params=parameters)
    assert answer.status_code == status, answer.text
    API[path]["GET"].validate_response(answer)


def test_a_replays_answer_is_as_the_document_says(service: Service) -> None:
    API[REPLAY]["POST"].validate_response(service.http.post(REPLAY))


def test_the_same_question_is_told_in_the_same_words_however_it_was_asked(service: Service) -> None:
    bodies = {
        service.http.get(f"{ROLLFORWARD}?{query}").content
        for query in (
            "from=2026-01-01T00:00:00Z&recordedAsOf=3&by=customer",
            "recordedAsOf=3&from=2026-01-01T01:00:00%2B01:00",
        )
    }
    assert len(bodies) == 1


def test_an_answer_of_an_empty_log_is_final_only_where_both_clocks_are_named(service: Service) -> None:
    finals = [
        asked(service, service.key, recordedAsOf="0", **more)[1]["asOf"]["final"]
        for more in ({}, {"effectiveAsOf": "2026-01-01T00:00:00Z"})
    ]
    assert finals == [False, True]


def test_an_account_that_may_only_read_is_enough_for_what_was_recorded(
    service: Service, schema: Database, settings: dict[str, str]
) -> None:
    """The present needs what is due to be written first."""
    name = f"auditor_{secrets.token_hex(4)}"
    role = sql.Identifier(name)
    with psycopg.connect(schema.dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(role))
        connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(schema.role_name(Role.READER)), role))
        try:
            theirs = settings | {"database_url": make_conninfo(schema.dsn, user=name, password="x")}
            done = command("report", "rollforward", "--recorded-as-of", "3", "--json", cwd=None, **theirs)
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout) == asked(service, service.key, recordedAsOf="3")[1]
            done = command("report", "rollforward", cwd=None, **theirs)
            assert (done.returncode, done.stdout) == (5, "")
        finally:
            connection.execute(sql.SQL("DROP OWNED BY {}; DROP ROLE {}").format(role, role))


def test_a_text_cannot_move_the_terminals_cursor(service: Service, schema: Database, settings: dict[str, str]) -> None:
    with CreditLedger(schema, clock=settable_clock()) as ledger:
        BlockingLedger(ledger).issue_grant(
            holder="odd\x1b[2J\n", currency="credits", amount=1, display_name="a\tb\x07", grant_type="PAID"
        )
    done = command("report", "statement", "--customer", "odd\x1b[2J\n", cwd=None, **settings)
    assert done.returncode == 0, done.stderr
    assert "odd\\x1b[2J\\n" in done.stdout
    assert "a\\tb\\x07" in done.stdout
    assert done.stdout.replace("\n", "").isprintable()


def test_reports_that_nobody_waits_for_are_given_up(service: Service, schema: Database) -> None:
    """Two are made at once: a third is told to come again, and gets its turn when the two have lost their readers."""
    with psycopg.connect(schema.conninfo(None)) as holding:
        holding.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")  # whoever reads the log waits
        for number in range(REPORTS_MAX):
            leaving = {"X-Request-Id": f"leaves-{number}"}
            with client_of(service.url, service.key) as client, pytest.raises(httpx.ReadTimeout):
                client.get(ROLLFORWARD, params={"recordedAsOf": "3"}, headers=leaving, timeout=0.2)
        status, problem = asked(service, service.key, recordedAsOf="3")
        assert (status, problem["code"]) == (429, "TooManyReports")
        assert eventually(lambda: service.log().count("nobody waits for this report any more") == REPORTS_MAX, 20.0)
    for number in range(REPORTS_MAX):
        assert eventually(partial(was_given_up, service, f"leaves-{number}"), 20.0)
    assert asked(service, service.key, recordedAsOf="3")[0] == 200


def was_given_up(service: Service, request_id: str) -> bool:
    """Whether the service's log has a request's end, and that it came to nothing."""
    lines = [json.loads(line) for line in service.log().splitlines() if request_id in line]
    return [line["status"] for line in lines if "status" in line] == [503]


def test_an_answer_that_is_too_long_is_refused_and_says_where_it_can_be_had(service: Service, schema: Database) -> None:
    """Whether its rows are read one by one, or it is known to be too long once it is whole."""
    with Reader(schema, clock=settable_clock()) as reader:
        for question, texts in ((STATEMENT, {"customer": "acme"}), (ROLLFORWARD_QUESTION, {})):
            assert question.ask(reader, texts, rows_max=9).rows
            with pytest.raises(TooManyRows, match=r"more than 0 rows.*command line"):
                question.ask(reader, texts, rows_max=0)


def test_a_form_without_a_folder_is_refused(settings: dict[str, str]) -> None:
    done = command("report", "rollforward", "--format", "csv", cwd=None, **settings)
    assert (done.returncode, done.stdout) == (2, "")
