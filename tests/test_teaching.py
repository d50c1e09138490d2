"""A network that learns from another model: of the training rows alone, and nothing of those that judge it."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from made import made_customers

import churnlib
from churnlib.compose import compose
from churnlib.data.customers import Customers
from churnlib.data.datamodule import ChurnDataModule
from churnlib.errors import ConfigError
from churnlib.models.losses import cross_entropy, loss_spec, training_loss
from churnlib.training.many import data_module, stackable
from churnlib.training.run_folder import RunFolder
from churnlib.training.teaching import swapped, taught_rows
from churnlib.training.train import read_customers, train

TABLE = ["data.n_customers=500", "leaks=off", "report=false", "logger=none", "trainer.progress=false"]
QUICK = ["model=mlp_plain", "model.hidden_sizes=[16]", "trainer.max_epochs=3", "callbacks=memory"]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("teacher") / "run"
    train(compose([*TABLE, "model=logistic"]), folder=RunFolder(folder, latest=None))
    return folder / "bundle"


@pytest.fixture(scope="module")
def customers() -> Customers:
    return read_customers(compose(TABLE))


def taught(teacher: Path, *words: str) -> list[str]:
    return [*TABLE, *QUICK, f"teacher='{teacher}'", *words]


# --- what is learned ------------------------------------------------------------------------------------------------


def test_the_training_rows_are_learned_as_the_teacher_sees_them(teacher, customers):
    rows = taught_rows(compose(taught(teacher, "teacher_copies=0")), customers)
    known = churnlib.load(teacher)
    # As it was trained: its calibration comes from validation rows.
    logits = known.logits(known.read(customers.frame[customers.rows("train")]).typed)
    np.testing.assert_allclose(rows.soft, 1 / (1 + np.exp(-logits)), atol=1e-6)
    assert known.bundle.calibration.to_dict() != {"kind": "temperature", "temperature": 1.0}
    np.testing.assert_array_equal(rows.encoded.numeric, customers.encoded["train"].numeric)
    assert rows.class_counts.tolist() == [round(float((1 - rows.soft).sum())), round(float(rows.soft.sum()))]


def test_a_share_of_the_label_can_stay(teacher, customers):
    alone, mixed = (
        taught_rows(compose(taught(teacher, "teacher_copies=0", f"teacher_share={share}")), customers).soft
        for share in (1, 0.25)
    )
    np.testing.assert_allclose(mixed, 0.25 * alone + 0.75 * customers.labels("train"), atol=1e-6)


def test_copies_are_other_customers_for_whom_the_teacher_is_asked(teacher, customers):
    config = compose(taught(teacher, "teacher_copies=2", "teacher_swap=0.3"))
    rows, n = taught_rows(config, customers), len(customers.rows("train"))
    assert len(rows) == 3 * n
    again = taught_rows(config, customers)
    np.testing.assert_array_equal(rows.soft, again.soft)
    changed = (rows.encoded.codes[n : 2 * n] != rows.encoded.codes[:n]).any(axis=1)
    assert 0.2 < changed.mean() < 1.0
    # The student's inputs of each copy and the teacher's answer belong together.
    own = churnlib.load(teacher).logits_of(rows.encoded)
    np.testing.assert_allclose(rows.soft, 1 / (1 + np.exp(-own)), atol=1e-6)


def test_swapped_cells_are_cells_of_their_column():
    rows = made_customers(400)
    found = swapped(rows, ["plan", "charges"], probability=0.25, rng=np.random.default_rng(0))
    assert found.drop("plan", "charges").equals(rows.drop("plan", "charges"))
    share = (found["charges"].eq_missing(rows["charges"]).not_()).mean()
    assert 0.15 < share < 0.3
    assert set(found["charges"].to_list()) <= set(rows["charges"].to_list())


def test_validation_and_test_rows_change_nothing_that_is_learned(teacher, customers):
    config = compose(taught(teacher))
    others = np.concatenate([customers.rows("validation"), customers.rows("test")])
    # The same table, where everybody who judges the student is somebody else.
    order = np.arange(len(customers.frame))
    order[others] = customers.rows("train")[: len(others)]
    label = customers.label.copy()
    label[others] = 1 - label[others]
    other = replace(customers, frame=customers.frame[order], typed=customers.typed[order], label=label)
    one, two = taught_rows(config, customers), taught_rows(config, other)
    np.testing.assert_array_equal(one.soft, two.soft)
    np.testing.assert_array_equal(one.encoded.numeric, two.encoded.numeric)


@pytest.mark.parametrize("shape", [(6,), (6, 3)])
def test_a_soft_label_is_the_mean_over_labels(shape):
    torch.manual_seed(0)
    logits = torch.randn(shape, dtype=torch.float64)
    soft = torch.rand(6) if len(shape) == 1 else torch.rand(shape).softmax(1)
    shares = torch.stack([1 - soft, soft], 1) if len(shape) == 1 else soft
    wanted = sum(shares[:, k] * cross_entropy(logits, torch.full((6,), k)) for k in range(shares.shape[1]))
    loss = training_loss(loss_spec("bce"), [4, 2] if len(shape) == 1 else [3, 2, 1])
    torch.testing.assert_close(loss(logits, soft.double()), wanted.double())


# --- runs -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_student_answers_like_its_teacher(teacher, tmp_path):
    words = ["trainer.max_epochs=15", "model.dropout=0"]
    alone = [word for word in taught(teacher, *words) if not word.startswith("teacher")]
    runs = {}
    for name, given in {"taught": taught(teacher, *words), "alone": alone}.items():
        runs[name] = train(compose(given), folder=RunFolder(tmp_path / name, latest=None))
    frame = read_customers(compose(TABLE)).frame
    wanted, *found = (
        churnlib.load(path).probabilities(frame)
        for path in (teacher, tmp_path / "taught" / "bundle", tmp_path / "alone" / "bundle")
    )
    distances = [np.abs(one - wanted).mean() for one in found]
    assert distances[0] < 0.7 * distances[1]
    said = runs["taught"].metrics["teacher"]
    assert said == {"bundle": str(teacher), "model": "logistic", "version": churnlib.load(teacher).version}
    assert runs["alone"].metrics["teacher"] is None
    # The student is judged, stopped and calibrated by labels, not by what the teacher says.
    assert runs["taught"].metrics["test"]["n"] == len(pl.read_parquet(tmp_path / "taught" / "predictions.parquet"))


@pytest.mark.slow
def test_several_classes_and_several_seeds_are_taught(tmp_path):
    table = tmp_path / "customers.csv"
    frame = made_customers(300)
    kind = (
        pl.when(pl.col("churn") == "no").then(pl.lit("stays")).when(pl.col("paperless") == "Yes").then(pl.lit("moves"))
    )
    frame.with_columns(churn=kind.otherwise(pl.lit("leaves"))).write_csv(table)
    words = ["data=table", f"data.path='{table}'", "data.target=churn", "data.id=customer", "leaks=off"]
    words += ["report=false", "logger=none", "trainer.progress=false"]
    train(compose([*words, "model=logistic"]), folder=RunFolder(tmp_path / "teacher", latest=None))
    given = [*words, *QUICK, f"teacher='{tmp_path / 'teacher' / 'bundle'}'", "ensemble=2"]
    config = compose(given)
    customers = read_customers(config)
    rows = taught_rows(config, customers)
    np.testing.assert_allclose(rows.soft.sum(axis=1), 1, atol=1e-6)
    assert not stackable(config, [data_module(config, customers)])  # labels of several models at once are whole
    result = train(config, folder=RunFolder(tmp_path / "student", latest=None))
    assert result.metrics["members"]


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["model=logistic"], "is for a network"),
        (["model=stack", "model.models=[logistic,mlp_plain]", "cv=2"], "is for a network"),
        (["cv=3"], "leave cv out"),
        (["split.origins=2", "split.by=time"], "leave split.origins out"),
        (["resample=random_over"], "add resample=none"),
        (["loss=cost_sensitive", "loss.value=monthly_charges"], "goes with loss=bce"),
        (["loss.pos_weight=balanced"], "goes with loss=bce"),
        (["seed=7"], "other test rows than this run"),
    ],
)
def test_what_does_not_suit_is_refused_before_anything_is_written(teacher, tmp_path, words, says):
    given = [*TABLE, f"teacher='{teacher}'"] if words[0].startswith("model=") else taught(teacher)
    with pytest.raises(ConfigError, match=says):
        train(compose([*given, *words]), folder=RunFolder(tmp_path / "run", latest=None))
    assert not (tmp_path / "run").exists()


def test_a_teacher_of_folds_has_learned_from_validation_rows(tmp_path):
    train(compose([*TABLE, "model=logistic", "cv=3"]), folder=RunFolder(tmp_path / "teacher", latest=None))
    with pytest.raises(ConfigError, match=r"other validation rows than this run.*without cv"):
        train(compose(taught(tmp_path / "teacher" / "bundle")), folder=RunFolder(tmp_path / "run", latest=None))


def test_a_bundle_away_from_its_run_cannot_say_whom_it_learned_from(teacher, tmp_path):
    (tmp_path / "bundle").symlink_to(teacher)
    with pytest.raises(ConfigError, match="must lie in the folder of its run"):
        train(compose(taught(tmp_path / "bundle")), folder=RunFolder(tmp_path / "run", latest=None))


def test_a_teacher_of_other_classes_is_refused(teacher, customers):
    schema = replace(customers.schema, classes=("no", "gone"))
    with pytest.raises(ConfigError, match=r"knows the classes .* and the table has no, gone"):
        taught_rows(compose(taught(teacher)), replace(customers, schema=schema))


def test_weights_of_training_rows_do_not_go_with_other_rows(teacher, customers):
    rows = taught_rows(compose(taught(teacher)), customers)
    with pytest.raises(ValueError, match="do not go with resample or learning_rows"):
        ChurnDataModule(customers, learning_rows=rows, row_weights=np.ones(len(rows), np.float32))


@pytest.mark.parametrize("word", ["teacher_share=0", "teacher_share=1.1", "teacher_copies=-1", "teacher_swap=1"])
def test_values_out_of_their_range_are_refused(word):
    with pytest.raises(ConfigError, match="teacher_"):
        compose([word])


def test_the_options_of_a_run_without_a_teacher_change_nothing(customers):
    config = compose(TABLE)
    assert asdict(config)["teacher"] is None
    assert taught_rows(config, customers) is None
