"""Bundles with ``model.onnx``: written, read, answered with and without torch, and written for other programs."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made import made_bundle, made_customers, made_prepared
from rich.console import Console
from torch import nn

import churnlib
from churnlib.bundle import Bundle, read_bundle, write_bundle
from churnlib.commands.export import main
from churnlib.compose import compose
from churnlib.errors import BundleError, ConfigError, MissingPackageError
from churnlib.exporting.formats import FORMATS
from churnlib.exporting.onnx import exported
from churnlib.models.network_model import NetworkModel
from churnlib.models.onnx.graph import CannotExport
from churnlib.predictor import Predictor
from churnlib.serving.answering.metadata import describe
from churnlib.training import packing
from churnlib.training.inference import measure_inference
from churnlib.training.train import fit_model

ROOT = Path(__file__).resolve().parents[1]
WITHOUT_TORCH = """
import json, sys
import churnlib, churnlib.scoring
predictor = churnlib.load(sys.argv[1], backend="onnx")
found = predictor.predict(json.loads(sys.argv[2]))["churn_probability"].to_list()
print(json.dumps([found, predictor.replay_golden(), sorted({"torch", "onnx", "sklearn"} & set(sys.modules))]))
"""


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    made = packing.complete(Predictor(made_bundle()), {})
    return replace(made, onnx=exported(made))


@pytest.fixture
def folder(bundle, tmp_path) -> Path:
    write_bundle(bundle, tmp_path / "bundle")
    return tmp_path / "bundle"


def test_onnx_runtime_answers_as_torch_does(folder):
    table = made_customers(200)
    own, other, chosen = (churnlib.load(folder, backend=name) for name in ("torch", "onnx", "auto"))
    assert [one.backend for one in (own, other, chosen)] == ["torch", "onnx", "onnx"]
    assert np.abs(own.probabilities(table) - other.probabilities(table)).max() <= 1e-6
    assert other.version == own.version
    assert other.flops == chosen.flops > 1_000 and own.flops is None
    assert describe(other)["flops"] == other.flops  # GET /metadata
    assert isinstance(other.model, NetworkModel)


def test_a_row_alone_has_the_same_bits(folder):
    table, predictor = made_customers(40), churnlib.load(folder, backend="onnx")
    alone = [predictor.probabilities(table[row])[0] for row in range(len(table))]
    assert alone == predictor.probabilities(table).tolist()


def test_nothing_imports_torch_where_onnx_runtime_answers(folder):
    rows = [{**row, "joined": row["joined"].isoformat()} for row in made_customers(5).drop("churn").to_dicts()]
    words = [sys.executable, "-c", WITHOUT_TORCH, str(folder), json.dumps(rows)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=True)
    found, difference, imported = json.loads(done.stdout)
    expected = churnlib.load(folder, backend="torch").predict(rows)["churn_probability"].to_list()
    assert found == pytest.approx(expected, abs=1e-6)
    assert difference <= 1e-6
    assert imported == []


def test_a_changed_file_is_refused_whatever_answers(folder):
    content = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    for backend in ("torch", "onnx", "auto"):
        with pytest.raises(BundleError, match=r"model\.onnx is damaged"):
            churnlib.load(folder, backend=backend)


def test_a_file_with_a_right_checksum_and_wrong_content_is_refused(bundle, tmp_path):
    write_bundle(replace(bundle, onnx=b"no graph"), tmp_path / "bundle")
    with pytest.raises(BundleError, match=r"ONNX Runtime cannot read model\.onnx"):
        churnlib.load(tmp_path / "bundle", backend="onnx")
    assert churnlib.load(tmp_path / "bundle", backend="torch").replay_golden() < 1e-6


def test_a_bundle_without_the_file_is_read_as_before(bundle, tmp_path):
    write_bundle(replace(bundle, onnx=None), tmp_path / "bundle")
    assert not (tmp_path / "bundle" / "model.onnx").exists()
    assert churnlib.load(tmp_path / "bundle").backend == "torch"
    with pytest.raises(BundleError, match=r"has no model\.onnx; use backend=torch"):
        churnlib.load(tmp_path / "bundle", backend="onnx")


def test_an_unknown_backend_and_an_absent_one_are_refused(folder, monkeypatch):
    with pytest.raises(ConfigError, match="backend"):
        churnlib.load(folder, backend="tensorrt")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'churnlib\[onnx\]'"):
        churnlib.load(folder, backend="onnx")


class Fourier(nn.Module):
    """A network of a user's own with an operator that ONNX has no word for here."""

    def __init__(self, in_features: int, out_features: int = 1) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, out_features)

    def forward(self, x):
        import torch

        return self.linear(torch.fft.fft(x).real)


def test_a_model_without_such_a_form_is_packed_without_it_unless_it_is_required(bundle):
    from churnlib.models.network import build_network

    spec, inputs = {"_target_": f"{__name__}.Fourier"}, bundle.preparation.input_spec()
    own = replace(bundle, model=NetworkModel(build_network(spec, inputs), spec, inputs), onnx=None, golden=())
    console = Console(record=True, width=200, quiet=False, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    assert packing.with_onnx(own, required=False, console=console).onnx is None
    console.file.close()
    assert "The bundle holds no model.onnx: PyTorch's fft_fft has no form in ONNX here" in console.export_text()
    with pytest.raises(ConfigError, match=r"bundle\.onnx=true: PyTorch's fft_fft"):
        packing.with_onnx(own, required=True, console=Console(quiet=True))


def test_a_graph_that_answers_otherwise_is_not_packed(bundle, monkeypatch):
    from churnlib.exporting import onnx as module

    monkeypatch.setattr(module, "difference", lambda *_: 1e-3)
    found = packing.with_onnx(replace(bundle, onnx=None), required=False, console=Console(quiet=True))
    assert found.onnx is None


# --- for other programs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_export_writes_what_answers_alike_and_leaves_the_bundle_alone(name, folder, tmp_path, capsys):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    output = tmp_path / "out" / ("repository" if name == "triton" else "model.pt2")
    assert main([f"bundle={folder}", f"output={output}", f"format={name}"]) == 0
    said = capsys.readouterr()
    assert "16 golden rows: probabilities differ by up to" in said.out
    assert ("deprecated TorchScript" in said.err) == (name == "torchscript")
    assert [path.name for path in output.parent.iterdir()] == [output.name]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    if name == "onnx":
        assert output.read_bytes() == before["model.onnx"]
    if name == "torch_export":
        takes_any_number_of_rows(output, read_bundle(folder))


def test_a_model_without_products_is_not_said_to_be_quantised(bundle, tmp_path):
    config = compose(["model=hist_gradient_boosting", "model.n_estimators=5"])
    trees = fit_model(config, made_prepared(), tmp_path).fit.model
    with pytest.raises(CannotExport, match="no products of matrices"):
        FORMATS["onnx_int8"](replace(bundle, model=trees, onnx=None), tmp_path / "model.onnx")


def takes_any_number_of_rows(pt2: Path, bundle: Bundle) -> None:
    import torch

    from churnlib.exporting.onnx import golden_rows

    rows = golden_rows(bundle)
    program = torch.export.load(pt2).module()
    for n in (1, 3, 16):
        found = program(torch.from_numpy(rows.numeric[:n]), torch.from_numpy(rows.codes[:n]))
        assert found.numpy() == pytest.approx(bundle.model.logits(rows.numeric[:n], rows.codes[:n]), abs=1e-5)


def test_a_triton_repository_says_what_the_graph_reads(folder, tmp_path):
    import onnx

    assert main([f"bundle={folder}", f"output={tmp_path / 'models'}", "format=triton"]) == 0
    bundle = read_bundle(folder)
    model = tmp_path / "models" / bundle.name
    graph = onnx.load(str(model / "1" / "model.onnx")).graph
    config = (model / "config.pbtxt").read_text()
    for value in graph.input:
        columns = value.type.tensor_type.shape.dim[1].dim_value
        assert f'name: "{value.name}"' in config
        assert f"dims: [ {columns} ]" in config


@pytest.mark.parametrize(
    ("output", "name", "why"),
    [("bundle/model.pt2", "onnx", "lies in the bundle"), (".", "onnx", "is a folder"), ("x", "coreml", "format")],
)
def test_export_refuses_with_a_sentence(output, name, why, folder, capsys):
    assert main([f"bundle={folder}", f"output={folder.parent / output}", f"format={name}"]) == 1
    assert why in capsys.readouterr().err
    assert [path.name for path in folder.parent.iterdir()] == ["bundle"]


def test_answers_are_timed_with_what_will_answer(folder, monkeypatch):
    customers = made_prepared(60)
    by_torch = Predictor(read_bundle(folder, backend="torch"))
    monkeypatch.setattr("churnlib.models.network_model.NetworkModel.logits", lambda *_: pytest.fail("torch was asked"))
    assert measure_inference(by_torch, customers, folder)["backend"] == "onnx"
    monkeypatch.undo()
    without = Predictor(replace(by_torch.bundle, onnx=None))
    assert measure_inference(without, customers, folder)["backend"] == "torch"


@pytest.mark.parametrize(("n_classes", "hazards"), [(2, False), (3, False), (4, True)])
def test_networks_that_answer_together_are_one_network_to_pytorch(n_classes, hazards):
    """Beside the ensemble's own arithmetic, each member with columns and codes of its own."""
    import torch
    from torch import nn

    from churnlib.exporting.together import as_network
    from churnlib.models.ensemble import Ensemble, Member
    from churnlib.models.network_model import NetworkModel

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 1 if n_classes == 2 else n_classes)

        def forward(self, numeric, codes):
            found = self.linear(torch.cat([numeric, codes.float()], dim=1))
            return found.squeeze(1) if n_classes == 2 else found

    torch.manual_seed(0)
    own: list[dict] = [
        {"numeric": (2, 0), "codes": ((0, 1, 5, 1),)},
        {"numeric": (1, 2), "categorical": (1,), "codes": ((3, 0, 2, 1),)},
        {"numeric": (0, 1), "categorical": (0,)},
    ]
    members = [Member(NetworkModel(Net(), {}, {}), **reads) for reads in own]  # type: ignore[arg-type]
    members[0] = replace(members[0], categorical=(1,))
    groups = (tuple(members),) if hazards else (tuple(members[:2]), (members[2],))
    weights = (1.0,) if hazards else (0.7, 0.3)
    shift = (0.0,) if hazards else (0.5,) if n_classes == 2 else (0.5, 0.0, -0.5)
    ensemble = Ensemble(groups, weights, shift, hazards)
    rng = np.random.default_rng(0)
    numeric, codes = rng.normal(size=(5, 3)).astype(np.float32), rng.integers(0, 4, (5, 2))
    network = as_network(ensemble)
    assert network is not None
    found = network(torch.from_numpy(numeric), torch.from_numpy(codes)).detach().numpy()
    np.testing.assert_allclose(found, ensemble.logits(numeric, codes), rtol=1e-6, atol=1e-6)
    rows = {0: torch.export.Dim("batch", min=1)}
    inputs = torch.from_numpy(numeric), torch.from_numpy(codes)
    program = torch.export.export(network, inputs, dynamic_shapes=(rows, rows), strict=False).module()
    np.testing.assert_allclose(program(*(one[:1] for one in inputs)).detach().numpy(), found[:1], rtol=1e-6)
