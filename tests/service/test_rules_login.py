"""Logins: a token of 10 minutes for a key's id and secret, as good as the key, and worth nothing without it."""

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Iterator
from typing import Any

import httpx
import jwt
import pytest

from ledger.store.database import Database, Role
from ledger.store.migrate import migrate
from service.access import Unauthenticated
from service.api_keys import KeyRing
from service.bootstrap import RunningLedger, open_ledger
from service.rest.tokens import CHARACTERS_MAX, Tokens
from service.signing import Signing
from tests.conftest import drop
from tests.service.rules import NAMES, PROBLEM, RULE, Rules
from tests.service.serving import KEY, Service, serving
from tests.service.test_api_keys import key_for, revoke

LOGIN, EXTEND = "/login", "/auth_token/extend"
SECONDS = 600
UNKNOWN = "key-000000000000"


@pytest.fixture(scope="module")
def other_ledger(server_dsn: str) -> Iterator[Service]:
    """Another ledger, whose settings name the same admin key."""
    database = Database(server_dsn, f"t_{secrets.token_hex(6)}")
    migrate(database)
    with serving(database_url=database.dsn, schema=database.schema) as running:
        yield running
    drop(database)


@pytest.fixture(scope="module")
def neighbour(schema: Database, service: Service) -> Iterator[RunningLedger]:
    """Another process of the same ledger: this one."""
    with open_ledger(schema.dsn, schema=schema.schema, migrating=False, following=False) as running:
        yield running


@pytest.fixture
def signing(neighbour: RunningLedger) -> Signing:
    return Signing(neighbour.ledger)


class HandClock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def log_in(service: Service, **body: object) -> httpx.Response:
    return service.stranger.post(LOGIN, content=json.dumps(body))


def token_for(service: Service, key: str = f"admin.{KEY}") -> str:
    username, _, password = key.partition(".")
    answer = log_in(service, username=username, password=password)
    assert (answer.status_code, answer.json().keys()) == (200, {"token"}), answer.text
    token: str = answer.json()["token"]
    return token


def ask(service: Service, token: str, method: str = "GET", path: str = NAMES, **more: Any) -> httpx.Response:
    """A request with a token alone."""
    return service.stranger.request(method, path, headers={b"x-redlock-auth": token.encode()}, **more)


def good(service: Service, token: str) -> bool:
    """Whether a token is let in; whether it can be extended is the same question."""
    answers = ask(service, token), ask(service, token, path=EXTEND)
    for answer in answers:
        assert answer.status_code in (200, 401), answer.text
        assert answer.status_code == 200 or answer.json().keys() == PROBLEM
    assert answers[0].status_code == answers[1].status_code
    return answers[0].status_code == 200


def claims(**more: Any) -> dict[str, Any]:
    now = int(time.time())
    return {"sub": "admin", "iat": now, "exp": now + SECONDS} | more


def signed(signing: Signing, claimed: dict[str, Any], algorithm: str = "HS256", key: str = KEY) -> str:
    """A token that is signed as this ledger signs those of a key."""
    return jwt.encode(claimed, signing.signature("login", hashlib.sha256(key.encode()).hexdigest()), algorithm)


def segment(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def lives(tokens: Tokens, token: str | None) -> bool:
    try:
        tokens.caller(token)
    except Unauthenticated:
        return False
    return True


def test_whoever_logs_in_may_ask_as_his_key_may(service: Service, schema: Database, customer: str) -> None:
    key = key_for(schema, "writer")
    token, rules = token_for(service, key), Rules(service, customer)
    rule = ask(service, token, "POST", RULE, json=rules.wanted()).json()
    path = f"{RULE}/{rule['id']}"
    assert ask(service, token, "PATCH", path, json={"allocatedCredits": 1}).json()["allocatedCredits"] == 1
    assert ask(service, token, "GET", path).json()["allocatedCredits"] == 1
    assert rule["name"] in ask(service, token).json()["names"]
    assert ask(service, token, "DELETE", path).status_code == 200
    with schema.connect(Role.READER) as connection:
        found = connection.execute("SELECT actor_key FROM movements WHERE stream_id = %s", [rule["id"]]).fetchall()
    assert [next(iter(dict(row).values())) for row in found] == [key.partition(".")[0]] * 3


def test_a_token_tells_whose_it_is_and_until_when_and_no_secret(service: Service, schema: Database) -> None:
    key = key_for(schema, "reader")
    before, token, after = int(time.time()), token_for(service, key), time.time()
    told = jwt.decode(token, options={"verify_signature": False})
    assert told.keys() == {"sub", "iat", "exp", "jti"}
    assert key.partition(".")[2] not in str(told)
    assert (told["sub"], told["exp"] - told["iat"]) == (key.partition(".")[0], SECONDS)
    assert before <= told["iat"] <= after


def test_the_key_of_the_settings_logs_in_as_admin(service: Service) -> None:
    assert good(service, token_for(service))


def test_a_token_can_be_extended_again_and_again(service: Service) -> None:
    token = token_for(service)
    for _ in range(3):
        answer = ask(service, token, path=EXTEND)
        assert answer.json().keys() == {"token"}
        assert answer.json()["token"] != token  # though it be of the same second
        token = answer.json()["token"]
    assert good(service, token)


@pytest.mark.parametrize("headers", [{}, {"X-API-KEY": KEY}, {"Authorization": f"Bearer {KEY}"}], ids=str)
def test_a_token_is_extended_by_a_token_alone(service: Service, headers: dict[str, str]) -> None:
    answer = service.stranger.get(EXTEND, headers=headers)
    assert (answer.status_code, answer.json().keys()) == (401, PROBLEM)


def test_where_a_token_is_given_the_token_counts(service: Service) -> None:
    for token, key, status in ((token_for(service), "unknown", 200), ("unknown", KEY, 401), ("", KEY, 401)):
        answer = service.stranger.get(NAMES, headers={"x-redlock-auth": token, "X-API-KEY": key})
        assert answer.status_code == status


@pytest.mark.parametrize(
    ("username",        "password"),
    [
        ("admin",       "wrong"),
        ("admin",       KEY.upper()),
        ("admin",       f"{KEY} "),
        ("admin",       f"admin.{KEY}"),
        ("admin",       hashlib.sha256(KEY.encode()).hexdigest()),
        ("Admin",       KEY),
        ("ADMIN\u0130", KEY),
        (KEY,           "admin"),
        (UNKNOWN,       KEY),
        ("\u00e9",      "\U0001f4b3"),
    ],
)  # fmt: skip
def test_who_has_not_both_parts_of_a_key_gets_no_token(service: Service, username: str, password: str) -> None:
    answer = log_in(service, username=username, password=password)
    assert (answer.status_code, answer.json().keys()) == (401, PROBLEM)


def test_the_parts_of_two_keys_are_no_key(service: Service, schema: Database) -> None:
    (one, _, secret), (other, _, _) = (key_for(schema, "writer").partition(".") for _ in range(2))
    assert log_in(service, username=one, password=secret).status_code == 200
    for username in (other, one.upper(), "admin", f"{one}.{secret}"):
        assert log_in(service, username=username, password=secret).status_code == 401


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "username must be a text of 1 to 1000 characters; password must be a text of 1 to 1000 characters"),
        ({"username": "admin", "password": ""}, "password must be a text of 1 to 1000 characters"),
        ({"username": "a" * 1001, "password": "x"}, "username must be a text of 1 to 1000 characters"),
        ({"username": "a", "password": "x" * 1001}, "password must be a text of 1 to 1000 characters"),
        ({"username": 5, "password": "x"}, "username must be a text of 1 to 1000 characters"),
        ({"username": "a", "password": None}, "password must be a text of 1 to 1000 characters"),
        ({"username": "\0", "password": "\ud800"},
         "username must not contain U+0000; password must not contain lone surrogates"),
        ({"username": "a", "password": "x", "customerName": "y"}, "customerName is not known"),
    ],
    ids=lambda value: ascii(value)[:30],
)  # fmt: skip
def test_a_login_that_cannot_be_one_is_told_every_bad_field(service: Service, body: object, message: str) -> None:
    answer = service.stranger.post(LOGIN, content=json.dumps(body))
    assert (answer.status_code, answer.json().keys(), answer.json()["message"]) == (400, PROBLEM, message)
    assert log_in(service, username="a" * 1000, password="x" * 1000).status_code == 401


def test_a_token_that_has_expired_is_refused(service: Service, signing: Signing) -> None:
    now = int(time.time())
    assert good(service, signed(signing, claims()))
    assert good(service, signed(signing, claims(exp=now + 60)))
    assert not good(service, signed(signing, claims(exp=now)))
    assert not good(service, signed(signing, claims(exp=0)))


def test_the_test_clock_ends_no_token(service: Service) -> None:
    token = token_for(service)
    assert service.set_clock("2027-01-31T12:00:00Z").status_code == 200
    assert good(service, token)
    assert good(service, token_for(service))


@pytest.mark.parametrize(
    "wrong",
    [
        {"exp": None}, {"exp": "9999999999"}, {"exp": 9999999999.5}, {"iat": None}, {"sub": None}, {"sub": 5},
        {"sub": UNKNOWN}, {"sub": ""}, {"sub": "\0"}, {"sub": "\u00e9"}, {"aud": "others"},
    ],
    ids=str,
)  # fmt: skip
def test_a_token_with_other_claims_than_ours_is_refused(
    service: Service, signing: Signing, wrong: dict[str, Any]
) -> None:
    claimed = {name: value for name, value in claims(**wrong).items() if value is not None}
    if isinstance(wrong.get("sub"), int):  # which the library does not write
        body, secret = json.dumps(claimed), signing.signature("login", hashlib.sha256(KEY.encode()).hexdigest())
        token = jwt.api_jws.encode(body.encode(), secret, "HS256")
    else:
        token = signed(signing, claimed)
    assert not good(service, token)


def test_a_token_that_was_altered_is_refused(service: Service, signing: Signing) -> None:
    token = token_for(service)
    header, body, signature = token.split(".")
    longer = segment(json.dumps(claims(exp=9999999999)))
    altered = [
        token[:-2] + ("AA" if not token.endswith("AA") else "BB"), f"{header}.{longer}.{signature}",
        f"{header}.{body}.", f"{header}.{body}", f"{body}.{header}.{signature}", f"{token}.{signature}", f"{token}x",
        f"Bearer {token}", "", ".", "..", "a.b.c", "\u00e9", "x" * (CHARACTERS_MAX + 1), KEY, f"admin.{KEY}",
        signed(signing, claims(), "HS512"), signed(signing, claims(), "HS384"),
        signed(signing, claims(), key="another key"), jwt.encode(claims(), KEY * 2, "HS256"),
        jwt.encode(claims(), "", "none"), f"{segment(json.dumps({'alg': 'none'}))}.{longer}.{signature}",
        f"{segment(json.dumps({'alg': 'NONE'}))}.{longer}.", f"{segment(json.dumps({'alg': {}}))}.{body}.{signature}",
        f"{segment('[]')}.{body}.{signature}", f"{header}.{segment('[]')}.{signature}",
        f"{header}.{segment('[' * 2900)}.{signature}", f"{segment('[' * 2900)}.{body}.{signature}",
    ]  # fmt: skip
    assert [each for each in altered if good(service, each)] == []
    assert good(service, token)


def test_the_token_of_a_key_that_was_revoked_is_refused_at_once(service: Service, schema: Database) -> None:
    key, other = key_for(schema, "admin"), key_for(schema, "admin")
    token, others = token_for(service, key), token_for(service, other)
    assert good(service, token)
    revoke(schema, key)
    assert not good(service, token)
    assert good(service, others)
    username, _, password = key.partition(".")
    assert log_in(service, username=username, password=password).status_code == 401


def test_the_token_of_another_ledger_is_refused(service: Service, other_ledger: Service) -> None:
    """Though both know the same key."""
    ours, theirs = token_for(service), token_for(other_ledger)
    assert (good(service, ours), good(other_ledger, theirs)) == (True, True)
    assert (good(service, theirs), good(other_ledger, ours)) == (False, False)


def test_no_secret_and_no_token_stands_in_the_log(service: Service, schema: Database) -> None:
    key = key_for(schema, "writer")
    token = token_for(service, key)
    ask(service, token)
    ask(service, f"{token}x")
    said = service.log()
    assert LOGIN in said
    assert key.partition(".")[0] in said
    assert key.partition(".")[2] not in said
    assert token not in said


@pytest.fixture
def hand() -> HandClock:
    return HandClock()


@pytest.fixture
def tokens(neighbour: RunningLedger, signing: Signing, hand: HandClock) -> Tokens:
    """Tokens by themselves, on a clock that a test moves."""
    return Tokens(KeyRing(neighbour.reader, KEY), signing, hand)


def test_a_token_lives_ten_minutes_and_no_longer(tokens: Tokens, hand: HandClock) -> None:
    token = tokens.log_in("admin", KEY)
    hand.seconds += SECONDS - 1.001  # times in tokens are whole seconds, rounded down
    assert lives(tokens, token)
    hand.seconds += 1.001
    assert not lives(tokens, token)
    with pytest.raises(Unauthenticated):
        tokens.extend(token)


def test_who_extends_his_token_in_time_goes_on_as_long_as_he_likes(tokens: Tokens, hand: HandClock) -> None:
    token = first = tokens.log_in("admin", KEY)
    for _ in range(5):
        hand.seconds += SECONDS / 2 + 1
        token = tokens.extend(token)
        assert lives(tokens, token)
    assert not lives(tokens, first)


def test_a_token_is_good_in_every_process_of_its_ledger(service: Service, tokens: Tokens) -> None:
    assert good(service, tokens.log_in("admin", KEY))
    assert tokens.caller(token_for(service)).key_id == "admin"


def test_who_changes_the_key_of_the_settings_ends_its_tokens(
    neighbour: RunningLedger, signing: Signing, tokens: Tokens
) -> None:
    token = tokens.log_in("admin", KEY)
    for admin_key in ("another key", None):
        assert not lives(Tokens(KeyRing(neighbour.reader, admin_key), signing), token)


def test_where_the_settings_name_no_key_nobody_logs_in_as_admin(neighbour: RunningLedger, signing: Signing) -> None:
    tokens = Tokens(KeyRing(neighbour.reader, None), signing)
    for password in ("", "admin", "None", KEY):
        with pytest.raises(Unauthenticated):
            tokens.log_in("admin", password)
    assert not lives(tokens, signed(signing, claims()))
    assert not lives(tokens, None)


def test_a_key_of_the_settings_with_a_dot_logs_in_by_its_parts_too(neighbour: RunningLedger, signing: Signing) -> None:
    tokens = Tokens(KeyRing(neighbour.reader, "left.ri.ght"), signing)
    for username, password in (("left", "ri.ght"), ("admin", "left.ri.ght")):
        assert tokens.caller(tokens.log_in(username, password)).key_id == "admin"
    for username, password in (("left", "ri"), ("ri.ght", "left"), ("admin", "ri.ght")):
        with pytest.raises(Unauthenticated):
            tokens.log_in(username, password)
