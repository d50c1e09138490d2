"""conf/ says what the code understands, and what the user says counts most."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from dataclasses import asdict
from typing import Any

import pytest
import yaml
from hydra.errors import HydraException

from churnlib.cli import COMMANDS
from churnlib.compose import SCHEMAS, compose
from churnlib.config import ColumnConfig, DataConfig, TrainConfig, config_dir, to_yaml
from churnlib.data.scaling import IMPUTE, SCALE
from churnlib.errors import ConfigError
from churnlib.explanation.wording import Wording
from churnlib.models.baselines import BASELINES
from churnlib.models.initialization import ACTIVATIONS
from churnlib.models.members import MEMBERS
from churnlib.models.mlp import NORMS
from churnlib.models.numeric_embedding import NUMERIC_EMBEDDINGS
from churnlib.models.tabnet import TABNET_PRESETS

CONF = config_dir()
NOT_CHOSEN = ("hydra", "reasons", "recipe", "rules")
OPTIONS = [
    f"{path.parent.name}={path.stem}" for path in sorted(CONF.glob("*/*.yaml")) if path.parent.name not in NOT_CHOSEN
]
FROM_DATA = {"in_features", "out_features", "n_numeric", "groups", "sequences", "generator"}
"""Arguments of networks that no configuration holds."""


def composed(*words: str, **options: Any) -> TrainConfig:
    needed = {
        "data=table": ["data.path=customers.csv", "data.target=churn"],
        "data=sql": ["data.query=customers.sql", "data.target=churn"],
        "data=joined": ["data.id=id", "data.target=churn", "+data.sources.crm.path=crm.csv"],
        "loss=cost_sensitive": ["loss.value=x"],
        "threshold=value": ["money.column=x"],
        "task=hazard": ["task.duration=tenure"],
    }
    return compose([*words, *(also for word in words for also in needed.get(word, []))], **options)


def located(target: str) -> Any:
    module, _, name = target.rpartition(".")
    return getattr(importlib.import_module(module), name)


# --- every file -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_composes(option: str):
    assert isinstance(composed(option), TrainConfig)


@pytest.mark.parametrize("name", [path.stem for path in sorted((CONF / "reasons").glob("*.yaml"))])
def test_every_wording_composes(name: str):
    config = compose(["input=a.csv", "output=b.csv", f"reasons={name}"], name="explain")
    wording = Wording.from_mapping(asdict(config.reasons))
    assert wording.text("tenure", "3", 0.5).endswith("raises the risk (odds × 1.6)")


@pytest.mark.parametrize("name", [path.stem for path in sorted((CONF / "levers").glob("*.yaml"))])
def test_every_set_of_levers_composes(name: str):
    words = ["input=a.csv", "output=plan", f"levers={name}"]
    if name == "none":
        with pytest.raises(ConfigError, match="levers is missing: say what can be offered with levers=campaign"):
            compose(words, name="plan")
        words.append("++levers.offers.call.saves=0.5")
    assert compose(words, name="plan").levers.offers


def components() -> dict[str, dict[str, Any]]:
    """Every class that a shipped configuration names, with its arguments."""
    found = {f"callbacks.{name}": spec for name, spec in composed().callbacks.items()}
    for option in OPTIONS:
        group = option.partition("=")[0]
        if group in ("model", "optimizer", "scheduler", "logger"):
            found[option] = getattr(composed(option), group)
    return {name: spec for name, spec in found.items() if spec is not None}


def test_every_named_class_takes_the_arguments_it_is_given():
    unknown = {}
    for name, spec in components().items():
        parameters = inspect.signature(located(spec["_target_"])).parameters
        unknown[name] = set(spec) - {"_target_"} - set(parameters)
    assert {"model=tabnet", "optimizer=sgd", "logger=wandb", "callbacks.checkpoint"} <= set(unknown)
    assert not {name: arguments for name, arguments in unknown.items() if arguments}


@pytest.mark.parametrize(
    ("group", "name", "target"),
    [
        ("model", "mlp", "churnlib.models.mlp.MLP"),
        ("model", "mlp_plain", "churnlib.models.mlp.PlainMLP"),
        ("model", "realmlp", "churnlib.models.realmlp.RealMLP"),
        ("model", "additive", "churnlib.models.additive.Additive"),
        ("model", "tabnet", "churnlib.models.tabnet.TabNet"),
        ("model", "ft_transformer", "churnlib.models.ft_transformer.FTTransformer"),
        ("model", "gru", "churnlib.models.sequence.GRU"),
        ("model", "lstm", "churnlib.models.sequence.LSTM"),
        ("model", "cnn", "churnlib.models.sequence.CNN"),
        ("scheduler", "coslog", "churnlib.models.schedules.coslog"),
        *(("model", name, target) for name, target in BASELINES.items()),
        ("scheduler", "cosine", "churnlib.models.schedules.cosine"),
        ("scheduler", "onecycle", "churnlib.models.schedules.onecycle"),
        ("scheduler", "plateau", "churnlib.models.schedules.plateau"),
    ],
)
def test_schemas_name_the_arguments_of_their_class(group: str, name: str, target: str):
    parameters = set(inspect.signature(located(target)).parameters) - FROM_DATA - {"optimizer", "total_steps"}
    schema = {field.name for field in dataclasses.fields(SCHEMAS[group][name])} - {"_target_"}
    assert schema == parameters


@pytest.mark.parametrize(("name", "target"), BASELINES.items())
def test_a_baseline_in_python_is_that_of_the_command(name: str, target: str):
    configured = {key: value for key, value in composed(f"model={name}").model.items() if key != "_target_"}
    assert dataclasses.asdict(located(target)()) == configured


def test_the_configuration_and_the_preparation_know_the_same_names():
    preprocess = composed().preprocess
    for option, names in (("impute", IMPUTE), ("scale", SCALE)):
        for name in names:
            assert getattr(dataclasses.replace(preprocess, **{option: name}), option) == name
        with pytest.raises(ConfigError, match=f"must be one of {', '.join(names)}, got 'other'"):
            dataclasses.replace(preprocess, **{option: "other"})


def test_the_configuration_and_the_network_know_the_same_names():
    schema = SCHEMAS["model"]["mlp"](**composed().model)
    known = {"activation": ACTIVATIONS, "norm": NORMS, "numeric_embedding": NUMERIC_EMBEDDINGS, "members": MEMBERS}
    for option, names in known.items():
        with pytest.raises(ConfigError, match=f"must be one of {', '.join(names)}, got 'other'"):
            dataclasses.replace(schema, **{option: "other"})


def test_every_recipe_belongs_to_a_model_and_an_optimizer():
    # Baselines have no optimizer, and a stack's models have each their own.
    models = {path.stem for path in CONF.glob("model/*.yaml")} - {*BASELINES, "stack"}
    optimizers = {path.stem for path in CONF.glob("optimizer/*.yaml")}
    recipes = {tuple(path.stem.rsplit("_", 1)) for path in CONF.glob("recipe/*.yaml")}
    assert {model for model, _ in recipes} == models
    assert {optimizer for _, optimizer in recipes} <= optimizers


@pytest.mark.parametrize(
    "command",
    [name for name in COMMANDS if name not in ("serve", "key")],  # which are no Hydra applications
)
def test_help_names_every_choice_and_every_option(command: str):
    text = (CONF / "hydra" / "help" / f"{command}.yaml").read_text(encoding="utf-8")
    schema = {"train": set()}.get(command, {field.name for field in dataclasses.fields(SCHEMAS[""][command])})
    choices = {word for option in OPTIONS for word in option.split("=")} if command == "train" else schema
    assert not {word for word in choices if word not in text}


# --- what counts most -----------------------------------------------------------------------------------------------


def test_a_recipe_reaches_only_its_own_optimizer():
    recipe = yaml.safe_load((CONF / "recipe" / "tabnet_adamw.yaml").read_text(encoding="utf-8"))["optimizer"]
    sgd = yaml.safe_load((CONF / "optimizer" / "sgd.yaml").read_text(encoding="utf-8"))
    assert composed("model=tabnet").optimizer["lr"] == recipe["lr"]
    assert composed("model=tabnet", "optimizer=adamw").optimizer == composed("model=tabnet").optimizer
    chosen = composed("model=tabnet", "optimizer=sgd").optimizer
    assert chosen == {key: value for key, value in sgd.items() if key != "defaults"}


def test_the_command_line_counts_more_than_the_recipe():
    config = composed("model=tabnet", "optimizer.lr=0.5", "trainer.batch_size=7", "callbacks.early_stopping.patience=1")
    assert config.optimizer["lr"] == 0.5
    assert config.trainer.batch_size == 7
    assert config.callbacks["early_stopping"]["patience"] == 1


def test_a_chosen_trainer_and_callbacks_count_more_than_the_model():
    config = composed("model=tabnet", "trainer=debug", "callbacks=none")
    assert config.trainer.max_epochs == 3
    assert config.callbacks == {"early_stopping": None, "checkpoint": None}


def test_an_experiment_counts_more_than_the_model_it_chooses(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\n"
        "defaults: [{override /model: tabnet}, {override /data: mlc}]\n"
        "model: {n_steps: 5}\ntrainer: {max_epochs: 2}\n",
        encoding="utf-8",
    )
    config = composed("experiment=mine", config_dir=tmp_path)
    assert config.model["_target_"].endswith("TabNet") and config.model["n_steps"] == 5
    assert config.trainer.max_epochs == 2
    assert config.optimizer == composed("model=tabnet").optimizer
    assert composed("experiment=mine", "trainer.max_epochs=9", config_dir=tmp_path).trainer.max_epochs == 9


# --- a model of one's own -------------------------------------------------------------------------------------------


def test_a_model_of_ones_own_needs_one_file(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "my_net.yaml").write_text("_target_: mypkg.MyNet\nwidth: 3\n", encoding="utf-8")
    config = composed("model=my_net", "model.width=4", config_dir=tmp_path)
    assert config.model == {"_target_": "mypkg.MyNet", "width": 4}
    assert config.optimizer["lr"] == 1e-3  # conf/optimizer/adamw.yaml
    assert config.trainer.max_epochs == 100
    with pytest.raises(HydraException, match="widht"):
        composed("model=my_net", "model.widht=4", config_dir=tmp_path)


def test_a_model_of_ones_own_may_bring_its_recipe(tmp_path):
    for folder, name, text in (
        ("model", "wide", "defaults: [mlp]\nhidden_sizes: [1024]\n"),
        ("recipe", "wide_adamw", "# @package _global_\noptimizer: {lr: 0.1}\n"),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    config = composed("model=wide", config_dir=tmp_path)
    assert config.model["hidden_sizes"] == [1024]
    assert config.model["_target_"] == composed("model=mlp").model["_target_"]
    assert config.optimizer["lr"] == 0.1


# --- values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("model.dropout=1", r"model.dropout must be in \[0, 1\), got 1.0"),
        ("trainer.max_epochs=0", "trainer.max_epochs must be at least 1, got 0"),
        ("optimizer.lr=0", "optimizer.lr must be above 0, got 0.0"),
        ("preprocess.scale=robst", "did you mean robust?"),
        ("threshold.value=0.3", "only read with threshold=fixed"),
        ("loss.pos_weight=often", "a number above 0, balanced or null"),
        ("loss=cost_sensitive", "loss.value is missing"),
        ("augment.swap=1", r"augment.swap must be in \[0, 1\), got 1.0"),
        ("+trainer.max_epoch=3", "unknown option trainer.max_epoch; did you mean max_epochs?"),
        ("+data.columns.plan.kidn=text", "unknown option data.columns.plan.kidn; did you mean kind?"),
        ("+data.columns.plan.order=low", "data.columns.plan.order must be a list"),
    ],
)
def test_values_out_of_their_range_are_refused(word: str, sentence: str):
    with pytest.raises(ConfigError, match=sentence):
        compose([word])


@pytest.mark.parametrize("preset", TABNET_PRESETS)
def test_an_experiment_for_each_preset_of_the_paper_holds_its_values(preset: str):
    model = composed(f"experiment=tabnet_{preset}").model
    assert {name: model[name] for name in TABNET_PRESETS[preset]} == dict(TABNET_PRESETS[preset])


def test_the_papers_network_has_nothing_beyond_the_paper():
    model = composed("model=tabnet_paper").model
    paper = inspect.signature(located(model["_target_"])).parameters
    beyond = ("dropout", "input_dropout", "attention_scale", "numeric_embedding", "n_members")
    assert {name: model[name] for name in beyond} == {name: paper[name].default for name in beyond}


def test_rows_to_pretrain_on_need_pretraining():
    with pytest.raises(ConfigError, match=r"pretrain.path=more.csv is only read .* add pretrain=on"):
        composed("pretrain.path=more.csv")
    assert composed("pretrain=on", "pretrain.path=more.csv").pretrain.passes > 0


def test_corrections_of_columns_get_their_type():
    data = DataConfig(name="t", columns={"plan": {"order": [1, 2]}, "age": ColumnConfig(sensitive=True)})
    assert data.columns == {"plan": ColumnConfig(order=["1", "2"]), "age": ColumnConfig(sensitive=True)}


def test_the_written_configuration_says_what_was_composed():
    config = composed("model=tabnet", "+data.columns.plan.kind=text", "threshold=fixed")
    assert yaml.safe_load(to_yaml(config)) == dataclasses.asdict(config)


def test_score_takes_null_for_rows_that_may_stay_empty():
    assert compose(["input=a", "output=b", "on_error=null"], name="score").on_error == "null"
