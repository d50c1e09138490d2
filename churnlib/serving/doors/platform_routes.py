"""The addresses under which clouds ask a container.

SageMaker asks ``GET /ping`` and ``POST /invocations`` on port 8080; Vertex AI names its addresses and the port in the
environment; Azure ML takes any addresses, which its deployment names, and asks ``/score`` of older ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from churnlib.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Platform:
    """What the surroundings of a container ask for.

    Attributes:
        ready: Addresses that are answered as ``GET /readyz`` is.
        jobs: By address the name of the job that answers POST, of :data:`~churnlib.serving.answering.jobs.JOBS`.
        port: Port to listen on; None where nobody says.
    """

    ready: tuple[str, ...]
    jobs: dict[str, str]
    port: int | None = None


def platform_routes(environ: Mapping[str, str], *, taken: frozenset[str] = frozenset()) -> Platform:
    """Return the addresses that a platform asks for; those of SageMaker are always there.

    Args:
        environ: The environment's variables.
        taken: Addresses of the server's own, which keep their meaning.

    Raises:
        ConfigError: If a variable holds no address or port, or one that is taken for something else.
    """
    ready, jobs = ["/ping"], {"/invocations": "invocations"}
    health, predict = environ.get("AIP_HEALTH_ROUTE"), environ.get("AIP_PREDICT_ROUTE")
    if health and _address("AIP_HEALTH_ROUTE", health) not in taken:
        ready.append(health)
    if predict:
        if _address("AIP_PREDICT_ROUTE", predict) in taken:
            raise ConfigError(f"AIP_PREDICT_ROUTE={predict} is an address of the server's own; choose another")
        jobs[predict] = "vertex"
    if environ.get("AZUREML_MODEL_DIR"):
        jobs["/score"] = "invocations"
    name = next((name for name in ("AIP_HTTP_PORT", "SAGEMAKER_BIND_TO_PORT") if environ.get(name)), None)
    return Platform(tuple(ready), jobs, None if name is None else _port(name, environ[name]))


def _address(name: str, value: str) -> str:
    if not value.startswith("/") or len(value) < 2 or any(letter in value for letter in "?# "):
        raise ConfigError(f"{name} must be an address such as /predict, got {value!r}")
    return value


def _port(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and 1024 <= int(value) <= 65535):
        raise ConfigError(f"{name} must be a port in [1024, 65535], got {value!r}")
    return int(value)


__all__ = ["Platform", "platform_routes"]
