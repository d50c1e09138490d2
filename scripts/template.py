"""Write a CSV file to be filled in by hand: ``python scripts/template.py bundle=DIR output=FILE``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout, installed or not

from churnlib.commands.template import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
