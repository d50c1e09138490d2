"""That customers who come one at a time get what a table of that customer gets: errors, warnings, cells and answers.

    python scripts/check_one_row.py rows=100000               (about 20 minutes on one processor)
    python scripts/check_one_row.py rows=5000 kinds=rules,hazard seed=1

Random rows go both ways through models of every kind (``tests/made_rows.py``), answered by ONNX Runtime: customers of
a table as they are, with one odd cell, with odd cells everywhere, and with columns that the model does not know. A
difference in anything, to the last bit of a probability, stops the script with the row. What a server reads in the
shortest way, from bytes, is compared with what the longer way makes of them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from rich.progress import track

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from churnlib.serving.answering.rows import RowReader
from scripts.words import options_of
from tests.made_rows import KINDS, compare, compare_body, drawn_rows, row_predictor


def main(words: list[str]) -> int:
    """Compare as many rows as asked for."""
    options = options_of(words, {"kinds": ",".join(KINDS), "rows": "100000", "seed": "0"}, __doc__)
    kinds, n, seed = options["kinds"].split(","), int(options["rows"]), int(options["seed"])
    total = usual = short = 0
    for place, kind in enumerate(kinds):
        rows, customers = row_predictor(kind)
        reader = RowReader(rows.predictor)
        drawn = drawn_rows(customers, n // len(kinds) + (place < n % len(kinds)), seed=seed)
        for row in track(drawn, description=f"{len(drawn):,} rows, {kind}"):
            total += compare(row, rows)
            usual += rows.is_usual(row)
            short += compare_body(row, reader)
    print(
        f"{n:,} rows are equal; {total:,} of them can be read, {usual:,} of these in the shortest way,"
        f" {short:,} so from bytes"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
