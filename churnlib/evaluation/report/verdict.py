"""What a model is good for, in plain words: what it finds, what that is worth, and where it is weak."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from churnlib.pages.words import count, money, rounded, share

FEW_CHURNERS = 100
"""Churners among the test rows below which every figure is rough."""

TOO_GOOD = 0.98
"""ROC AUC from which a leak is likelier than a model that good."""

GOOD, NOTE, WEAK, ALARM = "good", "note", "weak", "alarm"


def verdict(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a headline, and sentences of the kinds good, note, weak and alarm.

    Args:
        document: The other parts of the report.
    """
    run = document["run"]
    if "performance" not in document:
        return {"headline": "No rows were kept for a test, so nothing can be said of the model.", "sentences": []}
    if not run["binary"]:
        return {"headline": _headline_of_several(document), "sentences": [*_baseline(document), *_warnings(document)]}
    if "curves" not in document:
        what = "left" if run["positives"] else "stayed"
        headline = (
            f"All {count(run['rows'])} test customers {what}: how well the model tells them apart cannot be said."
        )
        return {"headline": headline, "sentences": _warnings(document)}
    sentences = [
        *_reach(document), *_when(document), *_worth(document), *_baseline(document), *_truth(document),
        *_misses(document), *_warnings(document),
    ]  # fmt: skip
    return {"headline": _headline(document), "sentences": sentences}


def _figure(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    return next((one for one in document["performance"]["figures"] if one["key"] == key), {})


def _said(kind: str, text: str) -> dict[str, str]:
    return {"kind": kind, "text": text}


def _headline(document: Mapping[str, Any]) -> str:
    auc, capture, lift = (_figure(document, key) for key in ("roc_auc", "top_decile_capture", "top_decile_lift"))
    if auc.get("low") is not None and auc["low"] <= 0.5:
        return "The model cannot be told from drawing lots: do not choose customers by it."
    if _suspicious(document):
        return "Too good to be trusted: look for a leak before anybody acts on this model."
    if not capture:
        return f"The model orders {share(auc['value'])} of all pairs of customers rightly."
    return (
        f"Contact the tenth of your customers with the highest risk, and you reach {share(capture['value'], 0)} of "
        f"those who are going to leave: {rounded(lift['value'], 1)} times as many as by drawing lots."
    )


def _headline_of_several(document: Mapping[str, Any]) -> str:
    right, n = share(_figure(document, "accuracy")["value"]), len(document["run"]["classes"])
    return f"The model names the right one of {n} classes for {right} of customers."


def _suspicious(document: Mapping[str, Any]) -> bool:
    leaking = any(check["verdict"] == "leak" for check in document["data"]["checks"])
    return leaking or (_figure(document, "roc_auc").get("value") or 0.0) >= TOO_GOOD


def _reach(document: Mapping[str, Any]) -> list[dict[str, str]]:
    run, cells = document["run"], document["confusion"]["cells"]
    capture, told = _figure(document, "top_decile_capture"), []
    if capture:
        ceiling = min(1.0, 0.1 * run["rows"] / run["positives"])
        between = (
            ""
            if capture["low"] is None
            else f" (95 % interval {share(capture['low'], 0)} to {share(capture['high'], 0)})"
        )
        kind = GOOD if (capture["low"] or 0.0) > 0.15 else WEAK
        told.append(_said(kind, (
            f"The first tenth of the list holds {share(capture['value'], 0)} of all {count(run['positives'])} who left"
            f"{between}. By lot it would be 10 %; no list can hold more than {share(ceiling, 0)}."
        )))  # fmt: skip
    chosen = cells["tp"]["n"] + cells["fp"]["n"]
    own = run.get("own_threshold")
    cut = "By thresholds of their own" if own else f"At its threshold of {document['confusion']['threshold']:.3g}"
    told.append(_said(NOTE, (
        f"{cut} the model selects {count(chosen)} of "
        f"{count(run['rows'])} customers: {count(cells['tp']['n'])} who left and {count(cells['fp']['n'])} who stayed."
    )))  # fmt: skip
    return told


def _when(document: Mapping[str, Any]) -> list[dict[str, str]]:
    """Say how well a model that says when customers leave orders and times them."""
    told = document.get("survival")
    if not told:
        return []
    low, high = told["concordance_interval"]
    gain = told["ibs_gain_interval"]
    better = "closer to what happened than" if gain[0] > 0 else "no closer to what happened than"
    return [
        _said(GOOD if low > 0.5 and gain[0] > 0 else WEAK, (
            f"Of two customers it knows in {share(told['concordance'], 0)} of all pairs who leaves first (95 % "
            f"interval {share(low, 0)} to {share(high, 0)}), and its curves are {better} one curve for all."
        )),
        _said(NOTE, document["run"]["about_horizon"]),
    ]  # fmt: skip


def _worth(document: Mapping[str, Any]) -> list[dict[str, str]]:
    plan = document["simulator"]["campaign"]
    if plan["currency"] is None:
        return [_said(NOTE, (
            "What that is worth depends on what a customer and an offer cost you. The amounts below are an example, "
            "without a unit; set them in the simulator, and for good with money.currency and money.value."
        ))]  # fmt: skip
    shown, each = money(plan["profit"], plan["currency"]), money(plan["profit"] / plan["n"], plan["currency"])
    between = f"95 % interval {money(plan['low'])} to {money(plan['high'])}"
    if not plan["contacted"]:
        return [
            _said(WEAK, "With your costs no customer is worth contacting: every contact is expected to lose money.")
        ]
    kind = GOOD if plan["low"] > max(0.0, plan["everybody"]) else NOTE if plan["low"] > 0 else WEAK
    return [_said(kind, (
        f"Contacting the {share(plan['contacted'] / plan['n'])} of customers of whom the model expects a gain would "
        f"have earned {shown} on the test rows ({between}), {each} per customer; contacting everybody "
        f"{money(plan['everybody'], plan['currency'])}."
    ))]  # fmt: skip


def _baseline(document: Mapping[str, Any]) -> list[dict[str, str]]:
    auc = _figure(document, "roc_auc")
    other, model = auc.get("baseline"), document["run"]["model"]
    if other is None or auc["low"] is None or model == "logistic":
        return []
    if auc["low"] <= other <= auc["high"]:
        return [_said(NOTE, (
            f"A plain logistic regression does about as well (ROC AUC {other:.3f}, this model {auc['value']:.3f}, 95 % "
            f"interval {auc['low']:.3f} to {auc['high']:.3f}). Where that is enough, it is the simpler choice."
        ))]  # fmt: skip
    better = auc["value"] > other
    return [_said(GOOD if better else WEAK, (
        f"It is {'better' if better else 'worse'} than a plain logistic regression: ROC AUC {auc['value']:.3f} (95 % "
        f"interval {auc['low']:.3f} to {auc['high']:.3f}) against {other:.3f}."
    ))]  # fmt: skip


def _truth(document: Mapping[str, Any]) -> list[dict[str, str]]:
    told = document["calibration"]
    if told["ece"] is None or told["noise_floor"] is None:
        return []
    most = told["noise_floor"]["high"]
    if told["ece"] <= most:
        return [_said(GOOD, (
            "Its probabilities can be taken at their word: of customers with 40 %, about 40 % leave. They are off by "
            f"{told['ece'] * 100:.1f} percentage points on average, and luck alone gives up to {most * 100:.1f}."
        ))]  # fmt: skip
    rate = document["run"]["positives"] / document["run"]["rows"]
    way = "too high" if told["mean"] > rate else "too low"
    return [_said(WEAK, (
        f"Its probabilities are off by {told['ece'] * 100:.1f} percentage points on average, more than luck explains "
        f"({most * 100:.1f}), and {way} on the whole: {share(told['mean'])} said, {share(rate)} left."
    ))]  # fmt: skip


def _misses(document: Mapping[str, Any]) -> list[dict[str, str]]:
    run, cells = document["run"], document["confusion"]["cells"]
    chosen = cells["tp"]["n"] + cells["fp"]["n"]
    told = []
    if not chosen:
        told.append(_said(WEAK, "At its threshold it selects nobody; choose another threshold, or contact by rank."))
    else:
        told.append(_said(WEAK, (
            f"It is no oracle: {share(cells['fp']['n'] / chosen, 0)} of those selected would have stayed anyway, and "
            f"{share(cells['fn']['share'] or 0.0, 0)} of those who left were not selected."
        )))  # fmt: skip
    fewer = min(run["positives"], run["rows"] - run["positives"])
    if fewer < FEW_CHURNERS:
        word = "left" if fewer == run["positives"] else "stayed"
        told.append(_said(WEAK, f"Only {fewer} of the test customers {word}: every figure here is rough."))
    off = [
        f"{one['column']} ({cell['label']})"
        for one in document.get("segments") or []
        for cell in one["cells"]
        if cell["off"] and cell["n"] >= FEW_CHURNERS
    ]
    cells_in_all = sum(len(one["cells"]) for one in document.get("segments") or [])
    if len(off) > max(1, 0.1 * cells_in_all):  # one in twenty is off by chance
        told.append(_said(WEAK, f"For some customers it says too much or too little: {', '.join(off[:3])}."))
    return told


def _warnings(document: Mapping[str, Any]) -> list[dict[str, str]]:
    told = [
        _said(ALARM, f"Leak check “{check['check']}”: {check['evidence']}.")
        for check in document["data"]["checks"]
        if check["verdict"] == "leak"
    ]
    alarm = document["run"].get("overfitting")
    if alarm:
        told.append(_said(WEAK, alarm))
    goal = document.get("goal") or {}
    if goal.get("said"):
        said = f"{goal['said'][0].upper()}{goal['said'][1:]}."
        told.append(_said(GOOD if goal["certified"] else WEAK, said))
    return told


__all__ = ["verdict"]
