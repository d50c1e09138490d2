"""Steps of preparation that a user names in the configuration, between typed columns and a model's inputs.

    step.py        what a step is: options, what it learns from training rows, what it does to any rows ever after
    registry.py    the steps by name, and how one is read from the configuration
    chain.py       several in a row: fitted one after the other, applied as one, kept as JSON

Each other module holds the steps of one idea.
"""

from churnlib.data.steps.chain import Chain, FittedChain, fit_chain
from churnlib.data.steps.registry import STEPS, read_steps
from churnlib.data.steps.step import Fitted, Learned, Step, Training

__all__ = ["STEPS", "Chain", "Fitted", "FittedChain", "Learned", "Step", "Training", "fit_chain", "read_steps"]
