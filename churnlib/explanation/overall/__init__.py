"""What a model goes by on the whole, rather than for one customer: one module per method, and ``report`` for all."""
