"""The front door: ``python train.py model=tabnet``; ``python train.py --help`` says what else."""

import sys

from churnlib.commands.train import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
