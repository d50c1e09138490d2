"""That a customer gets the same answer wherever he is asked about: torch, ONNX, a file, and a server by every engine.

    python scripts/check_serving_parity.py bundle=DIR rows=100000 seed=0 [engines=inline,thread,worker,litserve]

Made-up customers, drawn from what the bundle knows of its training columns, are scored in this process by torch (the
reference) and by ONNX Runtime, as a file by ``churnlib score`` with either, and over HTTP by real servers: all of them
in columns, half as rows, a tenth by the Open Inference Protocol and as CSV, and one in fifty alone (at least 200), over
eight connections at once. A plain LitServer is only asked for single ones. Held is that no probability is further than
1e-6 from the reference, and that every decision is the same where the probability is more than 1e-6 from the threshold.
The exit status is 1 if that is broken, or anybody is refused. The bundle must hold an ONNX file.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts.bench_serving import answers
from scripts.campaigns.servers import free_port, server
from scripts.serving_ways import WAYS, Rows, Said, alone, asked_of, columns_of
from scripts.words import options_of

DEFAULTS = {
    "bundle": "outputs/latest/bundle",
    "rows": "100000",
    "seed": "0",
    "engines": "inline,thread,worker,litserve",
    "json": "",
}
NEAR = 1e-6
STOCK = """
import sys
from litserve import LitServer
from churnlib.serving.api import ChurnLitAPI

if __name__ == "__main__":
    server = LitServer(ChurnLitAPI(sys.argv[1]), accelerator="cpu", timeout=30)
    server.run(port=int(sys.argv[2]), host="127.0.0.1", generate_client_file=False, log_level="warning")
"""

# --- servers and files ------------------------------------------------------------------------------------------------


@contextmanager
def stock_server(bundle: str, folder: Path) -> Iterator[int]:
    """Run a plain LitServer; yields its port."""
    port = free_port()
    (folder / "stock.py").write_text(STOCK)
    command = [sys.executable, str(folder / "stock.py"), bundle, str(port)]
    with (folder / "stock.out").open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=out, env={**os.environ, "PYTHONPATH": str(ROOT)}, start_new_session=True
        )
    try:
        until = time.monotonic() + 120
        while not answers(f"http://127.0.0.1:{port}/health"):
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"LitServer does not start:\n{(folder / 'stock.out').read_text()}")
            time.sleep(0.1)
        yield port
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def scored_file(bundle: str, rows: Rows, folder: Path, backend: str) -> Said:
    """Score the customers as a file."""
    source, target = folder / "customers.parquet", folder / f"scores-{backend}.parquet"
    pl.DataFrame(columns_of(rows), strict=False).write_parquet(source)
    words = ["score", f"bundle={bundle}", f"input={source}", f"output={target}", f"backend={backend}"]
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from churnlib.cli import main; sys.exit(main())", *words],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"the file is not scored: {done.stderr}")
    return Said.of(pl.read_parquet(target).to_dict(as_series=False))


def all_ways(bundle: str, rows: Rows, folder: Path, engines: Sequence[str]) -> Iterator[tuple[str, Said]]:
    """Yield the name of each way but the reference, and what it said of the first so many customers."""
    from churnlib.predictor import load

    yield "ONNX, this process", Said.of(load(bundle, backend="onnx").predict(rows).to_dict(as_series=False))
    for backend in ("torch", "onnx"):
        yield f"churnlib score, {backend}", scored_file(bundle, rows, folder, backend)
    singles = rows[: max(200, len(rows) // 50)]
    lists = any(isinstance(cell, list) for cell in rows[0].values())
    for engine in engines:
        if engine == "litserve":
            with stock_server(bundle, folder) as port:
                yield "LitServer, alone", alone(port, singles)
            continue
        with server(bundle, folder, f"engine={engine}", "timeout=30") as running:
            running.wait_until_ready()
            yield f"{engine}, alone", alone(running.port, singles)
            for way, (_, share) in WAYS.items():
                if not (lists and way in ("CSV", "protocol")):
                    yield f"{engine}, {way}", asked_of(running.port, way, rows[: max(1, int(share * len(rows)))])


# --- the comparison ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """How one way compares with the reference.

    Attributes:
        way: Its name.
        customers: Who were asked about.
        refused: Customers without an answer.
        furthest: Largest difference of a probability.
        other: Decisions that differ, and must not.
        near: Customers too near to the threshold for their decisions to be compared.
    """

    way: str
    customers: int
    refused: int
    furthest: float
    other: int
    near: int

    @property
    def holds(self) -> bool:
        """Whether the way is as good as the reference."""
        return self.furthest <= NEAR and not self.other and not self.refused


def compared(way: str, said: Said, reference: Said, threshold: float | None) -> Found:
    """Compare what was said of the first so many customers with the reference."""
    n = len(said.decisions)
    expected = reference.probabilities[:n]
    refused = np.isnan(said.probabilities).any(axis=1)
    furthest = float(np.abs(said.probabilities - expected)[~refused].max(initial=0.0))
    near = _near(expected, threshold)
    other = np.array([a != b for a, b in zip(said.decisions, reference.decisions[:n], strict=True)])
    return Found(way, n, int(refused.sum()), furthest, int((other & ~near & ~refused).sum()), int(near.sum()))


def _near(probabilities: np.ndarray, threshold: float | None) -> np.ndarray:
    """Return whose decision rounding may turn, ``(rows,)`` bool."""
    if threshold is not None:
        return np.abs(probabilities[:, 0] - threshold) <= NEAR
    best = np.sort(probabilities, axis=1)
    return best[:, -1] - best[:, -2] <= 2 * NEAR


def main(words: list[str]) -> int:
    """Compare all ways; 1 if one is not as good as the reference."""
    from churnlib.data.profile import draw_rows
    from churnlib.predictor import load

    options = options_of(words, DEFAULTS, __doc__)
    bundle = str(Path(options["bundle"]).resolve())
    predictor = load(bundle, backend="torch")
    if predictor.bundle.own_threshold is not None:
        raise SystemExit("this bundle has a threshold of each customer's own, which this script does not know")
    n, name = int(options["rows"]), predictor.schema.id or "customer_id"
    drawn = draw_rows(dict(predictor.bundle.profile), predictor.schema, n, seed=int(options["seed"]))
    kept = (~predictor.read(drawn).bad).nonzero()[0].tolist()
    rows = [{name: f"C-{place:07d}", **drawn[place]} for place in kept]
    reference = Said.of(predictor.predict(rows).to_dict(as_series=False))
    threshold = predictor.bundle.threshold if len(predictor.classes) == 2 else None
    found: list[Found] = []
    with tempfile.TemporaryDirectory(prefix="parity-") as scratch:
        for way, said in all_ways(bundle, rows, Path(scratch), options["engines"].split(",")):
            found.append(compared(way, said, reference, threshold))
    show(found, f"{predictor.model_name} {predictor.version}, torch in this process against")
    if options["json"]:
        Path(options["json"]).write_text(json.dumps([vars(each) for each in found], indent=1))
    return 0 if all(each.holds for each in found) else 1


def show(found: Sequence[Found], title: str) -> None:
    """Print the comparison."""
    table = Table(title=title, title_justify="left")
    for name in ("way", "customers", "refused", "largest difference", "other decisions", "near the threshold", ""):
        table.add_column(name, justify="left" if name in ("way", "") else "right")
    for each in found:
        numbers = (
            f"{each.customers:,}",
            f"{each.refused:,}",
            f"{each.furthest:.1e}",
            f"{each.other:,}",
            f"{each.near:,}",
        )
        table.add_row(each.way, *numbers, "[green]held[/]" if each.holds else "[red]broken[/]")
    Console(width=150, highlight=False).print(table)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
