"""Run ``churnlib key`` from a checkout."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout, installed or not

from churnlib.commands.key import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
