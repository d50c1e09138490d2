"""What an examination comes to, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from churnlib.diagnosis.sufficiency import ENOUGH_EVENTS, FEW_EVENTS

if TYPE_CHECKING:
    from churnlib.diagnosis.result import Diagnosis

GOOD, NOTE, LOOK, ALARM = "good", "note", "look", "alarm"
WORTH_IT = 0.01
"""Gain in F1 that is worth a sentence."""
FEW_POSITIVES = 200
WIDE = 0.1
"""Width of the interval of a test set from which on one split says little."""


def verdicts(one: Diagnosis) -> list[dict[str, str]]:
    """Return ``level`` (good, note, look, alarm) and ``text`` of each sentence, in the order to be read."""
    parts = (_flags, _ceiling, _rows, _columns, _model, _goal)
    return [{"level": level, "text": text} for part in parts for level, text in part(one)]


Told = Iterator[tuple[str, str]]


def _flags(one: Diagnosis) -> Told:
    for flag in one.flags:
        yield (ALARM, f"Too good to be true: {flag['said']}") if flag["level"] == ALARM else (LOOK, flag["said"])
    if not any(flag["level"] == ALARM for flag in one.flags):
        yield GOOD, "No leak, no resampled row and no row on two sides makes the figures below too good."
    elif one.as_it_stands is not None:
        yield (
            NOTE,
            (
                "What follows is about the table without what was flagged; with it, the baselines would show an F1 of "
                f"{one.as_it_stands['f1']['value']:.3f}."
            ),
        )


def _ceiling(one: Diagnosis) -> Told:
    f1 = one.attainable["f1"]
    yield (
        NOTE,
        (
            f"An F1 of {f1['value']:.3f} ({f1['low']:.3f}–{f1['high']:.3f}) can be attained with what {one.best} finds "
            f"in these columns, deciding at {f1['threshold']:.2f}; a test set of {f1['test_rows']:,} customers would "
            f"show {f1['test_low']:.3f} to {f1['test_high']:.3f}."
        ),
    )
    if one.limit is not None:
        yield NOTE, f"Whoever knew each customer's true probability would reach {one.limit['f1']:.3f} (simulated)."
    if f1["test_high"] - f1["test_low"] > WIDE:
        yield (
            LOOK,
            (
                f"So few test customers tell F1 to ±{(f1['test_high'] - f1['test_low']) / 2:.2f} only: compare models "
                "by cross-validation (cv=5), not by one split."
            ),
        )


def _rows(one: Diagnosis) -> Told:
    told = one.sufficiency
    gain, low, high = told["doubling"]["f1"]
    loss = told["doubling"]["log_loss"]
    half, whole = told["points"][-2]["rows"], told["points"][-1]["rows"]
    how = f"from {half:,} to {whole:,} rows F1 went up by {gain:+.3f} ({low:+.3f} to {high:+.3f})"
    if one.sampled:
        yield NOTE, f"{one.examined:,} rows were drawn from {one.rows:,}; the others count as more rows of the same."
    if loss[1] > 0 and told["next_doubling"][0] >= WORTH_IT:
        yield LOOK, f"More rows would help: {how}; twice as many should bring about {told['next_doubling'][0]:+.3f}."
    else:
        yield GOOD, f"The rows suffice: {how}; twice as many would bring about {told['next_doubling'][0]:+.3f}."
    if one.positives < FEW_POSITIVES:
        yield LOOK, f"Only {one.positives:,} customers left: every figure here is a rough one."
    events = told["events_per_input"]
    if events < FEW_EVENTS:
        yield (
            LOOK,
            (
                f"{events:.1f} churners for each of {told['inputs']:,} inputs are few (10 at least, 20 are enough): "
                "drop or merge columns and categories, or choose a model with strong regularisation."
            ),
        )
    elif events < ENOUGH_EVENTS:
        yield NOTE, f"{events:.0f} churners for each of {told['inputs']:,} inputs are enough for simple models."
    else:
        yield GOOD, f"{events:.0f} churners for each of {told['inputs']:,} inputs are enough."


def _columns(one: Diagnosis) -> Told:
    best, prior = one.baselines[one.best], one.baselines["prior"]
    skill = 1.0 - (best["brier"] or 0.0) / max(prior["brier"] or 1.0, 1e-12)
    if one.best == "prior" or skill < 0.01:
        yield ALARM, "These columns say next to nothing about who leaves: no model will, before there are better ones."
        return
    yield NOTE, f"These columns explain {skill:.0%} of the uncertainty about who leaves (Brier skill)."
    new = next((r for r in one.remedies if r["what"].startswith("one more column")), None)
    more = next(r for r in one.remedies if r["what"].startswith("twice as many"))
    if new is not None and new["gain"] >= WORTH_IT and new["gain"] > more["gain"]:
        yield (
            NOTE,
            (
                f"Columns rather than rows: something new that tells as much as {next(iter(one.columns))!r} would "
                f"bring F1 about {new['gain']:+.3f}, twice as many rows {more['gain']:+.3f}."
            ),
        )
    elif more["gain"] >= WORTH_IT:
        yield NOTE, f"Rows rather than columns: twice as many would bring F1 about {more['gain']:+.3f}."


def _model(one: Diagnosis) -> Told:
    for remedy in one.remedies:
        if remedy["have"] and remedy["what"].endswith("rather than logistic regression"):
            if remedy["low"] > 0:
                yield (
                    NOTE,
                    (
                        f"Trees find more than a logistic regression ({remedy['gain']:+.3f} F1): effects bend or "
                        "depend on each other."
                    ),
                )
            else:
                yield NOTE, "A logistic regression does as well as anything tried here: take it for its simplicity."
    if one.best == "logistic regression":
        yield NOTE, "A logistic regression does best of all that was tried here: take it for its simplicity."
    f1 = one.attainable["f1"]["value"]
    if one.balanced_f1 > f1 + WORTH_IT:
        yield (
            NOTE,
            (
                f"On test rows that were resampled to half and half the very same model would show an F1 of "
                f"{one.balanced_f1:.3f}: such figures are no better model."
            ),
        )


def _goal(one: Diagnosis) -> Told:
    if one.goal is not None:
        level = LOOK if one.goal["verdict"] == "out of reach" else NOTE
        said = one.goal["said"]
        yield level, f"{said[:1].upper()}{said[1:]}."


__all__ = ["verdicts"]
