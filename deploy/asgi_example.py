"""The server as an ASGI application, to run or mount as you like: ``uvicorn --app-dir deploy asgi_example:app``."""

from churnlib.serving import asgi

app = asgi("outputs/latest/bundle")
