"""The processes of a server and their lives.

The first one binds the port, starts those that answer, has all of them change the model together, and ends them without
losing a client. What an HTTP process or a worker is made of is put together here too.
"""
