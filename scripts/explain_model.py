"""Explain a run's model on the whole: ``python scripts/explain_model.py run=DIR``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout, installed or not

from churnlib.commands.explain_model import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
