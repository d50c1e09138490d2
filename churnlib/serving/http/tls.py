"""TLS in the server itself, for where no ingress does it: the files are tried before anybody connects."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from churnlib.errors import ConfigError

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secrecy and authenticated encryption only. Those of TLS 1.3 are all of that kind."""


def check(certificate: str | Path, key: str | Path) -> None:
    """Try the files: a client that trusts the certificate must be able to connect to a server with them.

    Args:
        certificate: PEM file, the server's own certificate first, then those that lead to a root.
        key: PEM file of its private key, without a password.

    Raises:
        ConfigError: With the file and what is wrong: it cannot be read, is no PEM, the key has a password or belongs to
            another certificate, or no client would take the certificate (expired, not for servers).
    """
    server = context(certificate, key)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False  # by which names the server is called is not known here
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(certificate)
    try:
        _shake_hands(client, server)
    except ssl.SSLCertVerificationError as error:
        said = f"tls_certificate={certificate} is refused by clients ({error.verify_message}); renew it"
        raise ConfigError(said) from None


def context(certificate: str | Path, key: str | Path) -> ssl.SSLContext:
    """Return the server's settings: TLS 1.2 with :data:`CIPHERS`, and 1.3; no compression, no renegotiation.

    ``uvicorn.Config`` takes them as ``ssl_context_factory=lambda config, default: context(...)``.

    Raises:
        ConfigError: If the files cannot be used.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_ciphers(CIPHERS)
    made.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    made.set_alpn_protocols(["http/1.1"])
    _load(made, certificate, key)
    return made


def renew(used: ssl.SSLContext, certificate: str | Path, key: str | Path) -> None:
    """Give a running server the files as they are now: for new connections, while the others go on.

    Raises:
        ConfigError: If they cannot be used; the server then keeps what it has.
    """
    check(certificate, key)
    _load(used, certificate, key)


def _load(made: ssl.SSLContext, certificate: str | Path, key: str | Path) -> None:
    for option, path in (("tls_certificate", certificate), ("tls_key", key)):
        _check_readable(option, Path(path))
    try:
        made.load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError as error:
        raise ConfigError(_reason(error, certificate, key)) from None
    except _HasPassword:
        raise ConfigError(f"tls_key={key} has a password; write the key without one (openssl pkey)") from None


class _HasPassword(Exception):
    pass


def _no_password() -> str:
    """Stand where OpenSSL would ask at the terminal."""
    raise _HasPassword


def _check_readable(option: str, path: Path) -> None:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{option}={path} cannot be read ({error.strerror}); give the path of a PEM file") from None
    kind = b"CERTIFICATE-----" if option == "tls_certificate" else b"PRIVATE KEY-----"
    if kind not in text:
        found = "is empty" if not text.strip() else f"holds no {kind.decode().strip('-').lower()} in PEM"
        raise ConfigError(f"{option}={path} {found}; give a PEM file")


def _reason(error: ssl.SSLError, certificate: str | Path, key: str | Path) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"tls_key={key} does not belong to the first certificate of tls_certificate={certificate}; give its own"
    damaged = f"tls_certificate={certificate} or tls_key={key} is damaged ({error.reason})"
    if error.reason in ("EE_KEY_TOO_SMALL", "CA_MD_TOO_WEAK"):
        damaged = f"tls_certificate={certificate} is too weak for TLS today ({error.reason})"
    return f"{damaged}; make them again"


def _shake_hands(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    """Connect the two in memory.

    Raises:
        ssl.SSLCertVerificationError: If the client does not take the certificate.
    """
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server)
    steps: list[Callable[[], None]] = [theirs.do_handshake, ours.do_handshake] * 3
    for step in steps:
        with suppress(ssl.SSLWantReadError):
            step()


__all__ = ["check", "context", "renew"]
