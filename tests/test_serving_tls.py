"""TLS: files that are wrong are told before the server starts, files that are right serve TLS 1.2 and 1.3 only."""

from __future__ import annotations

import socket
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from raw_http import serving

from churnlib.errors import ConfigError
from churnlib.serving.http import tls
from churnlib.serving.http.at_once import guarded

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


def made(
    folder: Path, name: str, *, start: datetime = NOW - DAY, end: datetime = NOW + DAY, purpose: Any = None
) -> Any:
    """Write a self-made certificate for localhost and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    )
    if purpose is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    certificate = folder / f"{name}.crt"
    certificate.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return certificate, written(key, folder / f"{name}.key")


def written(key: Any, path: Path, encryption: Any = None) -> Path:
    form = serialization.PrivateFormat.PKCS8
    encryption = encryption or serialization.NoEncryption()
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, encryption))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def pair(folder: Path) -> tuple[Path, Path]:
    return made(folder, "good")


def refused(certificate: Path, key: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        tls.check(certificate, key)
    return str(caught.value)


# --- the files ------------------------------------------------------------------------------------------------------


def test_right_files_pass(folder, pair):
    tls.check(*pair)
    certificate, key = pair
    both = folder / "both.pem"
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    tls.check(both, both)


def test_wrong_files_are_named(folder, pair):
    certificate, key = pair
    other, other_key = made(folder, "other")
    empty, junk, damaged = folder / "empty", folder / "junk", folder / "damaged"
    empty.write_text("")
    junk.write_bytes(bytes(range(256)))
    damaged.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    assert refused(folder / "none", key).startswith(f"tls_certificate={folder / 'none'} cannot be read (No such file")
    assert refused(certificate, folder).startswith(f"tls_key={folder} cannot be read")
    assert refused(empty, key) == f"tls_certificate={empty} is empty; give a PEM file"
    assert refused(junk, key) == f"tls_certificate={junk} holds no certificate in PEM; give a PEM file"
    assert refused(certificate, certificate) == f"tls_key={certificate} holds no private key in PEM; give a PEM file"
    assert refused(key, certificate) == f"tls_certificate={key} holds no certificate in PEM; give a PEM file"
    assert f"tls_certificate={damaged} or tls_key={key} is damaged" in refused(damaged, key)
    assert f"tls_key={other_key} does not belong to the first certificate" in refused(certificate, other_key)
    assert f"tls_key={key} does not belong" in refused(other, key)


def test_a_key_with_a_password_is_refused_without_asking_for_it(folder, pair):
    key = serialization.load_pem_private_key(pair[1].read_bytes(), None)
    locked = written(key, folder / "locked.key", serialization.BestAvailableEncryption(b"secret"))
    assert refused(pair[0], locked) == f"tls_key={locked} has a password; write the key without one (openssl pkey)"


@pytest.mark.parametrize(
    ("name", "dates", "said"),
    [
        ("old", {"start": NOW - 2 * DAY, "end": NOW - DAY}, "expired"),
        ("young", {"start": NOW + DAY, "end": NOW + 2 * DAY}, "not yet valid"),
        ("client", {"purpose": ExtendedKeyUsageOID.CLIENT_AUTH}, "purpose"),
    ],
)
def test_a_certificate_that_no_client_would_take_is_refused(folder, name, dates, said):
    certificate, key = made(folder, name, **dates)
    assert said in refused(certificate, key) and str(certificate) in refused(certificate, key)


def test_a_certificate_for_servers_passes(folder):
    tls.check(*made(folder, "server", purpose=ExtendedKeyUsageOID.SERVER_AUTH))


# --- a server with them ---------------------------------------------------------------------------------------------


def asked(port: int, client: ssl.SSLContext) -> tuple[bytes, str]:
    """Send a request; return the answer and the version of TLS."""
    with (
        socket.create_connection(("127.0.0.1", port), 10) as plain,
        client.wrap_socket(plain, server_hostname="localhost") as wrapped,
    ):
        wrapped.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        received = b""
        while piece := wrapped.recv(65536):
            received += piece
        return received, wrapped.version() or ""


def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_it_serves_tls_1_2_and_1_3_only(pair, loop):
    options = {"ssl_context_factory": lambda config, default: tls.context(*pair), "loop": loop}
    with serving(guarded(), **options) as (_, port):
        client = trusting(pair[0])
        assert asked(port, client)[0].startswith(b"HTTP/1.1 200 OK") and asked(port, client)[1] == "TLSv1.3"
        client.maximum_version = ssl.TLSVersion.TLSv1_2
        assert asked(port, client)[1] == "TLSv1.2"
        client.set_ciphers("AES128-SHA:ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0")
        with pytest.raises(ssl.SSLError):
            asked(port, client)
        for version in ("-tls1", "-tls1_1"):
            words = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", version, "-cipher", "ALL:@SECLEVEL=0"]
            assert subprocess.run(words, capture_output=True, input=b"", check=False).returncode != 0
        with socket.create_connection(("127.0.0.1", port), 10) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert not plain.recv(1000).startswith(b"HTTP")
        assert asked(port, trusting(pair[0]))[0].startswith(b"HTTP/1.1 200 OK")


def test_a_renewed_certificate_is_taken_by_a_running_server(folder, pair):
    context = tls.context(*pair)
    newer = made(folder, "newer")
    with serving(guarded(), ssl_context_factory=lambda config, default: context) as (_, port):
        assert asked(port, trusting(pair[0]))[0].startswith(b"HTTP/1.1 200 OK")
        with pytest.raises(ConfigError, match="does not belong"):
            tls.renew(context, newer[0], pair[1])
        assert asked(port, trusting(pair[0]))[0].startswith(b"HTTP/1.1 200 OK")
        tls.renew(context, *newer)
        assert asked(port, trusting(newer[0]))[0].startswith(b"HTTP/1.1 200 OK")
        with pytest.raises(ssl.SSLCertVerificationError):
            asked(port, trusting(pair[0]))
