"""What long work shows: a bar on a terminal, and nothing where nobody watches."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from churnlib.console import memory_words, row_bar, row_bars


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_is_for_terminals_only(terminal):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
    with row_bars(console) as move:
        move("usage", 3, 4)
        move("tickets", 1, 4)
    with row_bar("customers", console, total=10) as advance:
        advance(5)
    shown = console.file.getvalue()
    assert [word in shown for word in ("usage", "75%", "tickets", "25%", "customers", "50%")] == 6 * [terminal]
    assert terminal or not shown


def test_without_work_there_is_no_bar():
    console = Console(file=io.StringIO(), force_terminal=True)
    with row_bars(console):
        pass
    assert not console.file.getvalue()


def test_the_memory_told_is_that_of_the_process():
    resource = pytest.importorskip("resource")
    told = int(memory_words().partition("memory ")[2].removesuffix(" MiB").replace(",", ""))
    assert abs(told - resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024) < 2
