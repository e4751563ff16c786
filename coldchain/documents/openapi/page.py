"""The OpenAPI document as a page: plain HTML that needs no script, and nothing from elsewhere."""

from collections.abc import Iterable, Iterator
from html import escape
from typing import Any

from coldchain.documents.openapi.schemas import PLACE

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --dim: #777; --soft: #8881; --link: #0b62a4 }
@media (prefers-color-scheme: dark) { :root { --dim: #999; --link: #6cb4ee } }
* { box-sizing: border-box }
body { margin: 0; font: 15px/1.5 system-ui, sans-serif; display: flex }
a { color: var(--link); text-decoration: none } a:hover { text-decoration: underline }
nav { width: 21rem; flex: none; height: 100vh; position: sticky; top: 0; overflow: auto; padding: 1rem;
  border-right: 1px solid var(--line); font-size: 13px }
nav ul { list-style: none; margin: 0 0 1rem; padding: 0 } nav h2 { font-size: 13px; margin: .8rem 0 .2rem }
nav li { white-space: nowrap; overflow: hidden; text-overflow: ellipsis }
main { flex: 1; min-width: 0; max-width: 62rem; padding: 1rem 2rem 6rem }
section { border-top: 1px solid var(--line); padding: .6rem 0 1rem; scroll-margin-top: .5rem }
section:target { background: var(--soft) }
h3 { margin: .4rem 0; font-size: 1rem; overflow-wrap: anywhere }
h4 { margin: .8rem 0 .2rem; font-size: 13px; color: var(--dim) }
code, .method { font: 13px/1.4 ui-monospace, monospace }
.method { display: inline-block; min-width: 3.6rem; font-weight: 700 }
nav .method { min-width: 3.2rem; font-size: 11px }
.get { color: #1a7f37 } .post { color: #9a6700 } .put, .patch { color: #8250df } .delete { color: #cf222e }
table { border-collapse: collapse; width: 100%; font-size: 14px }
td, th { text-align: left; vertical-align: top; padding: .2rem .8rem .2rem 0; border-top: 1px solid var(--line) }
tr:first-child > * { border-top: 0 } td:first-child { white-space: nowrap; width: 1% }
td:nth-child(3) { min-width: 16rem }
.dim { color: var(--dim) }
@media (max-width: 50rem) { body { display: block } nav { position: static; width: auto; height: auto; border: 0 } }
"""

Json = dict[str, Any]


def page(document: Json) -> str:
    """The whole page."""
    info = document["info"]
    operations = [
        (method, path, operation) for path, item in document["paths"].items() for method, operation in item.items()
    ]
    schemas = document["components"]["schemas"]
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(info['title'])}: the API</title><style>{_STYLE}</style></head><body>",
        *_contents(document, operations),
        f"<main><h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{_text(info['description'])}</p>",
        '<p>This page is made of <a href="/openapi.json">openapi.json</a>, which programs read.</p>',
    ]
    for tag in document["tags"]:
        parts.append(f"<h2>{escape(tag['description'].rstrip('.'))}</h2>")
        parts += [
            part
            for method, path, operation in operations
            if tag["name"] in operation["tags"]
            for part in _operation(document, method, path, operation)
        ]
    parts.append("<h2>Schemas</h2>")
    parts += [part for name, schema in schemas.items() for part in _schema(name, schema)]
    return "".join([*parts, "</main></body></html>\n"])


def _contents(document: Json, operations: Iterable[tuple[str, str, Json]]) -> Iterator[str]:
    yield "<nav>"
    for tag in document["tags"]:
        yield f"<h2>{escape(tag['description'].rstrip('.'))}</h2><ul>"
        for method, path, operation in operations:
            if tag["name"] in operation["tags"]:
                yield f'<li><a href="#{escape(operation["operationId"])}">{_method(method)} {escape(path)}</a></li>'
        yield "</ul>"
    yield "<h2>Schemas</h2><ul>"
    for name in document["components"]["schemas"]:
        yield f'<li><a href="#schema-{escape(name)}">{escape(name)}</a></li>'
    yield "</ul></nav>"


def _method(method: str) -> str:
    return f'<span class="method {escape(method)}">{escape(method.upper())}</span>'


def _operation(document: Json, method: str, path: str, operation: Json) -> Iterator[str]:
    name = escape(operation["operationId"])
    yield f'<section id="{name}"><h3>{_method(method)} <code>{escape(path)}</code></h3>'
    yield f"<p>{_text(operation['summary'])}. {_text(operation.get('description', ''))}</p>"
    if operation["parameters"]:
        yield "<h4>Parameters</h4>"
        yield _table(
            (
                f"<code>{escape(one['name'])}</code>",
                f'{_kind(one["schema"])} <span class="dim">in the {escape(one["in"])}</span>',
                _text(one["description"]),
            )
            for one in operation["parameters"]
        )
    if "requestBody" in operation:
        yield f"<h4>Body{'' if operation['requestBody']['required'] else ', may be left out'}</h4>"
        yield f"<p>{_content(operation['requestBody'])}</p>"
    yield "<h4>Answers</h4>"
    yield _table(
        (f"<code>{escape(status)}</code>", _text(one["description"]), _content(one))
        for status, one in ((status, _resolved(document, one)) for status, one in operation["responses"].items())
    )
    yield "</section>"


def _resolved(document: Json, answer: Json) -> Json:
    if "$ref" not in answer:
        return answer
    found: Json = document["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    return found


def _content(holder: Json) -> str:
    return "<br>".join(
        f'{_kind(of["schema"])} <span class="dim">{escape(kind)}</span>'
        for kind, of in holder.get("content", {}).items()
    )


def _schema(name: str, schema: Json) -> Iterator[str]:
    yield f'<section id="schema-{escape(name)}"><h3>{escape(name)}</h3><p>{_text(schema.get("description", ""))}</p>'
    required = schema.get("required", ())
    yield _table(
        (
            f"<code>{escape(member)}</code>",
            _kind(of),
            ("" if member in required else '<span class="dim">may be absent</span> ') + _details(of),
        )
        for member, of in schema.get("properties", {}).items()
    )
    yield "</section>"


def _kind(schema: Json) -> str:
    """What a value is, in a few words."""
    if "$ref" in schema:
        name = escape(schema["$ref"].removeprefix(PLACE))
        return f'<a href="#schema-{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(map(_kind, schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    if "const" in schema:
        return f"<code>{escape(str(schema['const']))}</code>"
    if schema.get("type") == "array":
        return f"array of {_kind(schema['items'])}"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"{_kind(schema['additionalProperties'])} by name"
    if schema.get("type") == "object" and "properties" in schema:
        return f"object with {', '.join(f'<code>{escape(name)}</code>' for name in schema['properties'])}"
    examples = ", ".join(f"<code>{escape(str(value))}</code>" for value in schema.get("examples", ()))
    return escape(str(schema.get("type", "anything"))) + (f" such as {examples}" if examples else "")


_RANGES = (
    ("minimum", "maximum", ""),
    ("minLength", "maxLength", " characters"),
    ("minItems", "maxItems", " members"),
)


def _details(schema: Json) -> str:
    """Range and default."""
    told = [words for one in (schema, *schema.get("anyOf", ())) for words in _ranges(one)]
    default = schema.get("default")
    if default and not isinstance(default, dict):
        told.append(f"default <code>{escape(str(default))}</code>")
    return ", ".join(told)


def _ranges(schema: Json) -> Iterator[str]:
    if "exclusiveMinimum" in schema:
        yield f"above {schema['exclusiveMinimum']:,}"
    for least, most, unit in _RANGES:
        if least in schema and most in schema:
            yield f"{schema[least]:,} to {schema[most]:,}{unit}"
        elif least in schema:
            yield f"at least {schema[least]:,}{unit}"
        elif most in schema:
            yield f"at most {schema[most]:,}{unit}"


def _table(rows: Iterable[tuple[str, ...]]) -> str:
    made = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table>{made}</table>" if made else ""


def _text(text: str) -> str:
    """Prose, with what stands between backticks as code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))
