"""The model card: what a model is for, what it learned from, how it did, and what it must not be used for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from churnlib.pages.words import count


def card(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the parts of the card: a title and paragraphs or points each.

    Args:
        document: The other parts of the report.
    """
    run = document["run"]
    parts = [
        ("Owner and contact", _answering(run)),
        ("Intended use", _use(run)),
        ("Not for", [
            "Decisions about a single person that a human does not look at: prices, credit, employment, service.",
            "Customers unlike those of the table: other countries, products or years. Watch for drift, and train anew.",
            "Saying why customers leave. Reasons tell what the model reads, not what would change a customer's mind.",
        ]),
        ("Training data", _data(document)),
        ("How it was tested", _test(document)),
        ("Limits", [one["text"] for one in document["verdict"]["sentences"] if one["kind"] in ("weak", "alarm")]),
        ("People", _people(document)),
        ("Made with", _made(run)),
    ]  # fmt: skip
    return [{"title": title, "points": points} for title, points in parts if points]


def _answering(run: Mapping[str, Any]) -> list[str]:
    stated = run.get("stated") or {}
    return [
        f"Who answers for the model: {_stated(stated.get('owner'), 'card.owner')}.",
        f"Where questions and complaints go: {_stated(stated.get('contact'), 'card.contact')}.",
        f"Who answers for the data: {_stated(run.get('owner'), 'data.owner')}.",
    ]


def _stated(text: str | None, option: str) -> str:
    """Return what somebody has said, or that nobody has, with the option that says it."""
    return str(text).strip().rstrip(".") if text else f"not stated ({option})"


def _use(run: Mapping[str, Any]) -> list[str]:
    target = run["target"] or "the target"
    what = (
        f"that a customer leaves ({target} = {run['classes'][-1]})" if run["binary"] else f"of each class of {target}"
    )
    when = f" within {run['horizon']}" if run.get("horizon") else ""
    return [
        f"What it is for: {_stated((run.get('stated') or {}).get('intended_use'), 'card.intended_use')}.",
        f"Purpose for which the data are kept: {_stated(run.get('purpose'), 'data.purpose')}.",
        f"It gives the probability {what}{when}, to choose whom to contact, and to plan what a campaign may cost.",
    ]


def _data(document: Mapping[str, Any]) -> list[str]:
    data, run = document["data"], document["run"]
    rows = {side["side"]: side["n"] for side in data["sides"]}
    listed = ", ".join(f"{count(n)} {side}" for side, n in rows.items())
    told = [f"{run['table']}: {count(sum(rows.values()))} rows ({listed}), dealt {data['dealt']}."]
    told.append(f"{data['features']} columns are read{_sensitive(data)}.")
    if data["fingerprint"]:
        told.append(f"SHA-256 of the table: {data['fingerprint']}.")
    return told


def _sensitive(data: Mapping[str, Any]) -> str:
    n = data["sensitive_read"]
    return f", {n} of them sensitive" if n else ", none of them sensitive"


def _test(document: Mapping[str, Any]) -> list[str]:
    if "performance" not in document:
        return ["Not at all: no rows were kept for it."]
    run = document["run"]
    left = f", of which {count(run['positives'])} left" if run["binary"] else ""
    told = [f"On {count(run['rows'])} rows that nothing was learned from{left}."]
    for one in document["performance"]["figures"]:
        if one["key"] in ("roc_auc", "top_decile_lift", "f1", "log_loss", "ece"):
            between = "" if one["low"] is None else f" (95 % interval {one['low']:.3f} to {one['high']:.3f})"
            told.append(f"{one['label']}: {one['value']:.3f}{between}")
    when = document.get("survival")
    if when:
        told.append(run["about_horizon"])
        low, high = when["concordance_interval"]
        told.append(
            f"When they leave, on {count(when['n'])} rows: concordance {when['concordance']:.3f} (95 % interval "
            f"{low:.3f} to {high:.3f}), integrated Brier score {when['ibs']:.4f} "
            f"({when['ibs_kaplan_meier']:.4f} for one curve for all)"
        )
    return told


def _people(document: Mapping[str, Any]) -> list[str]:
    fairness = document.get("fairness")
    if not fairness:
        return [
            "It was not compared between groups of people: no column is declared sensitive, or no group was measured."
        ]
    columns = ", ".join(one["column"] for one in fairness["columns"])
    return [f"Compared between the groups of {columns}; the section on fairness has the figures."]


def _made(run: Mapping[str, Any]) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in (run.get("versions") or {}).items())
    told = [f"Model {run['model']}, version {run['version']}, seed {run['seed']}, made on {run['made']}."]
    return [*told, *([f"{versions}."] if versions else [])]


def markdown(document: Mapping[str, Any]) -> str:
    """Return the card as Markdown, with a head that model registries read."""
    run = document["run"]
    figures = (document.get("performance") or {}).get("figures") or []
    head = [
        "---",
        f"model_name: {_quoted(run['model'])}",
        "pipeline_tag: tabular-classification",
        "library_name: churnlib",
        "tags: [churn, tabular]",
        "model-index:",
        f"  - name: {_quoted(run['model'])}",
        "    results:",
        "      - task: {type: tabular-classification}",
        f"        dataset: {{type: table, name: {_quoted(run['table'])}}}",
        "        metrics:" + ("" if figures else " []"),
        *(f"          - {{type: {one['key']}, value: {one['value']:.6g}}}" for one in figures),
        "---",
    ]
    body = [f"# {_plain(run['model'])} on {_plain(run['table'])}", "", _plain(document["verdict"]["headline"])]
    for part in document["card"]:
        body += ["", f"## {part['title']}", "", *_points(part["points"])]
    return "\n".join([*head, "", *body, ""])


def _points(points: Sequence[str]) -> list[str]:
    return [f"- {_plain(point)}" for point in points]


def _quoted(text: str) -> str:
    """Return a text as YAML, in which no renderer of Markdown finds a tag."""
    escaped = " ".join(text.split()).replace("\\", "\\\\").replace('"', '\\"').replace("<", "\\u003c")
    return f'"{escaped}"'


def _plain(text: str) -> str:
    """Return a text in which Markdown and HTML see nothing of their own, on one line."""
    for mark in "\\`*_[]<>|":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())


__all__ = ["card", "markdown"]
