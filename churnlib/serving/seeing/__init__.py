"""What is seen of requests, by those who run a server and by those who judge its model later.

Metrics, logs, traces, records of predictions, labels. A request leaves a note in passing and threads do the rest, so
that none waits for it.
"""
