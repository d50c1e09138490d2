"""What the pages for people share: one look, how figures are written, pictures, files that are whole or not there.

look.css       colours for light, dark and paper; text, cards, tables
words.py       figures as a reader takes them
pictures.py    small pictures inside tables
charts.py      charts with axes
writing.py     templates and files
"""
