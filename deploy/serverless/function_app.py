"""Azure Functions, which look for ``function_app.py`` and speak ASGI; ``host.json`` takes /api off the routes."""

import os

import azure.functions as func

from churnlib.serving import asgi

# ANONYMOUS: probes carry no key; give `asgi` a `keys=` file, or put API Management before it.
app = func.AsgiFunctionApp(
    app=asgi(os.environ.get("CHURNLIB_BUNDLE", "bundle")), http_auth_level=func.AuthLevel.ANONYMOUS
)
