"""Ingested tables: folders of Parquet files that a manifest names, written whole or not at all.

    manifest.py    manifest.json: which files are the table, with rows, sizes and checksums; what their columns are
    lock.py        one writer at a time
    facts.py       rows, size, checksum and fingerprint of one file
    staging.py     a table of any size, streamed into files by snapshot date
    ingest.py      what is new or has changed takes its place; the renamed manifest is the moment it counts
    shrinking.py   rows taken out of one file of such a table

    customers/
      manifest.json
      snapshot=2024-01-31/0000-1f0c9a7be2d3c4b5.parquet
      snapshot=2024-02-29/0000-8e02b1c7d96f5a34.parquet

A table without dates has its files in ``rows/``. Files that the manifest does not name are leftovers of a run that was
ended; nobody reads them, and the next run takes them away.
"""
