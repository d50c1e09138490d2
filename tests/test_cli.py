"""The commands: words in, a sentence or a result out, and no file that nobody asked for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import churnlib.training.train
from churnlib import __version__, cli
from churnlib.commands import score, train
from churnlib.commands.mistakes import FLAGS
from churnlib.config import ColumnConfig
from churnlib.errors import DataError

METRICS = {"test": {"roc_auc": 0.8, "log_loss": 0.4, "f1": 0.6}, "model": "mlp", "seed": 0, "epochs": 1}


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Stand in for the training: remembers the configurations, and writes and finishes the folders."""
    configs = []

    def fake(config: Any, *, folder: Any, console: Any, ready: Any = None) -> Any:
        configs.append(config)
        if config.seed == 13:
            raise DataError("the table has one class")
        if config.seed == 14:
            raise RuntimeError("a mistake of the programmer")
        folder.create(config)
        if config.seed == 15:
            (folder.path / "checkpoints").mkdir()
            (folder.path / "checkpoints" / "last.ckpt").touch()
            raise SystemExit(1)  # what Lightning makes of Ctrl-C
        folder.finish(METRICS)
        return SimpleNamespace(metrics=METRICS, folder=folder.path)

    monkeypatch.setattr(churnlib.training.train, "train", fake)
    return configs


def files() -> set[str]:
    return {path.as_posix() for path in Path().rglob("*") if path.is_file()}


# --- mistakes -------------------------------------------------------------------------------------------------------

MISTAKES = [
    ("model.hiden_sizes=[3]", "unknown option 'model.hiden_sizes'; did you mean 'model.hidden_sizes'?"),
    ("trainr.max_epochs=3", "did you mean 'trainer.max_epochs'?"),
    ("epochs=3", "did you mean 'trainer.max_epochs'?"),
    ("lr=0.1", "did you mean 'optimizer.lr'?"),
    ("modl=mlp", "unknown option 'modl'; did you mean 'model'?"),
    ("expriment=x", "did you mean 'experiment'?"),
    ("model=tabnett", "there is no model=tabnett; did you mean model=tabnet?"),
    ("model.n_steps=4", "it belongs to model=tabnet"),
    ("data.path=customers.csv", "it belongs to data=table"),
    ("data=customers.csv", "write data=table data.path=customers.csv data.target=COLUMN"),
    ("model.dropout=abc", "model.dropout must be a number, got 'abc'"),
    ("trainer.max_epochs=1.5", "trainer.max_epochs must be a whole number, got '1.5'"),
    ("model.hidden_sizes=64", "model.hidden_sizes must be a list such as [a,b]"),
    ("output_dir=[a]", "output_dir must be text"),
    ("seed=null", "seed must have a value, got null"),
    ("seed=1,2", "add -m to run each of them"),
    ("model=null", "there is no model=null (choose from "),
    ("augment=true", "there is no augment=true (choose from none)"),
    ("model=[mlp]", "there is no model=[mlp] (choose from "),
    ("model", "expected key=value, got 'model'; write for example model="),
    ("=3", "cannot read the key of '=3'"),
    ("mein schlüssel=3", "cannot read the key"),
    ("data.target=left (y)", "quote it twice, \"data.target='left (y)'\""),
    ("data.target=a=b", "quote it twice, \"data.target='a=b'\""),
    ("data.target=Kündigung", "quote it twice, \"data.target='Kündigung'\""),
    ("data.drop=[a (b)]", "put texts inside in quotes"),
    ("data.columns.plan.kidn=text", "unknown option data.columns.plan.kidn; did you mean kind?"),
    ("data.columns.plan (a).order=[é]", "put texts in quotes"),
    ("data=table", "data.path is missing"),
    ("threshold.value=0.3", "only read with threshold=fixed"),
    ("+trainer.max_epoch=3", "did you mean max_epochs?"),
    ("--multirn", "there is no option --multirn; did you mean --multirun?"),
    ("--config-dir=nowhere", "not found"),
    ("ckpt_path=nowhere/last.ckpt", "ckpt_path=nowhere/last.ckpt does not exist"),
]


@pytest.mark.parametrize(("word", "sentence"), MISTAKES, ids=[word for word, _ in MISTAKES])
def test_a_mistake_is_answered_by_one_sentence(word, sentence, empty_folder, trained, capsys):
    assert train.main([word]) == 1
    said = capsys.readouterr()
    assert said.err.startswith("Error: ") and sentence in said.err
    assert said.err.count("\n") == 1 and not said.out
    assert not trained and not list(empty_folder.iterdir())


def test_a_wrong_table_is_answered_by_one_sentence_and_leaves_nothing(empty_folder, capsys):
    assert train.main(["data=table", "data.path=nowhere.csv", "data.target=churn"]) == 1
    assert capsys.readouterr().err.startswith("Error: there is no file nowhere.csv")
    assert not list(empty_folder.iterdir())


def test_hydras_variable_brings_the_traceback_back(empty_folder, monkeypatch):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(Exception, match="hiden_sizes"):
        train.main(["model.hiden_sizes=[3]"])


def test_a_mistake_of_the_programmer_keeps_its_traceback(empty_folder, trained):
    with pytest.raises(RuntimeError, match="a mistake of the programmer"):
        train.main(["seed=14"])


def test_the_flags_are_hydras():
    from hydra._internal.utils import get_args_parser

    assert set(FLAGS) == {flag for action in get_args_parser()._actions for flag in action.option_strings}


# --- words ----------------------------------------------------------------------------------------------------------


def test_the_training_gets_checked_dataclasses(empty_folder, trained):
    assert train.main(["model=tabnet", "seed=7", "trainer.max_epochs=3", "data.positive=1"]) == 0
    (config,) = trained
    assert config.seed == 7 and config.trainer.max_epochs == 3 and config.data.positive == "1"
    assert type(config.model) is dict and config.model["_target_"] == "churnlib.models.tabnet.TabNet"


SHIPPED = {"gender", "churn_date"}
"""Columns that the simulator's own configuration corrects."""


@pytest.mark.parametrize(
    ("words", "columns"),
    [
        (
            ["data.columns.plan.order=[a,b]", "data.columns.plan.role=feature"],
            {"plan": {"role": "feature", "order": ["a", "b"]}},
        ),
        (["data.columns.2023.role=ignored"], {"2023": {"role": "ignored"}}),
        (["data.columns.Total Charges.kind=numeric"], {"Total Charges": {"kind": "numeric"}}),
        (["data.columns.Größe (cm), ca.=1.kind=numeric"], {"Größe (cm), ca.=1": {"kind": "numeric"}}),
        (["data.columns.avg.bill.sensitive=true"], {"avg.bill": {"sensitive": True}}),
        (["data.columns.plan.purpose='the offer'"], {"plan": {"purpose": "the offer"}}),
        (["data.columns.😀.order=['very low','low']"], {"😀": {"order": ["very low", "low"]}}),
        (["data.columns={plan:{kind:text}}"], {"plan": {"kind": "text"}}),
        (["data.columns.plan={kind:text}"], {"plan": {"kind": "text"}}),
        (
            ["+data.columns.a.kind=text", "++data.columns.b c.kind=text"],
            {"a": {"kind": "text"}, "b c": {"kind": "text"}},
        ),
    ],
)
def test_any_column_can_be_corrected(words, columns, empty_folder, trained):
    assert train.main(words) == 0
    given = {name: asdict(correction) for name, correction in trained[0].data.columns.items() if name not in SHIPPED}
    assert given == {name: asdict(ColumnConfig(**correction)) for name, correction in columns.items()}


def test_corrections_of_one_call_do_not_reach_the_next(empty_folder, trained):
    train.main(["data.columns.Total Charges.kind=numeric", "output_dir=a"])
    train.main(["output_dir=b"])
    assert set(trained[1].data.columns) == SHIPPED


def test_a_network_of_ones_own_is_checked_before_anything_is_written(empty_folder, monkeypatch, capsys):
    package = "import torch\n\nclass MyNet(torch.nn.Module):\n    def __init__(self, in_features, width): ...\n"
    Path("mypkg.py").write_text(package, encoding="utf-8")
    Path("my_conf/model").mkdir(parents=True)
    Path("my_conf/model/my_net.yaml").write_text("_target_: mypkg.MyNet\nwidth: 3\ndepth: 2\n", encoding="utf-8")
    words = ["--config-dir", "my_conf", "model=my_net"]
    assert train.main(words) == 1
    assert "model._target_=mypkg.MyNet cannot be imported (No module named 'mypkg')" in capsys.readouterr().err
    monkeypatch.syspath_prepend(str(empty_folder))
    assert train.main(words) == 1
    assert "model.depth is no argument of mypkg.MyNet" in capsys.readouterr().err
    assert not Path("outputs").exists()


# --- where runs write -----------------------------------------------------------------------------------------------


def test_a_run_writes_into_a_dated_folder_and_nowhere_else(empty_folder, trained):
    assert train.main([]) == 0
    (folder,) = Path("outputs").glob("*-*-*/*")
    assert {path.name for path in folder.iterdir()} == {"config.yaml", "metrics.json"}
    assert Path("outputs/latest").resolve() == folder.resolve()
    assert {path.name for path in empty_folder.iterdir()} == {"outputs"}


def test_a_folder_that_holds_a_run_is_refused(empty_folder, trained, capsys):
    assert train.main(["output_dir=run"]) == 0
    assert train.main(["output_dir=run"]) == 1
    assert "output_dir=run holds a run already" in capsys.readouterr().err


def test_showing_the_configuration_runs_nothing(empty_folder, trained, capsys):
    assert train.main(["--cfg", "job", "model=tabnet"]) == 0
    assert "churnlib.models.tabnet.TabNet" in capsys.readouterr().out
    assert not trained and not list(empty_folder.iterdir())


def test_a_stopped_run_says_how_to_go_on(empty_folder, trained, capsys):
    assert train.main(["seed=15", "output_dir=run"]) == 130
    assert capsys.readouterr().err == "Stopped; go on with ckpt_path=run/checkpoints/last.ckpt\n"
    assert train.main(["seed=15", "output_dir=run"]) == 1
    assert "unfinished run; go on with ckpt_path=run/checkpoints/last.ckpt" in capsys.readouterr().err
    assert train.main(["ckpt_path=run/checkpoints/last.ckpt"]) == 0
    assert Path("run/metrics.json").exists()


# --- sweeps ---------------------------------------------------------------------------------------------------------


def sweep(folder: str) -> list[dict[str, Any]]:
    return json.loads(Path(folder, "sweep.json").read_text(encoding="utf-8"))["runs"]


def test_a_sweep_runs_every_combination_and_closes_with_a_table(empty_folder, trained, capsys):
    assert train.main(["-m", "model=mlp,tabnet", "seed=0,1", "output_dir=many"]) == 0
    assert [(config.model["_target_"].rpartition(".")[2], config.seed) for config in trained] == [
        ("MLP", 0), ("MLP", 1), ("TabNet", 0), ("TabNet", 1),
    ]  # fmt: skip
    runs = sweep("many")
    assert [run["overrides"] for run in runs][1] == ["model=mlp", "seed=1"]
    assert [run["folder"] for run in runs] == ["many/0", "many/1", "many/2", "many/3"]
    assert all(run["metrics"] == METRICS and run["state"] == "finished" for run in runs)
    assert Path("outputs/latest").resolve() == Path("many/3").resolve()
    assert {path.name for path in Path("many").iterdir()} == {"0", "1", "2", "3", "sweep.json"}
    closing = capsys.readouterr().out.split("4 runs")[1]
    assert "tabnet" in closing and "churnlib report run=many/" in closing
    assert not any(config.report for config in trained)


def test_runs_of_a_sweep_have_reports_where_that_is_said(empty_folder, trained):
    assert train.main(["-m", "seed=0,1", "report=true"]) == 0
    assert [config.report for config in trained] == [True, True]


def test_what_is_on_or_off_may_be_true_or_false(empty_folder, trained):
    assert train.main(["model=tabnet", "pretrain=true"]) == 0
    assert train.main(["model=tabnet", "pretrain=False"]) == 0
    assert [config.pretrain.passes > 0 for config in trained] == [True, False]


def test_hydras_options_may_stand_among_the_others(empty_folder, trained):
    (empty_folder / "mine" / "trainer").mkdir(parents=True)
    (empty_folder / "mine" / "trainer" / "quick.yaml").write_text("defaults: [default]\nmax_epochs: 7\n")
    words = ["seed=3", "--config-dir", "mine", "trainer=quick", "-m", "output_dir=many", "model=mlp_plain,tabnet"]
    assert train.main(words) == 0
    assert [(config.seed, config.trainer.max_epochs) for config in trained] == [(3, 7), (3, 7)]


def test_a_sweep_without_a_name_gets_a_dated_folder(empty_folder, trained):
    assert train.main(["--multirun", "seed=0,1"]) == 0
    assert len(list(Path("multirun").glob("*-*-*/*/[01]/metrics.json"))) == 2
    assert len(list(Path("multirun").glob("*-*-*/*/sweep.json"))) == 1


def test_one_failed_run_does_not_keep_the_others_from_running(empty_folder, trained, capsys):
    assert train.main(["-m", "seed=0,13,14,3", "output_dir=many"]) == 1
    said = capsys.readouterr()
    assert [run["state"] for run in sweep("many")] == [
        "finished",
        "failed: the table has one class",
        "failed: RuntimeError('a mistake of the programmer')",
        "finished",
    ]
    assert "Error: 2 of 4 runs failed: 1, 2" in said.err and said.err.count("Traceback") == 1
    assert not Path("many/1").exists()


def test_a_stopped_sweep_keeps_what_is_done(empty_folder, trained, capsys):
    assert train.main(["-m", "seed=0,15,3", "output_dir=many"]) == 130
    assert [run["state"] for run in sweep("many")] == ["finished", "stopped"]
    assert "go on with ckpt_path=many/1/checkpoints/last.ckpt" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["model=mlp,tabnett"], "there is no model=tabnett"),
        (["seed=0,1", "model.hiden_sizes=[3]"], "did you mean 'model.hidden_sizes'?"),
        (["output_dir=a,b"], "output_dir cannot be swept"),
        (["seed=0,1", "output_dir=taken"], "output_dir=taken holds runs already"),
        (["seed=0,1", "data.columns.a b.kind=text,numeric"], "only columns with a plain name can be swept"),
    ],
)
def test_a_mistake_in_a_sweep_is_found_before_its_first_run(words, sentence, empty_folder, trained, capsys):
    Path("taken/0").mkdir(parents=True)
    Path("taken/0/config.yaml").touch()
    assert train.main(["-m", *words]) == 1
    assert sentence in capsys.readouterr().err
    assert not trained and files() == {"taken/0/config.yaml"}


def test_columns_can_be_swept(empty_folder, trained):
    assert train.main(["-m", "data.columns.plan.role=feature,ignored"]) == 0
    assert [config.data.columns["plan"].role for config in trained] == ["feature", "ignored"]


def test_only_train_sweeps(empty_folder, capsys):
    assert score.main(["-m", "input=a", "output=b"]) == 1
    assert "score runs once" in capsys.readouterr().err


# --- the installed command ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_explains_itself(command, empty_folder, capsys):
    assert cli.main([command, "--help"]) == 0
    said = {
        "forget": "Remove a customer",
        "pseudonymise": "keyed pseudonyms",
        "explain-model": "model goes by on the whole",
    }.get(command, command)
    assert said in capsys.readouterr().out
    assert not list(empty_folder.iterdir())


def test_help_shows_the_values_of_the_chosen_options(empty_folder, capsys):
    assert cli.main(["train", "--help", "model=tabnet"]) == 0
    assert "_target_: churnlib.models.tabnet.TabNet" in capsys.readouterr().out


def test_the_commands_are_listed_and_mistyped_ones_recognised(capsys):
    assert cli.main([]) == 0
    said = capsys.readouterr().out
    assert all(f"  {command} " in said for command in cli.COMMANDS)
    assert cli.main(["trian", "seed=1"]) == 1
    assert capsys.readouterr().err == "Error: there is no command 'trian'; did you mean train?\n"
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"churnlib {__version__}\n"


def test_simulated_customers_are_scored_by_the_model_trained_on_their_like(empty_folder):
    """The commands for real: train, simulate, score."""
    small = ["data.n_customers=500", "trainer=debug", "trainer.progress=false"]
    assert cli.main(["train", "model=tabnet", *small]) == 0
    assert {path.name for path in Path("outputs/latest").iterdir()} >= {"config.yaml", "metrics.json", "bundle", "logs"}
    assert cli.main(["simulate", "output=new.parquet", "n_customers=50", "seed=1"]) == 0
    assert cli.main(["score", "input=new.parquet", "output=scores.csv"]) == 0
    header, *rows = Path("scores.csv").read_text(encoding="utf-8").splitlines()
    assert header == "customer_id,churn_probability,churn_prediction" and len(rows) >= 50


@pytest.mark.slow
def test_a_run_stopped_with_ctrl_c_goes_on_where_it_was(checkout, empty_folder):
    small = ["data.n_customers=500", "model=tabnet", "callbacks.early_stopping=null", "trainer.progress=false"]
    small += ["trainer.compile=false"]  # which a run of so many epochs would ask for
    words = [sys.executable, str(checkout / "train.py"), *small, "trainer.max_epochs=100000", "output_dir=run"]
    last = Path("run/checkpoints/last.ckpt")
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while not last.exists() and process.poll() is None:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert process.returncode == 130 and said == f"Stopped; go on with ckpt_path={last}\n"
    assert not Path("run/metrics.json").exists()

    epochs = torch.load(last, weights_only=True)["epoch"] + 1
    assert train.main([*small, f"ckpt_path={last}", f"trainer.max_epochs={epochs + 2}"]) == 0
    metrics = json.loads(Path("run/metrics.json").read_text(encoding="utf-8"))
    assert metrics["epochs"] == epochs + 2


# --- processes ------------------------------------------------------------------------------------------------------


def test_scripts_work_from_any_folder_and_their_help_loads_nothing_heavy(checkout, tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    for script in ("train.py", "scripts/score.py", "scripts/simulate.py"):
        words = [sys.executable, "-X", "importtime", str(checkout / script), "--help"]
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        assert f"python {(checkout / script).as_posix()}" in done.stdout
        imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
        assert "hydra" in imported
        assert not imported & {"torch", "lightning", "polars", "wandb", "sklearn", "numpy"}
    assert not list(tmp_path.iterdir())
