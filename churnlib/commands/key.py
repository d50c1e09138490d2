"""``key``: a new API key for the server, printed once; its hash goes into the file of keys."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from churnlib.config import nearest
from churnlib.errors import ChurnlibError, ConfigError
from churnlib.serving.http.keys import PREFIX, SCOPES, Key, checked_name, day_of, keys_of, scopes_of

USAGE = f"""\
Make an API key for the server. The key is printed once and kept nowhere; the server knows its SHA-256 only.

Options, as key=value:

  name     whose key it is: letters, digits, '.', '-' and '_' (required)
  scopes   what it is for, with commas: {", ".join(SCOPES)} (default: predict)
  expires  first day (UTC) on which it no longer works, such as 2027-01-01 (default: none)
  file     file of keys to add it to, made if there is none (default: none; the line is printed)

Example: key name=crm scopes=predict file=keys.txt
         serve keys=keys.txt
"""

_RANDOM_BYTES = 32


@dataclass(frozen=True, slots=True)
class KeyOptions:
    """What the command is told.

    Attributes:
        name: Of the key's holder.
        scopes: Of the key.
        expires: Its first day without effect.
        file: Where its line is added; None prints the line.
    """

    name: str
    scopes: frozenset[str] = frozenset({"predict"})
    expires: date | None = None
    file: Path | None = None


def main(words: Sequence[str]) -> int:
    """Run the command with the words of the command line and return its exit status."""
    if any(word in ("-h", "--help") for word in words):
        sys.stdout.write(USAGE)
        return 0
    try:
        options = read_options(words)
        secret, key = make_key(options.name, options.scopes, options.expires)
        if options.file is not None:
            append(key, options.file)
    except ChurnlibError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    # The key alone on standard output: it can be piped into a vault without the words around it.
    if options.file is None:
        sys.stderr.write(f"Add this line to the file of keys:\n\n{key.line()}\n\n")
    else:
        sys.stderr.write(f"Added to {options.file}. ")
    sys.stderr.write("The key, which is shown this once only:\n\n")
    sys.stderr.flush()
    sys.stdout.write(f"{secret}\n")
    return 0


def read_options(words: Sequence[str]) -> KeyOptions:
    """Read ``key=value`` words.

    Raises:
        ConfigError: If a word is unknown, a value wrong, the day of expiry past, or the name missing.
    """
    readers = {"name": checked_name, "scopes": scopes_of, "expires": _day_to_come, "file": _file}
    values = {}
    for word in words:
        option, equals, text = word.partition("=")
        if not equals or option not in readers:
            hint = nearest(option, list(readers)) or f"; the options are {', '.join(readers)}"
            raise ConfigError(f"expected key=value with an option of this command, got {word!r}{hint}")
        values[option] = readers[option](text)
    if "name" not in values:
        raise ConfigError("a key needs a name; say whose it is with name=...")
    return KeyOptions(**values)


def make_key(name: str, scopes: frozenset[str], expires: date | None = None) -> tuple[str, Key]:
    """Return a new key, of 256 random bits, and what the server may know of it."""
    secret = PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    return secret, Key(name, scopes, hashlib.sha256(secret.encode()).digest(), expires)


def append(key: Key, file: Path) -> None:
    """Add a key to a file, which a server may be reading: it sees the file before or after, nothing between.

    A new file may be read by its owner alone; one that is there keeps its owner and its mode.

    Raises:
        ConfigError: If the file cannot be read or written, or holds a wrong line.
    """
    try:
        file = file.resolve()  # a link is followed, not replaced
        with _locked(file.parent):
            before = file.read_text(encoding="utf-8") if file.exists() else ""
            keys_of(before, f"file={file}")
            if before and not before.endswith("\n"):
                before += "\n"
            _replace(file, f"{before}{key.line()}\n")
    except UnicodeDecodeError:
        raise ConfigError(f"file={file} is not text in UTF-8; name another file") from None
    except OSError as error:
        raise ConfigError(f"file={file} cannot be written ({error.strerror}); name another file") from None


def _replace(file: Path, text: str) -> None:
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            if file.exists():
                found = file.stat()
                if (found.st_uid, found.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(handle, found.st_uid, found.st_gid)
                os.fchmod(handle, found.st_mode & 0o777)
            stream.write(text)
            stream.flush()
            os.fsync(handle)
        draft.replace(file)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one such command at a time into a folder, so that two of them lose no key."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _day_to_come(text: str) -> date:
    day = day_of(text)
    if day <= datetime.now(UTC).date():
        raise ConfigError(f"expires={text} is not in the future (UTC); choose a later day")
    return day


def _file(text: str) -> Path:
    if not text:
        raise ConfigError("file is empty; expected the path of a file of keys")
    return Path(text)
