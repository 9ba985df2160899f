"""What an operator sees of webhooks, and does about them, by the command line."""

from datetime import UTC, datetime, timedelta

import pytest

from ledger.domain.instants import instant_from_text
from ledger.store.database import Database
from service.refusals import Exit
from service.webhooks import endpoints as webhooks
from service.webhooks.signatures import PREFIX
from tests.service.load import eventually
from tests.service.serving import command
from tests.webhooks.receiving import SECONDS_MAX
from tests.webhooks.sending import delivering, ledger_of, told

URL = "http://127.0.0.1:1/hook"


def test_an_endpoint_from_its_making_to_its_end(database: Database) -> None:
    """While nobody delivers: what is wanted waits in the log."""
    with ledger_of(database) as sending:
        head = sending.grants("acme")
        made = told(
            database, "create", "--url", URL, "--type", "ledger.debited", "--holder", "acme", "--currency", "credits",
            "--description", "billing",
        )  # fmt: skip
        assert made.pop("secret").startswith(PREFIX)
        assert made == {
            "id": made["id"], "state": "enabled", "url": URL, "description": "billing", "types": ["ledger.debited"],
            "holders": ["acme"], "currencies": ["credits"], "position": head, "created_at": made["created_at"],
            "disabled_at": None, "disabled_why": None, "lag": 0, "waiting": 0, "parked": 0, "failing": 0, "error": None,
        }  # fmt: skip
        sending.uses("acme", times=3)
        assert told(database, "list") == [made | {"lag": 3}]
        one = made["id"]
        shown = told(database, "show", one)
        assert [secret["good_until"] for secret in shown.pop("secrets")] == [None]
        assert shown == made | {"lag": 3}
        disabled = told(database, "disable", one)
        assert (disabled["state"], disabled["disabled_why"]) == ("disabled", "an operator has disabled it")
        assert told(database, "disable", one)["disabled_at"] == disabled["disabled_at"]
        assert told(database, "enable", one) == made | {"lag": 3}
        assert told(database, "replay", one, "--from", "1")["position"] == 0
        assert told(database, "parked", one) == told(database, "deliveries", one, "--failed", "--limit", "5") == []
        assert told(database, "delete", one)["id"] == one
        assert told(database, "list") == []
        refused = told(database, "show", one, ends=Exit.NOT_FOUND)
        assert (refused["code"], refused["endpoint"]) == ("WebhookEndpointNotFound", one)


def test_that_nobody_delivers_is_said(database: Database) -> None:
    def listed() -> str:
        return command("webhooks", "list", database_url=database.dsn, schema=database.schema).stderr

    assert listed() == "nobody delivers: start credit-ledger worker, or serve\n"
    with delivering(database):
        assert eventually(lambda: listed() == "", SECONDS_MAX)


def test_an_endpoint_begins_now_or_at_a_position_or_with_the_first_event(database: Database) -> None:
    with ledger_of(database) as sending:
        sending.grants("acme")
        sending.uses("acme", times=9)
    begins: dict[tuple[str, ...], int] = {(): 10, ("--from", "4"): 3, ("--from", "11"): 10, ("--from-beginning",): 0}
    for given, position in begins.items():
        assert told(database, "create", "--url", URL, *given)["position"] == position
    refused = told(database, "create", "--url", URL, "--from", "12", ends=Exit.USAGE)
    assert refused["message"] == "--from must be a position from 1 to 11"


def test_a_rotated_secret_is_good_for_the_overlap_and_the_last_ones_are_shown(database: Database) -> None:
    made = told(database, "create", "--url", URL)
    before = datetime.now(UTC)
    rotated = told(database, "rotate", made["id"], "--overlap", "48")
    assert rotated["secret"] != made["secret"]
    newest, former = told(database, "show", made["id"])["secrets"]
    assert newest["good_until"] is None
    until = instant_from_text(former["good_until"], field="good_until")
    assert timedelta(hours=48) <= until - before < timedelta(hours=49)
    told(database, "rotate", made["id"], "--overlap", "0")
    assert len(told(database, "show", made["id"])["secrets"]) == 1


@pytest.mark.parametrize(
    ("given", "code", "ends"),
    [
        (["create", "--url", "https://127.0.0.1/"],                       "WebhookTargetForbidden",  Exit.USAGE),
        (["create", "--url", "https://localhost:8443/"],                  "WebhookTargetForbidden",  Exit.USAGE),
        (["create", "--url", "http://93.184.215.14/"],                    "InvalidArgumentError",    Exit.USAGE),
        (["create", "--url", "https://no-such-host.invalid/"],            "InvalidArgumentError",    Exit.USAGE),
        (["create", "--url", "https://93.184.215.14/", "--type", "none"], "InvalidArgumentError",    Exit.USAGE),
        (["create", "--url", "https://93.184.215.14/", "--holder", ""],   "InvalidArgumentError",    Exit.USAGE),
        (["rotate", "webhook-0"],                                         "WebhookEndpointNotFound", Exit.NOT_FOUND),
        (["enable", "webhook-0"],                                         "WebhookEndpointNotFound", Exit.NOT_FOUND),
        (["delete", "webhook-0"],                                         "WebhookEndpointNotFound", Exit.NOT_FOUND),
        (["replay", "webhook-0", "--parked"],                             "WebhookEndpointNotFound", Exit.NOT_FOUND),
        (["parked", "webhook-0"],                                         "WebhookEndpointNotFound", Exit.NOT_FOUND),
        (["deliveries", "webhook-0"],                                     "WebhookEndpointNotFound", Exit.NOT_FOUND),
        (["replay", "webhook-0"],                                         "Usage",                   Exit.USAGE),
    ],
)  # fmt: skip
def test_what_is_refused_says_why(schema: Database, given: list[str], code: str, ends: Exit) -> None:
    assert told(schema, *given, ends=ends, webhook_private_targets="0")["code"] == code
    assert told(schema, "list") == []


def test_there_are_no_more_endpoints_than_one_process_serves(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "ENDPOINTS_MAX", 1)
    told(database, "create", "--url", URL)
    assert told(database, "create", "--url", URL, ends=Exit.REFUSED)["code"] == "TooManyWebhookEndpoints"
