"""API keys: made, listed, revoked, and recognised. A key is `id.secret`; the secret is kept as its hash alone.

A secret has 256 random bits, so a plain SHA-256 of it tells nothing and needs no salt.
"""

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from psycopg import Connection
from psycopg.rows import DictRow

from ledger.application.inputs import choice
from ledger.domain.instants import Instant
from ledger.domain.refusals import InvalidArgument, Refusal
from ledger.domain.values import text_of
from ledger.store.sql import statement
from projections.reading import Reader
from service.access import Caller, KeyRole, Unauthenticated

ADMIN = Caller("admin", KeyRole.ADMIN)
"""Whoever has the key that the settings name."""
KNOWN_SECONDS = 1.0
"""How long a key stays known without asking again: a revoked one is refused after this at the latest."""
KNOWN_KEYS_MAX = 10_000
HOLDERS_MAX = 1000


class ApiKey(NamedTuple):
    """A key without its secret."""

    id: str
    name: str
    role: KeyRole
    holders: tuple[str, ...] | None
    created_at: Instant
    revoked_at: Instant | None


@dataclass(eq=False)
class ApiKeyNotFound(Refusal):
    code = "ApiKeyNotFound"
    key: str

    @property
    def message(self) -> str:
        return f"no API key {self.key}"


def create_key(
    connection: Connection[DictRow], now: Instant, *, name: str, role: str, holders: Sequence[str] = ()
) -> tuple[ApiKey, str]:
    """Make a key; the text that is returned beside it is shown once and never again. Refuses: InvalidArgument."""
    checked = choice(KeyRole, role, field="role")
    if checked is KeyRole.ADMIN and holders:
        raise InvalidArgument("holders", "must not be given for an admin key: it operates the whole ledger")
    if len(holders) > HOLDERS_MAX:
        raise InvalidArgument("holders", f"must be at most {HOLDERS_MAX}")
    bound = sorted({text_of(holder, field="holders") for holder in holders}) or None
    secret = secrets.token_urlsafe(32)
    key = ApiKey(
        f"key-{secrets.token_hex(6)}",
        text_of(name, field="name"),
        checked,
        None if bound is None else tuple(bound),
        now,
        None,
    )
    values = key._asdict() | {"holders": bound, "sha256": _hash(secret)}
    connection.execute(statement("service", "queries/add_key.sql"), values)
    return key, f"{key.id}.{secret}"


def list_keys(connection: Connection[DictRow]) -> list[ApiKey]:
    """Every key there ever was, oldest first."""
    return [_key_of(row) for row in connection.execute(statement("service", "queries/keys.sql"))]


def revoke_key(connection: Connection[DictRow], now: Instant, key_id: str) -> ApiKey:
    """Take a key out of use for good; again is fine. Refuses: ApiKeyNotFound."""
    named = {"id": text_of(key_id, field="keyId"), "now": now}
    row = connection.execute(statement("service", "queries/revoke_key.sql"), named).fetchone()
    if row is None:
        raise ApiKeyNotFound(key_id)
    return _key_of(row)


class KnownKey(NamedTuple):
    """A key by its id: whose requests it makes, and the hash of what it has for a secret."""

    caller: Caller
    sha256: str


class KeyRing:
    """Recognises keys. What it found it keeps for a second, so a busy client costs one look-up a second."""

    def __init__(self, reader: Reader, admin_key: str | None) -> None:
        self._reader = reader
        self._admin_key = None if admin_key is None else _hash(admin_key)
        self._known: dict[str, tuple[float, Caller]] = {}
        self._lock = threading.Lock()

    def known(self, text: str | None) -> Caller | None:
        """The caller of a key that needs no look-up. Refuses: Unauthenticated, if no look-up could find it."""
        if not text:
            raise Unauthenticated
        digest = _hash(text)
        if self._admin_key is not None and hmac.compare_digest(digest, self._admin_key):
            return ADMIN
        if not text.isascii() or not text.isprintable() or "." not in text:
            raise Unauthenticated
        found = self._known.get(digest)
        return None if found is None or found[0] < time.monotonic() else found[1]

    def look_up(self, text: str) -> Caller:
        """The caller of a key, asked of the database. Refuses: Unauthenticated."""
        key_id, _, secret = text.partition(".")
        caller = self.by_parts(key_id, secret).caller
        with self._lock:
            if len(self._known) >= KNOWN_KEYS_MAX:
                self._known.clear()
            self._known[_hash(text)] = (time.monotonic() + KNOWN_SECONDS, caller)
        return caller

    def by_parts(self, key_id: str, secret: str) -> KnownKey:
        """The key of this id, if that is its secret; the settings' key is called admin. Refuses: Unauthenticated."""
        for admin in (secret if key_id == ADMIN.key_id else None, f"{key_id}.{secret}"):
            if self._admin_key is not None and admin and hmac.compare_digest(_hash(admin), self._admin_key):
                return KnownKey(ADMIN, self._admin_key)
        key = self.by_id(key_id)
        if key.caller is ADMIN or not hmac.compare_digest(_hash(secret), key.sha256):
            raise Unauthenticated
        return key

    def by_id(self, key_id: str) -> KnownKey:
        """The key of this id, asked of the database. Refuses: Unauthenticated, also if it was revoked."""
        if key_id == ADMIN.key_id:
            if self._admin_key is None:
                raise Unauthenticated
            return KnownKey(ADMIN, self._admin_key)
        if not key_id.isascii() or not key_id.isprintable():
            raise Unauthenticated
        with self._reader.connection() as connection:
            row = connection.execute(statement("service", "queries/live_key.sql"), {"id": key_id}).fetchone()
        if row is None:
            raise Unauthenticated
        holders = None if row["holders"] is None else frozenset(row["holders"])
        return KnownKey(Caller(key_id, KeyRole(row["role"]), holders), row["sha256"])


def _key_of(row: DictRow) -> ApiKey:
    holders = None if row["holders"] is None else tuple(row["holders"])
    return ApiKey(row["id"], row["name"], KeyRole(row["role"]), holders, row["created_at"], row["revoked_at"])


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
