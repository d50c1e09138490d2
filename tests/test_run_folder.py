"""A run's folder appears late, is never overwritten, and is finished when metrics.json lies in it."""

from __future__ import annotations

import json
import math
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import yaml

from churnlib.compose import compose
from churnlib.errors import ConfigError
from churnlib.training import run_folder
from churnlib.training.run_folder import RunFolder, dated, write_json


@pytest.fixture(scope="module")
def config():
    return compose(["seed=3"])


def unfinished(path: Path, config) -> Path:
    """A run that was stopped: its last checkpoint."""
    RunFolder(path, latest=None).create(config)
    (path / "checkpoints").mkdir()
    (path / "checkpoints" / "last.ckpt").touch()
    return path / "checkpoints" / "last.ckpt"


def test_nothing_is_written_before_create(empty_folder):
    RunFolder("run")
    RunFolder()
    assert not list(empty_folder.iterdir())


def test_create_writes_the_configuration(empty_folder, config):
    path = RunFolder("a/run").create(config)
    assert path == Path("a/run")
    assert yaml.safe_load((path / "config.yaml").read_text(encoding="utf-8"))["seed"] == 3
    assert not (path / "metrics.json").exists()


def test_finish_writes_the_metrics_and_points_to_the_run(empty_folder, config):
    folder = RunFolder("run")
    folder.create(config)
    folder.finish({"test": {"roc_auc": np.float64(0.8), "n": np.int64(5), "log_loss": math.nan}})
    assert json.loads(Path("run/metrics.json").read_text(encoding="utf-8")) == {
        "test": {"roc_auc": 0.8, "n": 5, "log_loss": None}
    }
    assert Path("outputs/latest").resolve() == Path("run").resolve()
    assert {path.name for path in Path("run").iterdir()} == {"config.yaml", "metrics.json"}


def test_latest_moves_on_to_the_newest_finished_run_and_with_its_tree(empty_folder, config):
    paths = []
    for _ in range(2):
        folder = RunFolder()
        paths.append(folder.create(config))
        folder.finish({})
    RunFolder().create(config)  # never finished
    assert Path("outputs/latest").resolve() == paths[1].resolve()
    Path("outputs").rename("moved")
    assert Path("moved/latest/metrics.json").exists()


def test_a_run_ends_well_where_links_are_not_to_be_had(empty_folder, config):
    Path("outputs/latest").mkdir(parents=True)
    folder = RunFolder("run")
    folder.create(config)
    folder.finish({})
    assert Path("run/metrics.json").exists()
    assert [path.name for path in Path("outputs").iterdir()] == ["latest"]


def test_two_runs_of_the_same_second_get_two_folders(empty_folder, config, monkeypatch):
    monkeypatch.setattr(run_folder, "dated", lambda root=Path("outputs"): dated(root))
    first, second = RunFolder(), RunFolder()
    second.path = first.path  # both asked at the same time
    assert first.create(config) != second.create(config)


def test_a_dated_folder_says_when():
    before = datetime.now().replace(microsecond=0)
    root, day, time = dated().parts
    assert root == "outputs"
    assert before <= datetime.strptime(f"{day} {time}", "%Y-%m-%d %H-%M-%S") <= datetime.now()


@pytest.mark.parametrize("left", ["metrics.json", "config.yaml", "checkpoints"])
def test_a_folder_that_holds_a_run_is_refused(left, tmp_path):
    (tmp_path / left).mkdir()
    with pytest.raises(ConfigError, match="holds a run already"):
        RunFolder(tmp_path)


def test_a_folder_with_other_things_in_it_is_taken(tmp_path, config):
    (tmp_path / "notes.txt").touch()
    assert RunFolder(tmp_path, latest=None).create(config) == tmp_path


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(ConfigError, match="is a file; name a folder"):
        RunFolder(tmp_path / "run")


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path, config):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot write to the run folder"):
        RunFolder(tmp_path / "file" / "run").create(config)


def test_an_unfinished_run_is_refused_with_the_way_to_go_on(tmp_path, config):
    last = unfinished(tmp_path / "run", config)
    with pytest.raises(ConfigError, match=f"go on with ckpt_path={last}"):
        RunFolder(tmp_path / "run")


def test_a_run_goes_on_in_its_own_folder(tmp_path, config):
    last = unfinished(tmp_path / "run", config)
    for path in (None, tmp_path / "run", tmp_path / "x" / ".." / "run"):
        assert RunFolder(path, ckpt_path=last).path.resolve() == (tmp_path / "run").resolve()


def test_a_run_may_go_on_in_another_folder(tmp_path, config):
    last = unfinished(tmp_path / "run", config)
    assert RunFolder(tmp_path / "other", ckpt_path=last).path == tmp_path / "other"
    unfinished(tmp_path / "third", config)
    with pytest.raises(ConfigError, match="third holds an unfinished run"):
        RunFolder(tmp_path / "third", ckpt_path=last)


def test_a_finished_run_that_goes_on_is_unfinished_again(tmp_path, config):
    last = unfinished(tmp_path / "run", config)
    (tmp_path / "run" / "metrics.json").touch()
    RunFolder(ckpt_path=last).create(config)
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_a_checkpoint_must_exist():
    with pytest.raises(ConfigError, match=r"ckpt_path=no\.ckpt does not exist"):
        RunFolder(ckpt_path="no.ckpt")


def test_json_is_written_whole_or_not_at_all(tmp_path):
    write_json(tmp_path / "a.json", {"old": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"new": object()})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"old": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
