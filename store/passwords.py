"""Passwords of people: argon2id, and what a password must be like."""

from __future__ import annotations

import secrets
from functools import cache
from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

LEAST = 10
MOST = 200
_DIFFERENT = 5
_HASHER = PasswordHasher()  # RFC 9106: 64 MiB, 3 passes
_AT_ONCE = BoundedSemaphore(2)
"""Each takes 64 MiB for some 50 ms: whoever knocks does not fill the memory."""


class Weak(ValueError):
    """A password that nobody should have; the message says why, in Chinese and English."""


def require_strong(password: str, name: str) -> None:
    """Raises Weak. `name`: of whom it is."""
    if not LEAST <= len(password) <= MOST:
        raise Weak(f"密码须 {LEAST} 到 {MOST} 个字符 | a password has {LEAST} to {MOST} characters")
    if len(set(password)) < _DIFFERENT:
        raise Weak(f"密码须含至少 {_DIFFERENT} 个不同字符 | at least {_DIFFERENT} different characters")
    if len(name) > 2 and name.lower() in password.lower():
        raise Weak("密码不得包含用户名 | the user name must not be in it")


def generated() -> str:
    """A random password, 120 bits."""
    return secrets.token_urlsafe(15)


@cache
def _nobodys() -> str:
    return _HASHER.hash(secrets.token_urlsafe(32))


def hashed(password: str) -> str:
    """What is kept of a password: argon2id with its parameters and salt."""
    with _AT_ONCE:
        return _HASHER.hash(password)


def matches(kept: str | None, password: str) -> bool:
    """Whether it is the password; takes as long when nothing is `kept`. Keep it off the event loop."""
    with _AT_ONCE:
        try:
            _HASHER.verify(kept or _nobodys(), password)
        except (VerificationError, InvalidHashError):
            return False
    return kept is not None


def outdated(kept: str) -> bool:
    """Whether it was hashed with other parameters than today's."""
    return _HASHER.check_needs_rehash(kept)
