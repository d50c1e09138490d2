"""Simulated telecom customers, the embedded default data: any number, from a model whose best result is known.

    model.py         who the customers are, and how likely each is to leave
    history.py       their monthly histories, if wanted
    events.py        what they used each day and the tickets they opened, if wanted
    errors.py        what real source systems get wrong
    options.py       what a draw depends on, checked once
    customers.py     all of it as a table of customers
    event_tables.py  and as tables of their events
    drawing.py       block by block, in memory or straight into a Parquet file

Customers are drawn in blocks of ``BLOCK_SIZE``, each with generators of its own from (seed, number of the block).
Hence a customer is the same in a table of any size: the distinct customers of ``simulate(1_000, seed=s)`` are the
first 1,000 of ``simulate(1_000_000, seed=s)``, errors included, and a file holds the very rows of the table in memory.
(Only the places of the repeated rows within the last, unfinished block depend on the size.)
"""

from churnlib.data.simulator.customers import TRUTH, SimulatedCustomers, simulate, simulate_to_parquet
from churnlib.data.simulator.event_tables import simulate_events, simulate_events_to_parquet
from churnlib.data.simulator.options import BLOCK_SIZE, DUPLICATE_SHARE, SNAPSHOT_DATE, snapshot_dates

__all__ = [
    "BLOCK_SIZE",
    "DUPLICATE_SHARE",
    "SNAPSHOT_DATE",
    "TRUTH",
    "SimulatedCustomers",
    "simulate",
    "simulate_events",
    "simulate_events_to_parquet",
    "simulate_to_parquet",
    "snapshot_dates",
]
