"""Other ways to the same answers, and what describes all ways to those who come.

The Open Inference Protocol and the addresses of clouds, with wrappings of their own; OpenAPI for programs, and the same
as a page for people.
"""
