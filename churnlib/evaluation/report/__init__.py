"""The report of a run: from its test rows to one page that a manager reads, an auditor keeps and a program parses.

judged.py          what it is made from
performance.py     figures, decisions, curves, calibration
breakdown.py       by time and by kind of customer
survival.py        when customers leave, for a model that says when
simulator.py       cells from which the page computes any campaign
verdict.py         what it comes to, in plain words
card.py            the model card
configuration.py   options, without secrets
document.py        all of it, JSON-ready
drawings.py        charts
page.py            the page, from templates/
tables.py          the numbers as tables
files.py           what lies in the run folder
"""
