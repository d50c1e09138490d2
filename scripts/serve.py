"""Serve a bundle over HTTP: ``python scripts/serve.py bundle=DIR port=8000``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout, installed or not

from churnlib.serving.server import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
