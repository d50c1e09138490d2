"""Run ``churnlib profile`` from a checkout; a file called profile.py would stand before the module of that name."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout, installed or not

from churnlib.commands.profile import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
