"""Customer tables from PostgreSQL and from MySQL or MariaDB: one SELECT in, Parquet parts or a frame out.

    the address      postgresql://user:password@host:5432/database or mysql://..., held by an environment variable; it
                     is no argument and no option, and no error shows it
    the session      may only read: the server refuses anything else
    the time         one limit over connecting, querying and sending, kept by the server and, if it hangs, by us
    what fails       is one sentence, with nothing kept: rows reach the folder only when all of them have come
    many rows        are written as they come, so memory does not grow with them; several ranges of a column of whole
                     numbers or dates are read at once, rows without a value in it too, and from one snapshot of
                     PostgreSQL
    whole numbers, fractions, truth values, text, dates, timestamps, arrays of these
                     as they are (timestamps with a time zone in UTC); a date at infinity is missing
    numeric, decimal fractions (float64); of a whole number beyond 2^53 a float is not exact, which is an error
    uuid, enum, json, interval, time of day, inet and whatever else
                     text, as the server writes it
    bytes            text of hexadecimal digits

:mod:`.fetch` starts :mod:`.reader` as a process of its own: the drivers are native code, one of which ends the process
it runs in where a connection breaks and tries a wrong password for half a minute.
"""

from churnlib.data.sources.sql.fetch import URL_ENV, fetch_sql, read_sql

__all__ = ["URL_ENV", "fetch_sql", "read_sql"]
