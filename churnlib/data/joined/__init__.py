"""Several sources, one customer table: joined on the customer and, where a source has it, the date of the snapshot.

source.py     one source: its own names, which of its columns are taken, how it names customers and dates
keys.py       what can be wrong with keys: several rows for one, numbers that have lost their zeros
joining.py    the sources become one table; a row that is newer than the snapshot is never joined
reading.py    what goes wrong while they are read, as one sentence
"""

from churnlib.data.joined.joining import Joined, join_sources
from churnlib.data.joined.reading import reading_sources

__all__ = ["Joined", "join_sources", "reading_sources"]
