"""Learn what a treatment prevents: ``python scripts/uplift.py treatment=COLUMN``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout, installed or not

from churnlib.commands.uplift import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
