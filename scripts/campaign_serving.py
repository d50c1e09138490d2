"""Campaigns against a real server: it is ended, killed, reloaded and overloaded, and nobody may lose an answer by it.

    python scripts/campaign_serving.py bundle=DIR
        [what=term,group,pid1,kill_http,kill_worker,reload,rollback,overload,soak,fuzz,wire]
        [engine=inline,worker] [times=100] [seconds=60] [minutes=30] [hurry=true] [words="processes=2"]

``term`` and ``group`` send SIGTERM to the server and to its whole process group under load, ``pid1`` to a server that
is the first process of a PID namespace (needs root). ``kill_http`` and ``kill_worker`` kill -9 children of one server;
``hurry=true`` before their spares are ready.
``reload`` changes the model by SIGHUP and by ``POST /admin/reload`` under load; ``rollback`` goes back, and offers bad
bundles. ``overload`` offers ten times the capacity for ``seconds``; ``soak`` half of it for ``minutes``. ``fuzz`` has
schemathesis make ``requests=10000`` from the server's own OpenAPI document; ``wire`` damages ``mutations=5000`` raw
requests (``fuzz_http.py``). Each prints a table; the exit status is 1 if any promise was broken. The clients run on the
same machine, so that latencies are upper bounds.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.bench_serving import customers
from scripts.campaigns.ending import end_under_load
from scripts.campaigns.killing import kill_under_load
from scripts.campaigns.overloading import overload, slow_setting
from scripts.campaigns.reloading import reload_under_load
from scripts.campaigns.results import Result, show
from scripts.campaigns.servers import Setting
from scripts.campaigns.soaking import soak
from scripts.campaigns.strange import fuzz, wire
from scripts.words import options_of

DEFAULTS = {
    "bundle": "outputs/latest/bundle",
    "what": "term,group,pid1,kill_http,kill_worker,reload,rollback,overload,soak,fuzz,wire",
    "engine": "inline,worker",
    "times": "100",
    "seconds": "60",
    "minutes": "30",
    "requests": "10000",
    "mutations": "5000",
    "hurry": "false",
    "words": "",
    "json": "",
}


def main(words: list[str]) -> int:
    """Run the campaigns that the words name; 1 if any promise was broken."""
    options = options_of(words, DEFAULTS, __doc__)
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="campaign-") as scratch:
        folder = Path(scratch)
        bundle = Path(options["bundle"]).resolve()
        setting = Setting(bundle, customers(str(bundle)), folder)
        for engine in options["engine"].split(","):
            for what in options["what"].split(","):
                found = campaign(what, engine, options, setting)
                results.append(found)
                show(found)
    if options["json"]:
        Path(options["json"]).write_text(json.dumps([vars(result) for result in results], indent=1))
    return 1 if any(result.broken for result in results) else 0


def campaign(what: str, engine: str, options: Mapping[str, str], setting: Setting) -> Result:
    """Run one campaign."""
    times, seconds, extra = int(options["times"]), float(options["seconds"]), options["words"].split()
    served = setting.and_words(f"engine={engine}", *extra)
    match what:
        case "term" | "group" | "pid1":
            return end_under_load(served, how=what, times=times)
        case "kill_http" | "kill_worker":
            patient = served.and_words("timeout=10")  # who did not ask the dead process waits for the next
            hurry = options["hurry"] == "true"
            return kill_under_load(patient, role=what.removeprefix("kill_"), times=times, hurry=hurry)
        case "reload" | "rollback":
            return reload_under_load(served, times=times, rollback=what == "rollback")
        case "overload":
            chosen = "thread" if engine == "inline" else engine  # as auto decides for a slow network
            return overload(slow_setting(setting.and_words(f"engine={chosen}", *extra)), seconds=seconds)
        case "soak":
            return soak(served, minutes=float(options["minutes"]))
        case "fuzz":
            records = tempfile.mkdtemp(dir=setting.folder)  # without, feedback is answered 501
            return fuzz(served.and_words(f"record={records}"), requests=int(options["requests"]))
        case "wire":
            return wire(served, mutations=int(options["mutations"]))
        case _:
            raise SystemExit(f"there is no campaign {what!r}; there are {DEFAULTS['what']}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
