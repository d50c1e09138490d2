"""What a company owes the people in its tables: finding everything about one of them, and forgetting them.

From whom to look for to what is done:

    persons.py     whom to look for: a name, its pseudonyms under the keys given, or the traces of earlier erasures
    records.py     CSV files record by record, their bytes as they are
    stores.py      the tables that churnlib has written below some folders, and in which column each names its customers
    lines.py       the records of a server that are lines of JSON
    models.py      which models saw a person, as far as that can be known
    forget.py      rows taken out of every table, and a record of it that names nobody
    subject.py     everything found about one person, as JSON
    tables.py      names of a table replaced by pseudonyms
"""
