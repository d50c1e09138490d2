"""Rules that a table must keep: which rows break them, and what becomes of those.

    book.py         the rules as a user writes them, bound to the columns of a table
    masks.py        the rows of a table that break each of them
    table_rules.py  what no row shows by itself: repeated keys, stale columns, columns with too many gaps
    report.py       the account: rule, rows, share; no cell of any row
    stream.py       the same, of a table that is read piece by piece
    validate.py     a table in; the rows that go on, the others with the names of their rules, and the account out
    one_row.py      the same rules in plain Python, for one customer
    sql_in_python.py  expressions in plain Python, where Python means the same

Plain polars expressions, and no validation library: a rule is one Boolean expression here, and what a library adds is
collecting the answers. dataframely, the best of them for polars, has neither freshness nor a share of gaps, its schemas
are classes that cannot be written down as JSON, and a row by itself takes it milliseconds, where our own rules can be
compiled to plain Python. In bulk it is faster than this where many rows break rules.
"""

from churnlib.data.validation.book import RuleBook, read_rules
from churnlib.data.validation.masks import broken
from churnlib.data.validation.report import Entry, Report
from churnlib.data.validation.validate import QUARANTINE, RULES_REPORT, BrokenRules, Validated, validate

__all__ = [
    "QUARANTINE",
    "RULES_REPORT",
    "BrokenRules",
    "Entry",
    "Report",
    "RuleBook",
    "Validated",
    "broken",
    "read_rules",
    "validate",
]
