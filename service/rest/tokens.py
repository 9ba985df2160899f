"""Tokens of logins: JSON Web Tokens of 10 minutes, signed with HMAC-SHA256 by a key that only this ledger has.

The API key takes part in the signature: once it is revoked, its tokens are worth nothing. Lifetimes are counted on the
machine's monotonic clock, from the real time at which this process began: setting a clock ends or prolongs none.
"""

import secrets
import time
from collections.abc import Callable
from typing import Any

import jwt

from service.access import Caller, Unauthenticated
from service.api_keys import KeyRing, KnownKey
from service.signing import Signing

ALGORITHM = "HS256"
PURPOSE = "login"
SECONDS = 600
CHARACTERS_MAX = 4096


class Tokens:
    """Gives and recognises tokens. Its methods may wait for the database."""

    def __init__(self, keys: KeyRing, signing: Signing, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._keys = keys
        self._signing = signing
        self._monotonic = monotonic
        self._began = time.time() - monotonic()

    def log_in(self, username: str, password: str) -> str:
        """A token for the id and the secret of a key. Refuses: Unauthenticated."""
        return self._token(self._keys.by_parts(username, password))

    def extend(self, token: str | None) -> str:
        """Another token for the bearer of one that is still good. Refuses: Unauthenticated."""
        return self._token(self._bearer(token))

    def caller(self, token: str | None) -> Caller:
        """Whose token it is. Refuses: Unauthenticated (also where it has expired)."""
        return self._bearer(token).caller

    def _token(self, key: KnownKey) -> str:
        now = int(self._now())
        claims = {"sub": key.caller.key_id, "iat": now, "exp": now + SECONDS, "jti": secrets.token_hex(8)}
        return jwt.encode(claims, self._signing_key(key), ALGORITHM)

    def _bearer(self, token: str | None) -> KnownKey:
        if token is None or len(token) > CHARACTERS_MAX:
            raise Unauthenticated
        try:
            told: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
            subject = told.get("sub")
            if not isinstance(subject, str):
                raise Unauthenticated
            key = self._keys.by_id(subject)
            claims: dict[str, Any] = jwt.decode(
                token,
                self._signing_key(key),
                [ALGORITHM],
                options={"require": ["sub", "iat", "exp"], "verify_exp": False, "verify_iat": False},
            )
        except (jwt.PyJWTError, RecursionError):
            raise Unauthenticated from None
        if not isinstance(claims["exp"], int) or claims["exp"] <= self._now():
            raise Unauthenticated
        return key

    def _signing_key(self, key: KnownKey) -> str:
        return self._signing.signature(PURPOSE, key.sha256)

    def _now(self) -> float:
        """Seconds since the epoch, which never jump."""
        return self._began + self._monotonic()
