"""Write simulated customers: ``python scripts/simulate.py output=customers.parquet n_customers=1000000``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout, installed or not

from churnlib.commands.simulate import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
