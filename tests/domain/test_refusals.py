"""Refusals: a stable code, named facts and a message for people."""

from typing import Any

import pytest

from ledger.domain import refusals
from ledger.domain.refusals import Refusal

ONE = 10**9

REFUSALS: list[tuple[Refusal, str, dict[str, Any], str]] = [
    # refusal, code, facts, message
    (
        refusals.InvalidArgument("amount", "must be above zero"),
        "InvalidArgumentError",
        {"field": "amount", "reason": "must be above zero"},
        "amount must be above zero",
    ),
    (
        refusals.InsufficientCredits(available=ONE, requested=2_500_000_000, shortfall=1_500_000_000),
        "InsufficientCredits",
        {"available": ONE, "requested": 2_500_000_000, "shortfall": 1_500_000_000},
        "2.5 credits requested, 1 available, 1.5 short",
    ),
    (
        refusals.CreditGrantNotFound("cg-1"),
        "CreditGrantNotFound",
        {"grant": "cg-1"},
        "no credit grant cg-1",
    ),
    (
        refusals.CreditGrantAlreadyVoided("cg-1"),
        "CreditGrantAlreadyVoided",
        {"grant": "cg-1"},
        "credit grant cg-1 is void already",
    ),
    (
        refusals.CreditGrantCannotBeVoided("cg-1"),
        "CreditGrantCannotBeVoided",
        {"grant": "cg-1"},
        "credit grant cg-1 has nothing left to void",
    ),
    (
        refusals.ExpireAtMustBeLaterThanEffectiveAt("2026-01-01T00:00:00.000Z", "2026-02-01T00:00:00.000Z"),
        "ExpireAtMustBeLaterThanEffectiveAtError",
        {"expire_at": "2026-01-01T00:00:00.000Z", "effective_at": "2026-02-01T00:00:00.000Z"},
        "expireAt must be later than effectiveAt: 2026-01-01T00:00:00.000Z is not later than 2026-02-01T00:00:00.000Z",
    ),
    (
        refusals.CannotUpdateExpireAtForExpiredCreditGrant("cg-1"),
        "CannotUpdateExpireAtForExpiredCreditGrantError",
        {"grant": "cg-1"},
        "credit grant cg-1 has expired: its expireAt cannot change any more",
    ),
    (
        refusals.GrantScheduleNotFound("s-1"),
        "GrantScheduleNotFound",
        {"schedule": "s-1"},
        "no grant schedule s-1 that still grants",
    ),
    (
        refusals.TransactionNotFound("t-1"),
        "TransactionNotFound",
        {"transaction": "t-1"},
        "no debit t-1",
    ),
    (
        refusals.RefundExceedsDebit(requested=2 * ONE, refundable=1),
        "RefundExceedsDebit",
        {"requested": 2 * ONE, "refundable": 1},
        "2 credits to refund, 0.000000001 left to refund",
    ),
    (
        refusals.IdempotencyKeyReused("k", ("amount", "useAt")),
        "IdempotencyKeyReused",
        {"key": "k", "differing": ("amount", "useAt")},
        "idempotency key 'k' was used with another body; these fields differ: amount, useAt",
    ),
    (
        refusals.ExecutionCreditNotFound("7"),
        "ExecutionCreditNotFound",
        {"credit": "7"},
        "no execution credit 7",
    ),
    (
        refusals.ExecutionCreditDeleted("7"),
        "ExecutionCreditDeleted",
        {"credit": "7"},
        "execution credit 7 is deleted",
    ),
    (
        refusals.RollupTypeStays("MONTHLY", "ADDON"),
        "RollupTypeStays",
        {"rollup_type": "MONTHLY", "requested": "ADDON"},
        "rollupType cannot be changed from MONTHLY to ADDON",
    ),
    (
        refusals.InsufficientExecutionCredits(ONE + 1, 2 * ONE, ONE - 1, "DAST", False),
        "InsufficientCredits",
        {"available": ONE + 1, "requested": 2 * ONE, "shortfall": ONE - 1, "credit_type": "DAST", "has_addon": False},
        "Insufficient credits: 2 requested, 1.000000001 available for DAST",
    ),
    (
        refusals.ExecutionCreditExists("acme", "DAST", True),
        "ExecutionCreditExists",
        {"company": "acme", "credit_type": "DAST", "renewing": True},
        "company acme already has a live renewing credit for DAST",
    ),
    (
        refusals.ExecutionCreditExists("acme", "DAST", False),
        "ExecutionCreditExists",
        {"company": "acme", "credit_type": "DAST", "renewing": False},
        "company acme already has a live ADDON for DAST",
    ),
    (
        refusals.CreditsBelowUsed(credits=ONE, used=2 * ONE),
        "CreditsBelowUsed",
        {"credits": ONE, "used": 2 * ONE},
        "credits cannot be lowered to 1: 2 are used",
    ),
    (
        refusals.AllocationRuleNotFound("018f"),
        "AllocationRuleNotFound",
        {"rule": "018f"},
        "no allocation rule 018f",
    ),
    (
        refusals.AllocationRuleExists("north"),
        "AllocationRuleExists",
        {"name": "north"},
        "name must be unique: there is already an allocation rule 'north'",
    ),
    (
        refusals.QueueFull(1000),
        "QueueFull",
        {"commands_max": 1000},
        "more than 1000 commands are waiting: try again",
    ),
    (
        refusals.NotStorable("value too long"),
        "NotStorable",
        {"reason": "value too long"},
        "the log cannot hold this command: value too long",
    ),
    (
        refusals.ClockWouldGoBack(),
        "ClockWouldGoBack",
        {},
        "the clock never goes back: this is earlier than what it, or the log, has seen",
    ),
    (
        refusals.PositionNotReached(wanted=9, reached=7),
        "PositionNotReached",
        {"wanted": 9, "reached": 7},
        "position 9 is not reached yet; the read model is at 7",
    ),
]


@pytest.mark.parametrize(
    ("refusal", "code", "facts", "message"), REFUSALS, ids=[type(case[0]).__name__ for case in REFUSALS]
)
def test_a_refusal_is_a_code_its_facts_and_a_message(
    refusal: Refusal, code: str, facts: dict[str, Any], message: str
) -> None:
    assert refusal.code == code
    assert refusal.facts == facts
    assert refusal.message == message
    assert str(refusal) == f"{code}: {message}"


def declared() -> list[type[Refusal]]:
    """The refusals of the domain, by name; other rooms may add their own."""
    found = [each for each in Refusal.__subclasses__() if each.__module__ == refusals.__name__]
    return sorted(found, key=lambda each: each.code)


def told_otherwise() -> list[type[Refusal]]:
    """The refusals that are another one of the domain, told in other words; a caller who asks by code finds both."""
    return [special for refusal in declared() for special in refusal.__subclasses__()]


@pytest.mark.parametrize("refusal", declared())
def test_a_refusal_says_its_code_in_its_own_words(refusal: type[Refusal]) -> None:
    """An inherited code would answer one refusal under the name of another."""
    assert "code" in vars(refusal)
    assert "message" in vars(refusal)


@pytest.mark.parametrize("refusal", told_otherwise())
def test_a_refusal_that_is_another_one_in_other_words_keeps_its_code(refusal: type[Refusal]) -> None:
    assert "code" not in vars(refusal)
    assert "message" in vars(refusal)


def test_no_two_refusals_share_a_code() -> None:
    codes = [refusal.code for refusal in Refusal.__subclasses__()]
    assert len(set(codes)) == len(codes)


def test_this_table_knows_every_refusal_of_the_domain() -> None:
    assert {type(refusal) for refusal, *_ in REFUSALS} == {*declared(), *told_otherwise()}


def test_refusals_are_told_apart_by_identity_so_that_each_can_be_raised_and_hashed() -> None:
    first, second = refusals.CreditGrantNotFound("g"), refusals.CreditGrantNotFound("g")
    assert first != second
    assert len({first, second}) == 2
