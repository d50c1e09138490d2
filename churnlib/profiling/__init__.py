"""A readable report of a customer table, before anything is learned from it.

In the order in which a table passes through them:

    rows.py          the table, cleaned and typed, with its labels
    columns.py       how a column is distributed, what is missing, how many leave in each cell
    periods.py       the same over time: missing values, churn, and drift against its sampling noise
    leaving.py       in which months and on which weekdays customers left
    associations.py  which columns say the same
    people.py        groups, near-duplicates, who could be singled out, what is kept too long
    checks.py        leak checks and rules, where these are there
    findings.py      what a reader should look at first, in sentences
    profile.py       all of it, JSON-ready
    page.py          the page, from page.html.jinja
"""
