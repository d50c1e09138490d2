"""From the bytes of a body to an answer, whichever door they came by.

Bodies are read strictly, customers become rows or a table, an engine has the model score them, and each answer says
what was unusual and who ought to look at it. Doors are imported only when somebody comes by them.
"""
