"""HTTP as clients speak it, up to the front that every request and every answer passes.

Bytes on the wire, TLS, keys and rates, who may wait and who is refused. Nothing here knows what a customer is.
"""
