"""Scripts tell what they are and which words they take."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from scripts.words import options_of

SCRIPTS = Path(__file__).parents[1] / "scripts"
BY_WORDS = sorted(path.stem for path in SCRIPTS.glob("*.py") if "main(sys.argv[1:])" in path.read_text())


@pytest.mark.parametrize("name", BY_WORDS)
def test_a_script_tells_its_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = importlib.import_module(f"scripts.{name}")
    try:
        status = module.main(["--help"])
    except SystemExit as ended:
        status = ended.code
    said = capsys.readouterr()
    assert (status or 0, said.err) == (0, "")
    assert re.search(r"\w=", said.out), "no option is named"
    assert module.main.__module__ != module.__name__ or module.__doc__.strip() in said.out


def test_every_script_takes_its_words_alike() -> None:
    apart = [path.stem for path in SCRIPTS.glob("*.py") if re.search(r'dict\(word\.split\("=", 1\)', path.read_text())]
    assert apart == ["trap"], "whose parser is argparse"


def test_words_change_defaults_and_no_other_is_taken() -> None:
    assert options_of(["rows=5", "path=a=b"], {"rows": "1", "path": "", "seed": "0"}, None) == {
        "rows": "5",
        "path": "a=b",
        "seed": "0",
    }
    with pytest.raises(SystemExit, match="unknown option 'row=5'; choose from rows, seed"):
        options_of(["row=5"], {"rows": "1", "seed": "0"}, None)


def test_the_help_names_options_and_their_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        options_of(["rows=5", "-h"], {"rows": "1", "path": ""}, "What it does.\n\n    how\n")
    assert capsys.readouterr().out == (
        "What it does.\n\n    how\n\nOptions, with what they are if you do not say:\n\n    rows=1\n    path=\n"
    )
