"""Write a trained model for other programs: ``python scripts/export.py bundle=DIR output=PATH format=onnx``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout, installed or not

from churnlib.commands.export import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
