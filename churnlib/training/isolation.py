"""Training inside somebody else's program, which shall not notice."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def isolated() -> Iterator[None]:
    """Give back what training changes for its process: random numbers, the seed it announces, threads."""
    import torch
    from lightning.pytorch.utilities.seed import isolate_rng

    announced = {name: os.environ.get(name) for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS")}
    threads = torch.get_num_threads()
    with isolate_rng():
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            for name, value in announced.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
