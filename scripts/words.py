"""The words of a script's command line, ``option=value``, and what it answers to ``--help``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def options_of(words: Sequence[str], defaults: Mapping[str, str], description: str | None) -> dict[str, str]:
    """Return the value of every option.

    Args:
        words: Of the command line.
        defaults: All options, with the values of those that no word names.
        description: What the script does: its docstring.

    Raises:
        SystemExit: With status 0 after the help that was asked for; with a sentence and status 1 if there is no such
            option.

    >>> options_of(["rows=5"], {"rows": "100", "seed": "0"}, None)
    {'rows': '5', 'seed': '0'}
    """
    answer_help(words, defaults, description)
    options = dict(defaults)
    for word in words:
        key, _, value = word.partition("=")
        if key not in options:
            raise SystemExit(f"unknown option {word!r}; choose from {', '.join(options)} (--help tells more)")
        options[key] = value
    return options


def answer_help(words: Sequence[str], defaults: Mapping[str, object], description: str | None) -> None:
    """Print what a script does and its options, and end with status 0, if a word asks for that."""
    if {"-h", "--help"}.isdisjoint(words):
        return
    print(f"{(description or '').strip()}\n\nOptions, with what they are if you do not say:\n")
    for name, value in defaults.items():
        print(f"    {name}={value}")
    raise SystemExit(0)
