"""The page: one file that needs nothing from anywhere, for a screen of any width, light or dark, or paper.

What a section shows without its script is complete but for the simulator. The page forbids itself every request, and
every script and style but its own, by their hashes: a name or value of the table that looks like markup stays text.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from churnlib.evaluation.report import drawings
from churnlib.pages import charts, pictures
from churnlib.pages.writing import templates

FOLDER = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page.

    Attributes:
        key: Of the document, without which the section is absent; its template is ``<key>.html.jinja``.
        title: Its heading.
        short: What the way to it is called.
    """

    key: str
    title: str
    short: str


SECTIONS = (
    Section("verdict", "What this model can do for you", "Verdict"),
    Section("simulator", "Plan a campaign", "Campaign"),
    Section("customers", "Whom to contact, and why", "Customers"),
    Section("offers", "What to offer, and to whom", "Offers"),
    Section("curves", "Gains, lift and profit", "Gains and profit"),
    Section("confusion", "Decisions, counted and in money", "Decisions"),
    Section("performance", "How good it is", "Performance"),
    Section("calibration", "Can its probabilities be believed?", "Calibration"),
    Section("time", "Over time", "Over time"),
    Section("segments", "By kind of customer", "Segments"),
    Section("survival", "When they leave", "When"),
    Section("explanation", "What moves the risk", "Explanation"),
    Section("overall", "The model on the whole", "On the whole"),
    Section("fairness", "Groups of people", "Fairness"),
    Section("data", "The data, and what was checked", "Data"),
    Section("card", "Model card", "Model card"),
    Section("settings", "Configuration", "Configuration"),
)


def render(document: Mapping[str, Any]) -> str:
    """Return the page of a document."""
    environment = templates(FOLDER)
    style = Markup(environment.get_template("look.css").render() + environment.get_template("report.css").render())
    script = Markup((FOLDER / "simulator.js").read_text(encoding="utf-8"))
    sections = [one for one in SECTIONS if document.get(one.key)]
    return environment.get_template("page.html.jinja").render(
        doc=document,
        sections=sections,
        style=style,
        script=script,
        policy=_policy(style, script),
        embedded=_embedded(document),
        drawings=drawings,
        pictures=pictures,
        charts=charts,
    )


def _policy(style: str, script: str) -> str:
    """Return the content security policy: nothing is loaded, and only the page's own style and script count."""
    return (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _embedded(document: Mapping[str, Any]) -> Markup:
    """Return what the simulator computes from, as JSON in which no character ends its element."""
    told = document.get("simulator")
    if not told:
        return Markup("null")
    text = json.dumps(told, allow_nan=False, separators=(",", ":"))
    for mark in "<>&":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return Markup(text)


__all__ = ["SECTIONS", "Section", "render"]
