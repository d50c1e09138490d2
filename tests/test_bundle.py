import json
import os
import stat
from dataclasses import replace

import numpy as np
import pytest
import torch
from made import made_bundle, made_customers, made_prepared

from churnlib.bundle import read_bundle, write_bundle
from churnlib.calibration import Beta, Isotonic, Platt
from churnlib.errors import BundleError
from churnlib.models.baselines.linear import LogisticRegression
from churnlib.models.ensemble import Ensemble, Member
from churnlib.predictor import Predictor, load
from churnlib.training.baselines import rows_of, task_of


@pytest.fixture
def written(tmp_path):
    bundle = write_bundle(made_bundle(), tmp_path / "bundle")
    return bundle, tmp_path / "bundle"


def test_a_bundle_comes_back_as_it_was_written(written):
    bundle, path = written
    again = read_bundle(path)
    assert again.schema == bundle.schema
    assert again.preparation.to_dict() == bundle.preparation.to_dict()
    assert (again.calibration.to_dict()["temperature"], again.threshold, again.name, again.version) == (
        1.25,
        0.4,
        "tabnet",
        bundle.version,
    )
    for (name, tensor), expected in zip(
        again.model.network.state_dict().items(), bundle.model.network.state_dict().values(), strict=True
    ):
        assert torch.equal(tensor, expected), name
    table = made_customers(50)
    np.testing.assert_array_equal(Predictor(again).probabilities(table), Predictor(bundle).probabilities(table))
    assert load(path).replay_golden() == 0.0


def test_it_holds_json_and_safetensors_that_anyone_may_read(written):
    _, path = written
    names = sorted(p.name for p in path.iterdir())
    assert names == [
        "background.json", "bundle.json", "decision.json", "golden.json", "metrics.json", "network.json",
        "preparation.json", "profile.json", "schema.json", "weights.safetensors",
    ]  # fmt: skip
    umask = os.umask(0)
    os.umask(umask)
    for p in path.iterdir():
        assert stat.S_IMODE(p.stat().st_mode) == 0o666 & ~umask, p.name


def test_no_customer_is_in_it(written):
    """Golden and background rows are made up; ids stay with the table."""
    _, path = written
    for p in path.glob("*.json"):
        assert "C000" not in p.read_text(), p.name
    rows = [golden["row"] for golden in json.loads((path / "golden.json").read_text())]
    assert all("customer" not in row and "churn" not in row for row in rows)


def test_the_same_model_has_the_same_version_and_another_has_another(tmp_path):
    versions = [write_bundle(made_bundle(seed=seed), tmp_path / str(i)).version for i, seed in enumerate((0, 0, 1))]
    assert versions[0] == versions[1] != versions[2]


def test_it_is_never_overwritten(written):
    bundle, path = written
    before = sorted((p.name, p.stat().st_mtime_ns) for p in path.iterdir())
    with pytest.raises(BundleError, match="exists already"):
        write_bundle(bundle, path)
    assert sorted((p.name, p.stat().st_mtime_ns) for p in path.iterdir()) == before


def test_a_failed_write_leaves_nothing_behind(tmp_path):
    bundle = made_bundle()
    object.__setattr__(bundle, "metrics", {"roc_auc": float("nan")})
    with pytest.raises(ValueError, match="JSON"):
        write_bundle(bundle, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["schema.json", "preparation.json", "network.json", "weights.safetensors", "golden.json"]
)
@pytest.mark.parametrize("harm", ["missing", "cut", "flipped"])
def test_damage_is_found_before_anything_is_used(written, name, harm):
    _, path = written
    content = bytearray((path / name).read_bytes())
    if harm == "missing":
        (path / name).unlink()
    else:
        content = content[:-1] if harm == "cut" else content[:10] + bytes([content[10] ^ 1]) + content[11:]
        (path / name).write_bytes(content)
    with pytest.raises(BundleError, match=name):
        read_bundle(path)


def rewrite(path, name, change):
    """Change a JSON file as somebody would who also mends the checksum."""
    import hashlib

    content = json.loads((path / name).read_text())
    change(content)
    raw = json.dumps(content).encode()
    (path / name).write_bytes(raw)
    if name != "bundle.json":
        fingerprint = {"bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
        rewrite(path, "bundle.json", lambda manifest: manifest["files"].__setitem__(name, fingerprint))


def test_a_bundle_of_the_first_format_gives_its_answers(written):
    """Format 1 had networks alone, and knew no histories: neither file said anything of sequences."""
    bundle, path = written
    rewrite(path, "preparation.json", lambda content: content.pop("histories"))
    rewrite(path, "network.json", lambda content: content["input"].pop("sequences"))
    rewrite(path, "bundle.json", lambda manifest: manifest.__setitem__("format_version", 1))
    old = load(path)
    assert old.replay_golden() == 0.0
    table = made_customers(50)
    np.testing.assert_array_equal(old.probabilities(table), Predictor(bundle).probabilities(table))


BEFORE_STEPS = ("chain", "seen", "branches")
"""What format 4 brought into ``preparation.json``."""


def without(*keys):
    def change(content):
        for key in keys:
            content.pop(key, None)

    return change


def test_a_bundle_of_the_second_format_gives_its_answers(tmp_path):
    """Format 2 had baselines, and no steps: a linear model's values and its preparation's stand as they did then."""
    customers = made_prepared()
    task = task_of(customers, class_weights=[1.0, 1.0])
    model = LogisticRegression().fit(rows_of(customers, "train"), rows_of(customers, "validation"), task)
    made = made_bundle(customers)
    bundle = replace(made, model=model, name="logistic", golden=())
    write_bundle(bundle, tmp_path / "bundle")
    as_written_then(tmp_path / "bundle", 2)
    expected = Predictor(bundle).probabilities(made_customers(50))
    np.testing.assert_array_equal(load(tmp_path / "bundle").probabilities(made_customers(50)), expected)


def test_a_bundle_of_the_third_format_gives_its_answers(tmp_path):
    """Format 3 had ensembles, whose members read all categorical inputs and did not say so."""
    made = made_bundle()
    ensemble = Ensemble(((Member(made.model), Member(made_bundle(seed=1).model)),), weights=(0.8,), shift=(0.1,))
    bundle = replace(made, model=ensemble, name="ensemble", golden=())
    write_bundle(bundle, tmp_path / "bundle")
    as_written_then(tmp_path / "bundle", 3)
    rewrite(
        tmp_path / "bundle",
        "ensemble.json",
        lambda content: [member.pop("categorical") for member in content["members"]],
    )
    expected = Predictor(bundle).probabilities(made_customers(50))
    np.testing.assert_array_equal(load(tmp_path / "bundle").probabilities(made_customers(50)), expected)


def as_written_then(path, version):
    as_decided_before_format_5(path)
    rewrite(path, "preparation.json", without(*BEFORE_STEPS))
    rewrite(path, "schema.json", without("events", "rules", "about"))
    rewrite(path, "bundle.json", lambda manifest: manifest.__setitem__("format_version", version))


def as_decided_before_format_5(path):
    """A temperature was the only calibration."""
    rewrite(path, "decision.json", lambda content: content.update(content.pop("calibration")))
    rewrite(path, "decision.json", lambda content: content.pop("method"))


def test_a_bundle_of_format_4_holds_a_temperature(written):
    bundle, path = written
    as_decided_before_format_5(path)
    rewrite(path, "bundle.json", lambda manifest: manifest.__setitem__("format_version", 4))
    assert json.loads((path / "decision.json").read_text()) == {"threshold": 0.4, "temperature": 1.25}
    old = load(path)
    assert old.bundle.calibration == bundle.calibration and old.replay_golden() == 0.0


@pytest.mark.parametrize(
    "calibration",
    [Platt(0.7, (-0.4,)), Beta(1.3, 0.6, 0.2), Isotonic((-2.0, 0.0, 1.5), (0.05, 0.2, 0.9))],
    ids=lambda one: one.method,
)
def test_every_calibration_is_kept_and_applied(written, tmp_path, calibration):
    bundle, _ = written
    own = replace(bundle, calibration=calibration, golden=())
    write_bundle(own, tmp_path / calibration.method)
    again = load(tmp_path / calibration.method)
    assert again.bundle.calibration == calibration
    table = made_customers(40)
    expected = calibration.probabilities(again.logits(again.read(table).typed))
    np.testing.assert_array_equal(again.probabilities(table), expected)


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("bundle.json", lambda c: c.__setitem__("format_version", 99), "has format 99"),
        ("bundle.json", lambda c: c.__setitem__("format", "something"), "not the manifest"),
        ("bundle.json", lambda c: c.pop("files"), "lacks schema.json"),
        ("network.json", lambda c: c["network"].__setitem__("_target_", "os.system"), "not part of churnlib"),
        ("network.json", lambda c: c["network"].__setitem__("n_steps", 9), "cannot be used"),
        ("network.json", lambda c: c["input"].__setitem__("fill", [0.0]), "cannot be used"),
        ("network.json", lambda c: c.clear(), "cannot be used"),
        ("schema.json", lambda c: c.pop("columns"), "schema cannot be read"),
        ("preparation.json", lambda c: c.pop("numeric"), "preparation cannot be read"),
        ("decision.json", lambda c: c.pop("calibration"), "cannot be used"),
    ],
)
def test_a_forged_bundle_is_refused_in_one_sentence(written, name, change, says):
    _, path = written
    rewrite(path, name, change)
    with pytest.raises(BundleError, match=says) as refusal:
        read_bundle(path)
    assert "\n" not in str(refusal.value).strip() or name == "network.json"


@pytest.mark.parametrize("what", ["nothing", "empty", "file"])
def test_what_is_no_bundle_is_refused_with_the_place_to_look(tmp_path, what):
    path = tmp_path / "bundle"
    if what == "empty":
        path.mkdir()
    elif what == "file":
        path.write_text("x")
    with pytest.raises(BundleError, match="outputs/latest/bundle"):
        load(path)


def test_a_changed_answer_is_noticed_by_the_golden_rows(written):
    _, path = written
    predictor = load(path)
    predictor.bundle.golden[0]["probability"] += 0.01
    with pytest.raises(BundleError, match="golden rows differently"):
        predictor.replay_golden()


def test_several_classes_travel_too(tmp_path):
    rng = np.random.default_rng(0)
    import polars as pl

    from churnlib.data.customers import prepare_customers

    frame = made_customers(300).with_columns(churn=pl.Series(rng.choice(["a", "b", "c"], 300)))
    customers = prepare_customers(frame, target="churn", id="customer")
    write_bundle(made_bundle(customers), tmp_path / "bundle")
    answers = load(tmp_path / "bundle").predict(frame)
    assert answers.columns == ["customer_id", "probability_a", "probability_b", "probability_c", "prediction"]
    total = answers.select(pl.sum_horizontal("probability_a", "probability_b", "probability_c")).to_series()
    np.testing.assert_allclose(total, 1)
    assert made_prepared(50).schema.classes == ("no", "yes")
