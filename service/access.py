"""Who may do what: a key has a role, a role has rights, and a key may be bound to some holders."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from ledger.domain.refusals import Refusal
from ledger.domain.values import Actor, ActorKind


class Right(StrEnum):
    READ = "read"
    WRITE = "write"
    AUDIT = "audit"
    OPERATE = "operate"


class KeyRole(StrEnum):
    ADMIN = "admin"
    WRITER = "writer"
    READER = "reader"
    AUDITOR = "auditor"


RIGHTS: dict[KeyRole, frozenset[Right]] = {
    KeyRole.ADMIN: frozenset(Right),
    KeyRole.WRITER: frozenset({Right.READ, Right.WRITE}),
    KeyRole.READER: frozenset({Right.READ}),
    KeyRole.AUDITOR: frozenset({Right.READ, Right.AUDIT}),
}


@dataclass(eq=False)
class Unauthenticated(Refusal):
    """No key, or none that is known. It is not told which."""

    code = "Unauthenticated"

    @property
    def message(self) -> str:
        return "give a valid key in the header X-API-KEY, or a token of a login in x-redlock-auth"


@dataclass(eq=False)
class IdentityForbidden(Refusal):
    """A key without the right; the same for a holder that is not there and one that is not this key's."""

    code = "IdentityForbidden"
    needs: str

    @property
    def message(self) -> str:
        return f"this key may not do that: it needs {self.needs}"


class Caller(NamedTuple):
    """Who sent a request. `holders` are those it may see and act for; None: all."""

    key_id: str
    role: KeyRole
    holders: frozenset[str] | None = None

    @property
    def actor(self) -> Actor:
        return Actor(ActorKind.API_KEY, self.key_id)

    def require(self, right: Right) -> None:
        """Refuses: IdentityForbidden."""
        if right not in RIGHTS[self.role]:
            raise IdentityForbidden(f"the right to {right}")

    def require_holder(self, holder: str) -> None:
        """Refuses: IdentityForbidden, whether or not there is such a holder."""
        if not self.knows(holder):
            raise IdentityForbidden("to be for this customer or company")

    def knows(self, holder: str) -> bool:
        return self.holders is None or holder in self.holders
