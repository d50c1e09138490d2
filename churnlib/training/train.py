"""One training run, from a table to a bundle: the recipe that reads straight down."""

from __future__ import annotations

import html
import shutil
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from churnlib.build import check_components
from churnlib.config import CostSensitiveConfig, TrainConfig, lifetime_options, loss_options
from churnlib.console import row_bars
from churnlib.data.cleaning import CLEANING
from churnlib.data.customers import Customers, prepare_customers
from churnlib.data.folds import check_folds
from churnlib.data.leaks import LeakReport, check_leaks
from churnlib.data.lifetimes import LifetimeSpec
from churnlib.data.preparation import Encoded
from churnlib.data.resampling import check_resampling
from churnlib.data.validation import BrokenRules
from churnlib.errors import ConfigError
from churnlib.evaluation.report.files import PAGE, read_document
from churnlib.models.baselines.baseline import Baseline
from churnlib.models.baselines.recipes import recipe_of
from churnlib.planning.levers import check_levers
from churnlib.predictor import Predictor
from churnlib.training import display
from churnlib.training.baselines import fit_baseline
from churnlib.training.cross_validation import design, fit_design
from churnlib.training.curves import CURVES, log_curve, overfitting, write_curves
from churnlib.training.fairness import compared_columns, fairness_of, write_fairness
from churnlib.training.fitted import Fit, Ready, Trained, held_out
from churnlib.training.goals import goal_of, goal_report
from churnlib.training.inference import measure_inference
from churnlib.training.money import values_of
from churnlib.training.origins import described, earlier_origins, summary, windows
from churnlib.training.packing import model_name, pack
from churnlib.training.past_run import PastRun
from churnlib.training.precision import check_accelerator
from churnlib.training.prior import settle_prior
from churnlib.training.provenance import PROVENANCE, provenance
from churnlib.training.report_parts import Asked
from churnlib.training.reporting import Report, judged_rows, report, report_of, summary_html
from churnlib.training.results import (
    SUBJECTS,
    baseline_metrics,
    limit_metrics,
    parts_metrics,
    write_held_out,
    write_predictions,
    write_subjects,
)
from churnlib.training.run_folder import LEAKS, RunFolder, write_json
from churnlib.training.stacking import check_stack, fit_stack, is_stack, parts_of
from churnlib.training.survival import check_task, curve_of, kaplan_meier_metrics
from churnlib.training.tables import Progress, load_table, table_spec
from churnlib.training.teaching import check_teacher, teacher_facts
from churnlib.training.unlabelled import pretraining_rows
from churnlib.training.weights import row_weights

SEQUENCE_NETWORKS = "churnlib.models.sequence."


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a run leaves behind.

    Attributes:
        metrics: The contents of ``metrics.json``.
        folder: The run's folder.
    """

    metrics: dict[str, Any]
    folder: Path

    def report(self, out: str | Path | None = None) -> Report:
        """Return the report of the run; its page is written where it is not there yet, or to another file."""
        return report(self.folder, out=out)

    def _repr_html_(self) -> str:
        found = read_document(self.folder)
        if found is None:
            return (
                f"<p>{html.escape(str(self.metrics['model']))}: {html.escape(str(self.folder))}, without a report</p>"
            )
        return summary_html(found["verdict"], found["run"], self.folder / PAGE)

    @property
    def goal(self) -> dict[str, Any] | None:
        """How the goal stands, see :func:`churnlib.evaluation.ceiling.goal.judge`; None without a goal."""
        return self.metrics["goal"]


def train(
    config: TrainConfig, *, folder: RunFolder, console: Console | None = None, ready: Ready | None = None
) -> TrainResult:
    """Train, calibrate, evaluate and pack one model.

    Args:
        config: Every option of the run.
        folder: Where to write; created only after the table was read and found fit to train on.
        console: Where to print; nothing is printed when None.
        ready: What was read and trained beforehand, together with other runs.

    Raises:
        ChurnlibError: If an option or the table is wrong; the folder is then not created, but for a table that breaks
            its rules too often: then it holds the report and the rows.
    """
    console = console or Console(quiet=True)
    check_accelerator(config.trainer.accelerator)
    check_components(config)
    goal = goal_of(config.goal)
    if is_stack(config.model):
        check_stack(config)
    started = time.perf_counter() - (0.0 if ready is None else ready.seconds)
    try:
        with row_bars(console) as progress:
            customers = read_customers(config, progress=progress) if ready is None else ready.customers
    except BrokenRules as error:
        raise quarantine(error, folder, console) from error
    _check(config, customers)
    unlabelled = pretraining_rows(config, customers)
    display.show_customers(console, customers, name=config.data.name, n_folds=config.cv)
    display.show_resampling(console, customers, asdict(config.resample))
    leaks = look_for_leaks(config, customers, console)
    splits = windows(config, customers) if config.split.origins > 1 else []
    path = folder.create(config)
    _write_table_files(customers, leaks, path)

    earlier = earlier_origins(config, customers, splits, path)
    if ready is None:
        trained = fit_model(config, customers, path, unlabelled=unlabelled)
    else:
        trained = Trained(ready.fit, customers, held_out(ready.fit.model, customers))
        log_curve(ready.fit.curve, config.logger, path)
    # Only a run that goes on finds a bundle here: its own, of fewer epochs.
    shutil.rmtree(path / "bundle", ignore_errors=True)
    predictor = pack(config, trained, path / "bundle", console)

    metrics: dict[str, Any] = {**predictor.metrics, **_comparisons(config, customers, trained, predictor)}
    if splits:
        metrics["origins"] = summary([*earlier, described(customers, metrics["test"])])
    metrics["goal"] = goal_report(goal, trained, predictor, money=config.money, test=metrics["test"], leaks=leaks)
    metrics |= {
        **_course(trained),
        "total_seconds": time.perf_counter() - started,
        "together": 1 if ready is None else ready.together,
        "leaks": None if leaks is None else leaks.columns,
        "inference": measure_inference(predictor, customers, path / "bundle"),
        "model": model_name(config.model),
        "teacher": teacher_facts(config),
        "seed": config.seed,
    }
    write_curves(trained.fit.curve, path / CURVES)
    _write_answers(config, customers, trained, predictor, path)
    fairness = fairness_of(config, trained, predictor)
    if fairness is not None:
        write_fairness(fairness, path)
    if config.report:
        write_run_report(config, trained.customers, predictor, metrics, path, console)
    folder.finish(metrics)
    display.show_result(console, metrics, path, classes=customers.schema.classes, fairness=fairness)
    return TrainResult(metrics, path)


def _check(config: TrainConfig, customers: Customers) -> None:
    """Refuse what does not go with the table, before anything is fitted."""
    check_options(config, customers, recipe_of(config.model))
    check_task(config, customers)
    values_of(config.money, customers)
    compared_columns(config, customers)
    check_offers(config, customers)
    check_histories(config, customers)
    check_teacher(config, customers, network=recipe_of(config.model) is None and not is_stack(config.model))


def _write_table_files(customers: Customers, leaks: LeakReport | None, path: Path) -> None:
    """Write where the table came from, and what was found in it."""
    write_json(path / PROVENANCE, provenance(customers))
    write_json(path / CLEANING, customers.report.to_dict())
    if customers.validated is not None:
        customers.validated.write(path)
    if leaks is not None:
        write_json(path / LEAKS, leaks.to_dict())


def _comparisons(config: TrainConfig, customers: Customers, trained: Trained, predictor: Predictor) -> dict[str, Any]:
    """Return what the figures of the run are to be seen beside: a simple model, the limit, the members alone."""
    if customers.lifetimes is not None:
        found: dict[str, Any] = {"baseline": {"kaplan_meier": kaplan_meier_metrics(predictor.metrics["test"])}}
    else:
        simple = baseline_metrics(customers, config.threshold, config.calibration, config.money)
        found = {"baseline": {"logistic_regression": simple}}
        if customers.truth is not None:
            found["limit"] = limit_metrics(customers)
    if trained.parts:
        found["members"] = parts_metrics(trained, predictor)
    return found


def _course(trained: Trained) -> dict[str, Any]:
    """Return how the fitting went."""
    fit = trained.fit
    judged = overfitting(fit.curve)
    return {
        "fit_seconds": fit.seconds,
        "epochs": fit.epochs,
        "overfitting": None if judged is None else asdict(judged),
        "rows_per_second": fit.rows_per_second,
        "compilation": fit.compilation,
    }


def _write_answers(
    config: TrainConfig, customers: Customers, trained: Trained, predictor: Predictor, path: Path
) -> None:
    """Write what the model says of the rows it did not learn from, and where its customers stood."""
    if config.data.pseudonymise.named:
        write_subjects(customers, path / SUBJECTS)
    write_held_out(trained, predictor, path / "held_out.parquet")
    write_predictions(customers, predictor, path / "predictions.parquet")


def write_run_report(
    config: TrainConfig,
    customers: Customers,
    predictor: Predictor,
    metrics: Mapping[str, Any],
    path: Path,
    console: Console,
) -> None:
    """Write the report, or say why there is none: whatever is wrong with it, the model is worth keeping."""
    money, options = config.money, asdict(config)
    try:
        with console.status("writing the report"):
            table = config.data.name
            judged = judged_rows(customers, predictor, metrics, path, money=money, table=table, config=options)
            report_of(judged, path, asked_of(config))
    except Exception as error:
        traceback.print_exc()
        console.print(
            f"[yellow]•[/] The report could not be made ({escape(str(error))}); "
            f"churnlib report run={escape(str(path))} tries again",
            soft_wrap=True,
        )


def asked_of(config: TrainConfig) -> Asked:
    """Return what the report of a run is to hold."""
    options = config.reporting
    return Asked(config.money, config.levers, options.explained, budget=options.budget, capacity=options.capacity)


def fit_model(config: TrainConfig, customers: Customers, path: Path, *, unlabelled: Encoded | None = None) -> Trained:
    """Fit the configured model, or as many as the options ask for.

    Args:
        config: Every option of the run.
        customers: The rows.
        path: Folder of checkpoints and logs, where the options want them.
        unlabelled: Rows to pretrain a single network on, as `pretraining_rows` returns them.
    """
    if is_stack(config.model):
        return fit_stack(config, customers, path)
    if config.cv is not None or config.ensemble > 1:
        return fit_design(config, design(config, customers), path, name=model_name(config.model))
    fit = fit_one(config, customers, path, unlabelled=unlabelled)
    return Trained(fit, customers, held_out(fit.model, customers))


def fit_one(config: TrainConfig, customers: Customers, path: Path, *, unlabelled: Encoded | None = None) -> Fit:
    """Fit a single model; see :func:`fit_model`."""
    recipe = recipe_of(config.model)
    if recipe is not None:
        return settle_prior(config, fit_baseline(recipe, config, customers), customers)
    # Imported here, so that a wrong table is refused, and a baseline fitted, without waiting for Lightning.
    from churnlib.training.fitting import fit
    from churnlib.training.many import data_module

    data = data_module(config, customers)
    return settle_prior(config, fit(config, data, path, unlabelled=unlabelled), customers)


def read_customers(config: TrainConfig | PastRun, *, progress: Progress | None = None) -> Customers:
    """Read and prepare the configured table.

    Args:
        config: Of the run, or what is known of a past one.
        progress: Of event tables.

    Raises:
        ChurnlibError: If the table cannot be learned from, or an option about it is wrong.
    """
    lifetimes = lifetime_options(config.task)
    spec = replace(table_spec(config.data), lifetimes=None if lifetimes is None else LifetimeSpec(**lifetimes))
    table = load_table(config.data, seed=config.seed, max_steps=config.preprocess.max_steps, progress=progress)
    customers = prepare_customers(
        table.frame,
        spec,
        split=asdict(config.split),
        preprocess=asdict(config.preprocess),
        seed=config.seed,
        truth=table.truth,
    )
    said = (*table.said, *customers.report.steps)
    return replace(customers, report=replace(customers.report, steps=said), sources=table.sources)


def quarantine(error: BrokenRules, folder: RunFolder, console: Console) -> BrokenRules:
    """Write and print what was found in a table that breaks its rules too often; return the error that says where."""
    console.print(error.validated.report.render())
    path = folder.make()
    error.validated.write(path)
    return BrokenRules(error.validated, where=path)


def look_for_leaks(config: TrainConfig, customers: Customers, console: Console) -> LeakReport | None:
    """Check the table for leaks and print what was found; None if the options do not want it.

    Raises:
        DataError: If there are some, and the options want none.
    """
    if config.leaks.action == "off":
        return None
    report = check_leaks(customers, names=config.leaks.names, allow=config.leaks.allow, seed=config.seed)
    display.show_leaks(console, report)
    if config.leaks.action == "error":
        report.refuse()
    return report


def check_options(config: TrainConfig, customers: Customers, recipe: Baseline | None = None) -> None:
    """Refuse options that only the table shows to be impossible, before anything is written.

    Args:
        config: The run's options.
        customers: The rows.
        recipe: Of a baseline; None for a network.

    Raises:
        ConfigError: With the option and the remedy.
    """
    if config.ckpt_path is not None and (config.cv is not None or config.ensemble > 1 or is_stack(config.model)):
        raise ConfigError(f"ckpt_path={config.ckpt_path}: only a run of a single network goes on; leave the option out")
    if config.ckpt_path is not None and config.split.origins > 1:
        raise ConfigError(f"ckpt_path={config.ckpt_path}: a run goes on with its newest window; add split.origins=1")
    if config.cv is not None:
        check_folds(customers, config.cv, config.cv_repeats)
    if recipe is not None and config.ckpt_path is not None:
        raise ConfigError(f"ckpt_path={config.ckpt_path}: this model is fitted in one go; leave the option out")
    if recipe is not None and config.loss.name != "bce":
        raise ConfigError(f"loss={config.loss.name} is for networks; this model takes loss=bce, with loss.pos_weight")
    _check_resampling(config, customers, recipe)
    from churnlib.models.losses import loss_spec, training_loss

    try:
        training_loss(loss_spec(loss_options(config.loss)), customers.class_counts("train"))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"loss={config.loss.name}: {error}") from error
    row_weights(config.loss, customers)


def _check_resampling(config: TrainConfig, customers: Customers, recipe: Baseline | None) -> None:
    name = config.resample.name
    if name == "none":
        return
    if isinstance(config.loss, CostSensitiveConfig):
        raise ConfigError(f"resample={name} changes who is learned from, and loss=cost_sensitive how much; choose one")
    models = [recipe] if not is_stack(config.model) else [recipe_of(part.model) for part in parts_of(config).values()]
    if name == "weighted" and any(model is not None for model in models):
        raise ConfigError(
            "resample=weighted draws batches anew in each epoch, and this model is fitted in one go; take "
            "resample=random_over, or loss.pos_weight=balanced"
        )
    check_resampling(customers, asdict(config.resample))


def check_offers(config: TrainConfig, customers: Customers) -> None:
    """Refuse levers that no model of this table could plan with.

    Raises:
        ConfigError: With the lever and the remedy.
    """
    if not config.levers.offers:
        return
    from churnlib.bundle import Bundle
    from churnlib.models.baselines.linear import LogisticRegression

    hazards = None if customers.lifetimes is None else curve_of(customers.lifetimes, config.money)
    unfitted = Bundle(customers.schema, customers.preparation, LogisticRegression())  # pyright: ignore[reportArgumentType]
    check_levers(config.levers, Predictor(unfitted if hazards is None else replace(unfitted, calibration=hazards)))


def check_histories(config: TrainConfig, customers: Customers) -> None:
    """Refuse a network that reads histories for a table without them.

    Raises:
        ConfigError: With the remedy.
    """
    reads_histories = any(target.startswith(SEQUENCE_NETWORKS) for target in _targets(config.model))
    if reads_histories and not customers.preparation.histories:
        raise ConfigError(
            "model=gru, lstm and cnn read histories, and this table has no column of them; give it a column of lists "
            "of numbers or data.history.path=FILE, or choose another model"
        )


def _targets(spec: Any) -> Iterator[str]:
    """Yield the classes that a configuration names, those inside (a trunk with members) included."""
    if isinstance(spec, Mapping):
        if "_target_" in spec:
            yield spec["_target_"]
        for value in spec.values():
            yield from _targets(value)
