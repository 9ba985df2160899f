"""The one table of refusals: total, without two of one name, and telling each door what it needs."""

import dataclasses
import importlib
import json
import pkgutil
from types import ModuleType
from typing import Any, get_type_hints

import psycopg
import pytest

import ledger
import projections
import service
from ledger.application.receipts import LedgerUnavailable
from ledger.domain.refusals import IdempotencyKeyReused, InvalidArgument, Refusal
from service.api_keys import ApiKeyNotFound
from service.rate_limit import BucketEmpty, RateLimitExceeded
from service.refusals import (
    ANSWERS,
    EXECUTION_WORDS,
    FAULT_CODE,
    GRANT_WORDS,
    RULE_WORDS,
    BodyTooLarge,
    Exit,
    InvalidFields,
    told,
)

SAMPLES: dict[object, Any] = {
    str: "some-text",
    int: 7_500_000_000,
    int | None: 7_500_000_000,
    bool: True,
    tuple[str, ...]: ("amount", "holder"),
    tuple[tuple[str, str], ...]: (("amount", "must be above zero"), ("holder", "is not known")),
}
"""A value for every type that a refusal's field has; as Credits the number is 7.5."""
BY_HAND: dict[type[Exception], Exception] = {
    ApiKeyNotFound: ApiKeyNotFound("key-0"),
    BodyTooLarge: BodyTooLarge(10),
    LedgerUnavailable: LedgerUnavailable("not now", outcome_unknown=True),
}


def modules(package: ModuleType) -> None:
    """Import everything below a package, so that every refusal there is has been defined."""
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(found.name)


def below(kind: type[Refusal]) -> set[type[Exception]]:
    return {kind for each in kind.__subclasses__() for kind in {each, *below(each)}}


def every_problem() -> list[type[Exception]]:
    for package in (ledger, projections, service):
        modules(package)
    return [*sorted(below(Refusal), key=lambda kind: kind.__name__), LedgerUnavailable]


def sample(kind: type[Exception]) -> Exception:
    """One problem of a kind, its fields filled by their types."""
    if kind in BY_HAND:
        return BY_HAND[kind]
    if not dataclasses.is_dataclass(kind):
        return kind()
    types = get_type_hints(kind)
    made: Exception = kind(**{field.name: SAMPLES[types[field.name]] for field in dataclasses.fields(kind)})
    return made


def code_of(kind: type[Exception]) -> str:
    code: str = kind.code  # type: ignore[attr-defined]  # every refusal has one, and LedgerUnavailable
    return code


def test_every_refusal_has_its_row_and_every_row_its_refusal() -> None:
    assert set(ANSWERS) == set(every_problem())


def test_no_two_refusals_share_a_code_and_none_is_called_as_our_own_faults_are() -> None:
    """But for one that is another in words of its own, and is answered as that is."""
    codes: dict[str, type[Exception]] = {InvalidArgument.code: InvalidArgument}
    for kind in sorted(every_problem(), key=lambda kind: len(kind.__mro__)):
        first = codes.setdefault(code_of(kind), kind)
        assert issubclass(kind, first), f"{kind} and {first}"
        assert ANSWERS[kind] == ANSWERS[first]
    assert FAULT_CODE not in codes


@pytest.mark.parametrize(
    ("code",                                    "status", "ends",         "retry"),
    [
        ("InvalidArgumentError",                     400, Exit.USAGE,     False),
        ("ExpireAtMustBeLaterThanEffectiveAtError",  400, Exit.USAGE,     False),
        ("Unauthenticated",                          401, Exit.FORBIDDEN, False),
        ("IdentityForbidden",                        403, Exit.FORBIDDEN, False),
        ("CreditGrantNotFound",                      404, Exit.NOT_FOUND, False),
        ("TransactionNotFound",                      404, Exit.NOT_FOUND, False),
        ("InsufficientCredits",                      409, Exit.REFUSED,   False),
        ("CreditGrantAlreadyVoided",                 409, Exit.REFUSED,   False),
        ("CreditGrantCannotBeVoided",                409, Exit.REFUSED,   False),
        ("CannotUpdateExpireAtForExpiredCreditGrantError", 409, Exit.REFUSED, False),
        ("GrantScheduleNotFound",                    404, Exit.NOT_FOUND, False),
        ("RefundExceedsDebit",                       409, Exit.REFUSED,   False),
        ("ExecutionCreditNotFound",                  404, Exit.NOT_FOUND, False),
        ("ExecutionCreditDeleted",                   409, Exit.REFUSED,   False),
        ("ExecutionCreditExists",                    409, Exit.REFUSED,   False),
        ("CreditsBelowUsed",                         409, Exit.REFUSED,   False),
        ("RollupTypeStays",                          409, Exit.REFUSED,   False),
        ("AllocationRuleNotFound",                   404, Exit.NOT_FOUND, False),
        ("AllocationRuleExists",                     409, Exit.REFUSED,   False),
        ("IdempotencyKeyReused",                     409, Exit.REFUSED,   False),
        ("ClockWouldGoBack",                         409, Exit.REFUSED,   False),
        ("QueueFull",                                429, Exit.TRY_AGAIN, True),
        ("RateLimitExceeded",                        429, Exit.TRY_AGAIN, True),
        ("PositionNotReached",                       503, Exit.TRY_AGAIN, True),
        ("LedgerUnavailable",                        503, Exit.TRY_AGAIN, True),
    ],
)  # fmt: skip
def test_the_codes_of_the_contract(code: str, status: int, ends: Exit, retry: bool) -> None:
    (answer,) = {answer for kind, answer in ANSWERS.items() if code_of(kind) == code}
    assert (answer.status, answer.exit, answer.retry_seconds is not None) == (status, ends, retry)


def test_what_may_succeed_later_says_when_and_nothing_else_does() -> None:
    for kind, answer in ANSWERS.items():
        later = answer.status in (429, 503)
        assert (answer.retry_seconds or 0) >= int(later), kind
        assert later == (answer.retry_seconds is not None) == (answer.exit is Exit.TRY_AGAIN), kind


def test_who_asked_too_often_is_told_how_long_to_wait() -> None:
    problem = told(RateLimitExceeded(1200, 42))
    assert problem is not None
    assert (problem.answer.retry_seconds, problem.facts) == (42, {"requestsMax": 1200, "retryAfterSeconds": 42})
    emptied = told(BucketEmpty(1000, 3))
    assert emptied is not None
    assert (emptied.answer, emptied.code) == (problem.answer._replace(retry_seconds=3), problem.code)
    assert emptied.message == "more than 1000 requests at once: try again in 3 seconds"


def test_an_exit_code_never_says_done_or_a_fault_of_ours_of_a_refusal() -> None:
    assert not {answer.exit for answer in ANSWERS.values()} & {Exit.DONE, Exit.FAULT}


@pytest.mark.parametrize("kind", every_problem(), ids=lambda kind: kind.__name__)
def test_every_refusal_is_told_with_its_facts_as_json(kind: type[Exception]) -> None:
    problem = told(sample(kind))
    assert problem is not None
    assert problem.code == code_of(kind)
    assert problem.message
    text = json.dumps(problem.facts)
    assert json.dumps(json.loads(text)) == text
    assert "code" not in problem.facts  # it would hide the code
    assert not [name for name in problem.facts if "_" in name]


@pytest.mark.parametrize("kind", [kind for kind in every_problem() if getattr(kind, "AMOUNTS", None)])
def test_an_amount_is_told_as_a_number_and_exactly(kind: type[Refusal]) -> None:
    problem = told(sample(kind))
    assert problem is not None
    for name in kind.AMOUNTS:
        assert (problem.facts[name], problem.facts[f"{name}Exact"]) == (7.5, "7.5")


def test_fields_are_called_as_the_door_calls_them() -> None:
    argument = told(InvalidArgument("holder", "must be a text"), GRANT_WORDS)
    reused = told(IdempotencyKeyReused("k", ("amount", "resource")), GRANT_WORDS)
    assert argument is not None
    assert reused is not None
    assert (argument.facts["field"], argument.message) == ("customerId", "customerId must be a text")
    assert reused.facts["differing"] == ["amount", "resourceId"]
    assert "resourceId" in reused.message


EXECUTION, RULES = (EXECUTION_WORDS, "execution credits"), (RULE_WORDS, "rules")


@pytest.mark.parametrize(
    ("of", "ours", "wire"),
    [
        (EXECUTION, "holder", "companyId"), (EXECUTION, "currency", "creditType"), (EXECUTION, "amount", "credits"),
        (EXECUTION, "dimensions", "projectId"), (EXECUTION, "accountGroups", "accountGroupIds"),
        (EXECUTION, "rollupType", "rollupType"),
        (RULES, "currency", "currencyId"), (RULES, "idempotencyKey", "Idempotency-Key"),
        (RULES, "accountGroups", "accountGroups"), (RULES, "allocatedCredits", "allocatedCredits"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[1],
)  # fmt: skip
def test_fields_of_a_contract_are_called_as_it_calls_them(of: tuple[dict[str, str], str], ours: str, wire: str) -> None:
    argument = told(InvalidArgument(ours, "is bad"), of[0])
    reused = told(IdempotencyKeyReused("k", (ours,)), of[0])
    assert argument is not None
    assert reused is not None
    assert (argument.facts["field"], reused.facts["differing"]) == (wire, [wire])


def test_all_that_is_wrong_is_told_in_one_message() -> None:
    problem = told(InvalidFields((("name", "must be a text"), ("limit", "is not known"))))
    assert problem is not None
    assert (problem.code, problem.answer) == ("InvalidFields", ANSWERS[InvalidArgument])
    assert problem.message == "name must be a text; limit is not known"


def test_a_database_that_is_away_is_told_without_the_words_of_the_driver() -> None:
    problem = told(psycopg.OperationalError("connection to server at db-7 failed for user me"))
    assert problem is not None
    assert problem.code == "LedgerUnavailable"
    assert "db-7" not in f"{problem.message}{problem.facts}"


@pytest.mark.parametrize("error", [ValueError("secret"), AssertionError(), psycopg.errors.UndefinedTable(), Refusal()])
def test_a_fault_of_ours_is_no_refusal(error: Exception) -> None:
    assert told(error) is None
