"""Object stores: which objects make up a table, how long a store may take, and what its errors mean.

Endpoint and credentials come from the environment (``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_REGION``,
``AWS_ENDPOINT_URL``, ``AWS_ALLOW_HTTP``, ...), as polars' reader of object stores takes them. No option holds them,
since options are printed and kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

STORES = ("s3", "s3a", "gs", "gcs", "az", "azure", "adl", "abfs", "abfss")
"""Schemes of addresses in stores that can list their objects."""

PATIENCE: dict[str, Any] = {
    "max_retries": 4,
    "retry_timeout_ms": 10_000,
    "connect_timeout": "5s",
    "read_timeout": "10s",
}
"""Without them polars tries a store that is down for ten seconds, and waits for ever for one that is silent."""

KEYS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to a key of this store"

CAUSES = {
    r"169\.254\.169\.254|metadata\.google": f"no credentials were found; {KEYS}",
    "InvalidAccessKeyId|SignatureDoesNotMatch|InvalidToken|ExpiredToken|AuthenticationFailed": (
        f"the store refuses the credentials; {KEYS}"
    ),
    "NoSuchBucket|ContainerNotFound": "there is no such bucket; check the address and the endpoint",
    "NoSuchKey|not found|404 Not Found": "there is no such object; check the address",
    "AccessDenied|403 Forbidden|necessary privileges": "these credentials may not read it; ask for the right",
    "timed out|Connection refused|error sending request|dns error|reset by peer": (
        "the store does not answer; check the address, the network and the credentials"
    ),
    "end of file|error decoding|IncompleteBody|incomplete": "the connection broke off; try again",
}
"""What to say by what an error holds; the first that is found counts."""


def is_remote(source: str) -> bool:
    """Whether the source is an address in an object store and not a path."""
    return "://" in source


def without_query(text: str) -> str:
    """Return the text without the query part of addresses, which may hold signatures and keys."""
    return re.sub(r"\?[^\s)]+", "", text)


def store_options(source: str, given: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the options for polars: those given, on top of how long a store may take; None for local files."""
    return {**PATIENCE, **(given or {})} if is_remote(source) else None


def list_objects(pattern: str, options: Mapping[str, Any] | None) -> list[str]:
    """Return the addresses that a pattern, or a prefix with a ``/`` at its end, leads to, in the order of their names.

    Raises:
        OSError: If the store does not answer, or refuses.
    """
    # polars has no public way to list a store, though its scans do nothing else first.
    from polars.io._expand_paths import _expand_paths

    listed = _expand_paths(pattern, storage_options=store_options(pattern, options)).collect()
    return sorted(listed.to_series().to_list())


def is_pattern(address: str) -> bool:
    """Whether an address stands for several objects; a ``?`` begins a query and stands for nothing."""
    return re.search(r"[*\[]", address.partition("?")[0]) is not None


def can_list(source: str) -> bool:
    """Whether the address is in a store that can list its objects."""
    return source.partition("://")[0].lower() in STORES


def from_store(error: BaseException) -> bool:
    """Whether an error is about reaching a store, rather than about what was read, or a local file."""
    return re.search(r"object-store error|Generic (S3|GCS|MicrosoftAzure)|HTTP error", str(error)) is not None


def store_problem(error: BaseException) -> str:
    """Return what went wrong with a store and what to do, in one line that shows no credentials.

    Stores answer with XML, of which the code and the message are of use; the rest may repeat what was signed.
    """
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m|↳", "", str(error)).split())
    # The path that polars puts at the end may be that of an earlier request to the same store.
    text = re.sub(r" \(path: .*?\)(?= |$)", "", text)
    said = [found[1] for tag in ("Code", "Message") if (found := re.search(f"<{tag}>(.*?)</{tag}>", text))]
    status = re.search(r"(?:status code:?|->|↳) *(\d{3} [A-Z][a-z]+(?: [A-Z][a-z]+)*)", text)
    network = re.search(r"Connection refused|timed out|dns error|reset by peer|end of file", text)
    reason = ": ".join(said) or (status and status[1]) or (network and network[0])
    if reason is None:
        reason = without_query(re.split("<[?]xml|<Error>", text)[0])[:300].rstrip(" .;:")
    cause = next((cause for pattern, cause in CAUSES.items() if re.search(pattern, text)), None)
    return f"{reason}; {cause or 'check the address, the network and the credentials'}"
