"""Examine a table: ``python scripts/doctor.py data=table data.path=FILE data.target=COL``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout, installed or not

from churnlib.commands.doctor import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
