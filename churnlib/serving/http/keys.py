"""Who may ask: API keys, of which the server knows the SHA-256 only, from a file that may change while it runs.

The file is one line per key, written by ``churnlib key`` or by hand::

    # name  scopes           SHA-256 of the key     the first day on which it no longer works (UTC)
    crm     predict          sha256:9f86d081884c...
    crm     predict          sha256:60303ae22b99... expires=2027-01-01
    prom    metrics          sha256:fd61a03af4f7...   # the monitoring

Two lines may carry one name: the old and the new key of a client that is changing over. A key of 256 random bits needs
no slow hash: there is no guessing it, from the file or without.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from churnlib.config import nearest
from churnlib.data.watched import Watched
from churnlib.errors import ChurnlibError, ConfigError
from churnlib.serving.problems import Problem, RequestError

SCOPES = ("predict", "metrics", "admin")
"""What a key may be for; none of them includes another."""

PREFIX = "churn_"
"""How every key made here begins, so that people and secret scanners recognise one."""

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_HASH = re.compile(r"sha256:([0-9a-fA-F]{64})", re.ASCII)
_LINE = "expected NAME SCOPES sha256:HEX [expires=YEAR-MONTH-DAY]"
_LOOK_EVERY = 1.0
"""Seconds after which the file is looked at again: a key taken away works no longer than this."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Key:
    """One line of the file.

    Attributes:
        name: Whose key it is; for logs, metrics and the rate limit.
        scopes: What it is for, of :data:`SCOPES`.
        digest: SHA-256 of the key, 32 bytes.
        expires: First day (UTC) on which it no longer works; None for never.
    """

    name: str
    scopes: frozenset[str]
    digest: bytes
    expires: date | None = None

    @property
    def ends(self) -> float:
        """Return the moment of expiry in seconds since 1970."""
        if self.expires is None:
            return float("inf")
        return datetime(self.expires.year, self.expires.month, self.expires.day, tzinfo=UTC).timestamp()

    def line(self) -> str:
        """Return the line that stands for it in the file."""
        scopes = ",".join(scope for scope in SCOPES if scope in self.scopes)
        expires = f" expires={self.expires.isoformat()}" if self.expires else ""
        return f"{self.name} {scopes} sha256:{self.digest.hex()}{expires}"


class KeyBook:
    """The keys of a server.

    Args:
        path: The file; it is looked at again every second.
        clock: Seconds of a clock that never goes back, for looking at the file.
        now: Seconds since 1970, for the days of expiry.

    Raises:
        ConfigError: If the file cannot be read, a line of it is wrong, or there is no key in it.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._file = Watched(path, _read_entries, option="keys", every=_LOOK_EVERY, clock=clock)
        self._now = now
        self._told = ""

    def holder(self, headers: Mapping[str, str], scope: str) -> str:
        """Return the name of the key that a request came with.

        Args:
            headers: Of the request, names in lower case. The key is looked for in ``authorization: Bearer KEY``, and
                if there is none, in ``x-api-key``.
            scope: What the key must be for, of :data:`SCOPES`.

        Raises:
            RequestError: 401 without a key, with an unknown or an expired one; 403 if it is for other things; 503 if
                the file cannot be read any more, since who may still ask is not known then.
        """
        try:
            entries = self._file.current()
        except ChurnlibError as error:
            self._tell(str(error))
            raise RequestError(_NO_FILE) from None
        key = _key_in(headers)
        if not key:
            raise RequestError(_NO_KEY)
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
        found = None
        for entry in entries:  # to the end, whichever it is: the time taken tells nothing
            if hmac.compare_digest(entry[0], digest):
                found = entry
        if found is None:
            raise RequestError(_WRONG_KEY)
        _, name, scopes, ends = found
        if self._now() >= ends:
            raise RequestError(_EXPIRED_KEY)
        if scope not in scopes:
            raise RequestError(_out_of_scope(scope))
        return name

    def _tell(self, reason: str) -> None:
        """Log once why nobody is let in."""
        if reason != self._told:
            _log.error("nobody is let in: %s", reason)
            self._told = reason


def read_keys(path: str | Path) -> list[Key]:
    """Read a file of keys.

    Raises:
        ConfigError: If it cannot be read, a line is wrong, a key is there twice, or there is none. No error shows what
            the line holds: it may be a key that somebody has pasted by mistake.
    """
    keys = keys_of(_text_of(Path(path)), f"keys={path}")
    if not keys:
        raise ConfigError(f"keys={path} holds no key; make one with: churnlib key name=NAME file={path}")
    return keys


def keys_of(text: str, source: str) -> list[Key]:
    """Return the keys in the text of a file.

    Args:
        text: Lines; ``#`` starts a comment.
        source: What the file is called in errors.

    Raises:
        ConfigError: If a line is wrong or a key is there twice.
    """
    keys: dict[bytes, Key] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        key = _key_of(words, f"line {number} of {source}")
        if key.digest in keys:
            raise ConfigError(f"line {number} of {source} has a key that stands there already; remove one of the two")
        keys[key.digest] = key
    return list(keys.values())


def checked_name(name: str) -> str:
    """Return a key's name if it is 1 to 64 letters, digits, dots, dashes and underscores.

    Raises:
        ConfigError: If it is not.
    """
    if _NAME.fullmatch(name) is None:
        raise ConfigError("a key's name must be 1 to 64 letters, digits, '.', '-' and '_'; choose another")
    return name


def scopes_of(text: str) -> frozenset[str]:
    """Return the scopes in ``predict,metrics``.

    Raises:
        ConfigError: If one is unknown, or there is none.
    """
    scopes = text.split(",")
    for scope in scopes:
        if scope not in SCOPES:
            raise ConfigError(f"a key's scopes must be of {', '.join(SCOPES)}, with commas{nearest(scope, SCOPES)}")
    return frozenset(scopes)


def day_of(text: str) -> date:
    """Return the day in ``2027-01-01``.

    Raises:
        ConfigError: If it is none.
    """
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigError("expires must be a day such as expires=2027-01-01") from None


def _key_of(words: list[str], where: str) -> Key:
    if any(word.startswith(PREFIX) for word in words[1:]):
        told = "holds a key itself, which the file must not; take it out, and make a new one with: churnlib key"
        raise ConfigError(f"{where} {told}")
    if not 3 <= len(words) <= 4:
        raise ConfigError(f"{where} has {len(words)} words; {_LINE}")
    found = _HASH.fullmatch(words[2])
    if found is None or (len(words) == 4 and not words[3].startswith("expires=")):
        raise ConfigError(f"{where} cannot be read; {_LINE}")
    try:
        expires = day_of(words[3].removeprefix("expires=")) if len(words) == 4 else None
        return Key(checked_name(words[0]), scopes_of(words[1]), bytes.fromhex(found[1]), expires)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def _read_entries(path: Path) -> list[tuple[bytes, str, frozenset[str], float]]:
    """Return what is needed of each key for a request, worked out once."""
    return [(key.digest, key.name, key.scopes, key.ends) for key in read_keys(path)]


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"keys={path} is not text in UTF-8; {_LINE} on each line") from None
    except OSError as error:
        raise ConfigError(f"keys={path} cannot be read ({error.strerror}); give the file again") from error


def _key_in(headers: Mapping[str, str]) -> str:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")


def _challenge(status: int, code: str, message: str, error: str = "") -> Problem:
    """Return a refusal with the header that RFC 6750 asks for."""
    value = 'Bearer realm="churnlib"' + (f", {error}" if error else "")
    return Problem(status, code, message, headers=(("WWW-Authenticate", value),))


def _out_of_scope(scope: str) -> Problem:
    message = f"this key is not for this address; it needs the scope {scope}"
    return _challenge(403, "insufficient_scope", message, f'error="insufficient_scope", scope="{scope}"')


_NO_KEY = _challenge(401, "missing_key", "a key is required; send the header Authorization: Bearer KEY")
_WRONG_KEY = _challenge(401, "invalid_key", "the key is not known here", 'error="invalid_token"')
_EXPIRED_KEY = _challenge(401, "expired_key", "the key has expired; ask for a new one", 'error="invalid_token"')
_NO_FILE = Problem(
    503,
    "keys_unavailable",
    "the file of keys cannot be read; nobody is let in",
    headers=(("Retry-After", "5"),),
)

__all__ = ["PREFIX", "SCOPES", "Key", "KeyBook", "checked_name", "day_of", "keys_of", "read_keys", "scopes_of"]
