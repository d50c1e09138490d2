"""``GET /docs``: the document of ``/openapi.json`` as one page for people; no scripts, and nothing is fetched.

Plain text building: the page is small, and a server without torch has no template engine.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

LOOK = Path(__file__).parents[2] / "pages" / "look.css"
"""The look of churnlib's pages, for light and dark and small screens."""

URL = "http://127.0.0.1:8000"
"""What stands for the server's address in commands: a page cannot know it."""

_OWN = """
pre { background: var(--chip); border-radius: .4rem; padding: .7rem .9rem; overflow-x: auto; font-size: .84rem;
  margin: .4rem 0 1rem; }
code { font-family: ui-monospace, "SF Mono", Consolas, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
pre code { overflow-wrap: normal; } h4 { margin: .6rem 0 0; font-size: .85rem; color: var(--muted); font-weight: 600; }
section.door { margin-top: 1rem; } section.door h3 { font-size: 1.02rem; }
.verb { display: inline-block; min-width: 3.2rem; font-size: .78rem; font-weight: 650; letter-spacing: .03em;
  color: var(--stay); } .verb.post { color: var(--leave); }
details { margin: .3rem 0; } summary { cursor: pointer; color: var(--muted); font-size: .9rem; }
td, tbody th { vertical-align: top; } td.text { min-width: 9rem; } tbody th { min-width: 7.5rem; padding-right: 1rem; }
details tbody th { min-width: 0; }
"""


def docs_page(document: Mapping[str, Any]) -> str:
    """Return the page.

    Args:
        document: What :func:`churnlib.serving.doors.openapi.openapi` returned.
    """
    info, keys = document["info"], "security" in document
    shapes = document["components"]["schemas"]
    tags: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            tags.setdefault(operation["tags"][0], []).append(_door(path, method, operation, shapes, keys))
    links = "".join(f'<li><a href="#{_slug(name)}">{escape(name)}</a></li>' for name in ("Columns", *tags))
    doors = "".join(f'<h2 id="{_slug(tag)}">{escape(tag)}</h2>{"".join(each)}' for tag, each in tags.items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(info['title'])}</title><style>{LOOK.read_text(encoding='utf-8')}{_OWN}</style></head><body>"
        f'<a class="skip" href="#main">Skip to the addresses</a><header><h1>{escape(info["title"])}</h1>'
        f'<p class="lead">{escape(info["description"])}</p><nav aria-label="Sections"><ul>{links}</ul></nav></header>'
        f'<main id="main">{_key_hint(keys)}{_columns(shapes["Customer"])}{doors}</main>'
        '<footer>The same for programs: <a href="openapi.json">openapi.json</a></footer></body></html>'
    )


def _key_hint(keys: bool) -> str:
    if not keys:
        return ""
    command = _code("export CHURNLIB_KEY=...   # a key that the server's file knows")
    return f"<p class='hint'>This server asks for a key, in the header Authorization: Bearer KEY.</p>{command}"


def _columns(customer: Mapping[str, Any]) -> str:
    required = set(customer["required"])
    rows = "".join(
        f'<tr><th scope="row"><code>{escape(name)}</code></th>'
        f"<td>{'required' if name in required else 'optional'}</td>"
        f'<td class="text">{escape(schema.get("description", ""))}</td>'
        f'<td class="text">{escape(", ".join(map(_word, schema.get("examples", ()))))}</td></tr>'
        for name, schema in customer["properties"].items()
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Field", "", "What it holds", "Known values"))
    return (
        f'<h2 id="columns">Columns</h2><p class="hint">{escape(customer["description"])}</p><div class="card wide">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _door(path: str, method: str, operation: Mapping[str, Any], shapes: Mapping[str, Any], keys: bool) -> str:
    """Return one address: what it does, a command to try it, the answer, and what else it may answer."""
    body = operation.get("requestBody", {}).get("content", {}).get("application/json")
    status, told = next(iter(operation["responses"].items()))
    media, answer = next(iter(told["content"].items()))
    needs_key = keys and operation.get("security") != []
    verb = f'<span class="verb {method}">{method.upper()}</span>'
    parts = [f'<section class="door card"><h3>{verb} <code>{escape(path)}</code></h3>']
    parts.append(f"<p>{escape(operation['summary'])}</p>")
    parts += [_parameters(operation["parameters"])] if operation.get("parameters") else []
    example = None if body is None else body.get("example")
    if method == "get" or example is not None:
        parts.append(_code(_curl(path, method, example, needs_key)))
    if "example" in answer:
        parts.append(f"<h4>Answer {status}</h4>{_code(_json(answer['example']))}")
    elif method == "post":
        parts.append(_fields(answer["schema"], shapes, status, media))
    return "".join([*parts, _statuses(operation["responses"]), "</section>"])


def _parameters(parameters: Iterable[Mapping[str, Any]]) -> str:
    return "".join(
        f'<p class="hint"><code>?{escape(each["name"])}=</code> {escape(each["description"])}</p>'
        for each in parameters
    )


def _fields(schema: Mapping[str, Any], shapes: Mapping[str, Any], status: str, media: str) -> str:
    """Return the names of an answer's fields."""
    named = shapes.get(schema.get("$ref", "").rpartition("/")[2], schema)
    names = ", ".join(f"<code>{escape(name)}</code>" for name in named.get("properties", {}))
    return f"<h4>Answer {status}</h4><p>{names or escape(media)}</p>"


def _statuses(responses: Mapping[str, Any]) -> str:
    refusals = [(status, told["description"]) for status, told in responses.items() if int(status) >= 400]
    rows = "".join(f'<tr><th scope="row">{status}</th><td>{escape(text)}</td></tr>' for status, text in refusals)
    return f"<details><summary>Refusals</summary><table><tbody>{rows}</tbody></table></details>"


def _curl(path: str, method: str, body: Any, key: bool) -> str:
    words = [f"curl -s {URL}{path}"]
    words += ['-H "Authorization: Bearer $CHURNLIB_KEY"'] if key else []
    if method == "post":
        words += ["-H 'Content-Type: application/json'", f"-d {shlex.quote(_json(body))}"]
    return " \\\n  ".join(words)


def _word(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1)


def _code(text: str) -> str:
    return f'<pre tabindex="0"><code>{escape(text)}</code></pre>'


def _slug(text: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in text.lower())


__all__ = ["docs_page"]
