"""Where the database is: an address with a password, which is read from the environment and shown nowhere."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from churnlib.config.checks import check_variable
from churnlib.errors import ConfigError

KINDS = {"postgresql": "PostgreSQL", "mysql": "MySQL"}
"""What the reader is told, and what users call it."""

SCHEMES = {"postgresql": "postgresql", "postgres": "postgresql", "mysql": "mysql", "mariadb": "mysql"}

CONNECT_SECONDS = 15
"""PostgreSQL's client waits this long for a server that does not answer, unless the address says otherwise."""


_HOSTS = re.compile(r"((\[[0-9a-fA-F:.%]+\]|[^:,@\[\]]*)(:\d+)?(,|$))+")


@dataclass(frozen=True)
class Address:
    """A database.

    Attributes:
        kind: postgresql or mysql.
        url: With user and password, as the drivers take it.
        variable: The environment variable that it came from.
    """

    kind: str
    url: str = field(repr=False)
    variable: str

    def __str__(self) -> str:
        """What an error may say of it: the server, but neither user nor password."""
        return f"{KINDS[self.kind]} at {_hosts(urlsplit(self.url)) or 'the local socket'}"

    def without_secrets(self, text: str) -> str:
        """Return the text without the address and the password, should a driver have put them in."""
        parts = urlsplit(self.url)
        options = [value for name, value in parse_qsl(parts.query) if "pass" in name.lower()]
        written = parts.password or ""
        for secret in (self.url, written, unquote(written), *options):
            text = text.replace(secret, "***") if secret else text
        return text


def read_address(variable: str) -> Address:
    """Read the address of a database from the environment.

    Args:
        variable: Name of the environment variable.

    Raises:
        ConfigError: If there is no such variable, or it holds no address of a database known here.
    """
    check_variable("data.url_env", variable)
    url = os.environ.get(variable, "").strip()
    example = "postgresql://user:password@host:5432/database (or mysql://...)"
    if not url:
        raise ConfigError(f"the environment variable {variable} is not set; let it hold {example}")
    scheme, found, rest = url.partition("://")
    kind = SCHEMES.get(scheme.lower().partition("+")[0])  # SQLAlchemy's postgresql+psycopg:// names a driver too
    if not found or kind is None:
        raise ConfigError(f"the environment variable {variable} does not hold an address such as {example}")
    try:
        parts = urlsplit(f"{kind}://{rest}")
        # A password with / or # in it ends the name of the server, which errors show.
        if _HOSTS.fullmatch(_hosts(parts)) is None or parts.fragment or "@" in parts.path:
            raise ValueError
        options = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        raise ConfigError(
            f"the address in the environment variable {variable} cannot be read; write characters such as @ / : # of "
            "the password as %40 %2F %3A %23"
        ) from None
    if kind == "postgresql":
        defaults = {"connect_timeout": str(CONNECT_SECONDS), "application_name": "churnlib"}
        options = [*((name, value) for name, value in defaults.items() if name not in dict(options)), *options]
    query = urlencode(options, safe="/", quote_via=quote)
    return Address(kind, parts._replace(query=query).geturl(), variable)


def _hosts(parts: SplitResult) -> str:
    """Return the servers of an address with their ports; PostgreSQL's may name several."""
    return parts.netloc.rpartition("@")[2]
