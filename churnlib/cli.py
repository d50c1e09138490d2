"""``churnlib COMMAND key=value ...``: the commands of an installed churnlib."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from churnlib import __version__
from churnlib.config import nearest

COMMANDS = {
    "train": ("churnlib.commands.train", "train a model on a customer table (the same as python train.py)"),
    "ingest": ("churnlib.commands.ingest", "bring a table into a folder of Parquet files with a manifest"),
    "template": ("churnlib.commands.template", "write an empty CSV file to be filled in by hand"),
    "prepare": ("churnlib.commands.prepare", "prepare a table of any size into a Parquet file"),
    "profile": ("churnlib.commands.profile", "write a readable report of a customer table"),
    "doctor": ("churnlib.commands.doctor", "say what a table can give, and what is too good to be true"),
    "score": ("churnlib.commands.score", "score a CSV or Parquet file with a trained model"),
    "explain": ("churnlib.commands.explain", "say for each customer of a file why the model gives its probability"),
    "report": ("churnlib.commands.report", "write the report of a run: one page for whoever decides by the model"),
    "explain-model": ("churnlib.commands.explain_model", "say what a run's model goes by on the whole"),
    "plan": ("churnlib.commands.plan", "choose an offer for each customer of a file, within a budget"),
    "uplift": ("churnlib.commands.uplift", "learn from an experiment what a treatment prevents, and for whom"),
    "scorecard": ("churnlib.commands.scorecard", "write an additive model as points that a person can add up"),
    "export": ("churnlib.commands.export", "write a trained model for other programs: ONNX, PyTorch, Triton"),
    "serve": ("churnlib.serving.server", "serve a trained model over HTTP"),
    "key": ("churnlib.commands.key", "make an API key for the server"),
    "simulate": ("churnlib.commands.simulate", "write a file of simulated customers"),
    "pseudonymise": ("churnlib.commands.pseudonymise", "replace the customers' names in a table by keyed pseudonyms"),
    "subject-report": ("churnlib.commands.subject_report", "write down everything that is stored about a customer"),
    "forget": ("churnlib.commands.forget", "remove a customer from everything that is stored"),
}
"""Command, the module whose ``main(words)`` runs it, and what it does."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: The command and its words; those of the process when None.

    Returns:
        The exit status.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        sys.stdout.write(usage())
        return 0
    if words[0] in ("-V", "--version"):
        sys.stdout.write(f"churnlib {__version__}\n")
        return 0
    if words[0] not in COMMANDS:
        hint = nearest(words[0], list(COMMANDS)) or f"; the commands are {', '.join(COMMANDS)}"
        sys.stderr.write(f"Error: there is no command {words[0]!r}{hint}\n")
        return 1
    module, _ = COMMANDS[words[0]]
    return import_module(module).main(words[1:])


def usage() -> str:
    """Return what ``churnlib --help`` prints."""
    commands = "\n".join(f"  {name:<16}{what}" for name, (_, what) in COMMANDS.items())
    return (
        "Churn models for customer tables.\n\n"
        f"Usage: churnlib COMMAND key=value ...\n\n{commands}\n\n"
        "churnlib COMMAND --help says what a command takes. A first model and its server:\n\n"
        "  churnlib train\n"
        "  churnlib serve bundle=outputs/latest/bundle\n"
    )
