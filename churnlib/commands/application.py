"""Running a command as a Hydra application that leaves no files of its own and answers mistakes with one sentence."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from churnlib.commands.columns import with_columns
from churnlib.commands.mistakes import check_words, explain, with_switches
from churnlib.compose import register
from churnlib.config import config_dir
from churnlib.errors import ConfigError
from churnlib.noise import quieten

if TYPE_CHECKING:
    from omegaconf import DictConfig

FULL_ERROR = "HYDRA_FULL_ERROR"
"""Environment variable of Hydra: with 1, errors come with their traceback."""

HELP_FLAGS = ("-h", "--help")
SWEEP_FLAGS = ("-m", "--multirun")
VALUED_FLAGS = (
    "-cd", "--config-dir", "-cn", "--config-name", "-cp", "--config-path", "-c", "--cfg", "-p", "--package",
    "--experimental-rerun",
)  # fmt: skip
"""Options of Hydra whose value may be the next word."""

INTERRUPTED = 130
"""Exit status of a command that was stopped with Ctrl-C, as shells have it."""


def exit_status(command: Callable[[], None]) -> int:
    """Run a command and say how it ended; what the user can mend is printed as one sentence.

    Returns:
        0 if it ended well, 1 after a mistake, 130 after Ctrl-C.
    """
    try:
        command()
    except KeyboardInterrupt as stop:
        say(str(stop) or "Stopped.")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output (head, less) has gone; Python would complain once more when it closes the pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        sentence = None if os.environ.get(FULL_ERROR) == "1" else explain(error)
        if sentence is None:
            raise
        say(f"Error: {sentence}")
        return 1
    return 0


def say(sentence: str) -> None:
    """Write a line to standard error, as it is: a terminal may wrap it, a log must not."""
    sys.stderr.write(f"{' '.join(sentence.split())}\n")


def run_hydra(name: str, task: Callable[[DictConfig], None], words: Sequence[str]) -> None:
    """Compose the configuration from the words of the command line and call the task with it.

    Args:
        name: Primary configuration: ``train`` for ``conf/train.yaml``.
        task: Called once, or with ``-m`` once for each run of the sweep.
        words: Overrides and Hydra's own options (``-m``, ``--cfg job``, ``--help``, ...).

    Raises:
        Exception: What the task raised, or Hydra's own where the words are wrong.
    """
    import hydra

    register()
    words = with_switches(words)
    check_words(words)
    words = with_columns(words)
    flags = [word for word in words if word.startswith("-")]
    if len(flags) == 1 and flags[0] in HELP_FLAGS:
        sys.stdout.write(_help(name, [word for word in words if word not in HELP_FLAGS]))
        return
    failures: list[Exception] = []

    def guarded(composed: DictConfig) -> None:
        quieten()
        try:
            task(composed)
        except Exception as error:
            # Raised again below: Hydra would print the overrides in front of it.
            failures.append(error)

    as_application = hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=name)
    with _command_line(flags_first(words)):
        as_application(guarded)()
    if failures:
        raise failures[0]


def flags_first(words: Sequence[str]) -> list[str]:
    """Return the words with Hydra's own options in front: its parser gives up where they stand among the others.

    >>> flags_first(["data=telco", "-m", "model=mlp,tabnet", "--config-dir", "my_conf", "seed=1"])
    ['-m', '--config-dir', 'my_conf', 'data=telco', 'model=mlp,tabnet', 'seed=1']
    """
    flags: list[str] = []
    others: list[str] = []
    is_value = False
    for word in words:
        (flags if is_value or word.startswith("-") else others).append(word)
        is_value = not is_value and word in VALUED_FLAGS
    return [*flags, *others]


def _help(name: str, overrides: Sequence[str]) -> str:
    """Return what Hydra's ``--help`` would print, without the second it takes to list the files of all groups."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf, open_dict

    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        program = f"hydra.help.app_name='{_program(name)}'"
        composed = compose(name, overrides=[*overrides, program], return_hydra_config=True)
    template = Template(composed.hydra.help.template)
    with open_dict(composed):
        del composed["hydra"]
    return template.substitute(CONFIG=OmegaConf.to_yaml(composed))


def _program(name: str) -> str:
    """Return how the command was called, for the examples in its help."""
    script = Path(sys.argv[0])
    return f"python {script.as_posix()}" if script.suffix == ".py" else f"churnlib {name}"


def refuse_sweep(name: str, words: Sequence[str]) -> Sequence[str]:
    """Return the words of a command that runs once.

    Raises:
        ConfigError: If they ask for a sweep.
    """
    if set(SWEEP_FLAGS) & set(words):
        raise ConfigError(f"{name} runs once; only train takes -m")
    return words


@contextmanager
def _command_line(words: Sequence[str]) -> Iterator[None]:
    """Let Hydra see these words, and let its errors come through: it reads both from the process."""
    argv, full_error = sys.argv, os.environ.get(FULL_ERROR)
    sys.argv, os.environ[FULL_ERROR] = [argv[0], *words], "1"
    try:
        yield
    finally:
        sys.argv = argv
        if full_error is None:
            del os.environ[FULL_ERROR]
        else:
            os.environ[FULL_ERROR] = full_error
