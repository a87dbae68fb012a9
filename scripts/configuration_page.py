"""Generates docs/configuration.md and docs/kubernetes-node-options.md from the models of their files.

Each row has a name, type, bounds, default and docstring. `scripts/write-docs` writes the pages, and
tests/project/test_docs.py fails when a page is out of date.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from inspect import isfunction
from pathlib import Path
from typing import Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import BaseModel, ByteSize, SecretStr
from pydantic.fields import FieldInfo

from wagi_gateway.config.docstrings import attribute_docstrings
from wagi_gateway.config.settings import LEGACY_MODULE, LEGACY_TOP_LEVEL, Config, nested_models
from wagi_gateway.config.values import as_written
from wagi_gateway.node.options import Ceiling, NodeOptions

_PREFACE = """\
# Configuration

A `modules.toml` is a TOML file with at least one `[[module]]` table. Everything else has a default.

```toml
[[module]]
route = "/hello/..."
module = "hello.wasm"

[limits]
time = "10s"      # for every module

[[module]]
route = "/report"
module = "report.wasm"
environment = { LANGUAGE = "es" }
volumes = { "/data" = { path = "data", read_only = true } }
limits = { time = "2m", memory = "1GiB" }      # for this one
```

`wagi-gateway check modules.toml` finds every mistake in the file and in the modules it names. `wagi-gateway schema`
prints the JSON Schema of the file for editors ([how to use it](getting-started.md#help-from-the-editor)).

**Paths** (`module`, `directory`, `volumes`, `tls_cert` and others) are relative to the directory of the file. A module
or volume that is not there but lies under the working directory, where WAGI looked for it, is used with a warning. A
module may also be a `file:` URL.

**Sizes** are a number and a unit: `"64KiB"`, `"16MiB"`, `"1.5GiB"`; `"1MB"` is a million bytes. A plain number counts
bytes. **Durations** are a number and one of `ms`, `s`, `m`, `h`: `"250ms"`, `"30s"`, `"5m"`. A plain number counts
seconds.

**Which value wins.** An option of `wagi-gateway serve` wins over the file: `--listen`, `--uds`, `--tls-cert`,
`--tls-key` and `--workers` over `[server]`, `--log-format` and `--log-dir` over `[log]`, `--admin` over `admin.listen`,
`--cache-dir` over `cache.directory`. A `[[module]]`'s own `limits` win over `[limits]`, key by key, and
the options of `run` over both. For one variable,
`--env` wins over `--env-file`, that over the module's own `environment`, and that over `[environment]`. No setting is
read from the gateway's own environment, but for OpenTelemetry's ([Tracing](tracing.md)).

**Mistakes.** A key that is not listed here is an error, and the message names the nearest one that is. All mistakes are
reported at once. Keys of WAGI that have no meaning any more are accepted with a warning:
"""

_NODE_PREFACE = """\
# Options of the node

`wagi-gateway node` takes a TOML file with these keys, all of which have a default, and options of the command line,
which win ([A Kubernetes node](kubernetes-node.md)). Paths are relative to the file. Sizes and durations are written as
in a [`modules.toml`](configuration.md), where the keys of a `[registries."HOST"]` are described, too.

```toml node
name = "wagi-1"
max_pods = 40

[registries."registry.example.com"]
ca_file = "registry-ca.pem"

[ceiling]
allowed_hosts = ["https://api.example.com"]
```

"""

_HEAD = "| key | value | default | meaning |\n|---|---|---|---|\n"


def configuration_page() -> str:
    """The text of the page: a preface, then a section for each table of `modules.toml`."""
    parts = [_PREFACE, *_legacy()]
    for title, model in _sections():
        about = _sentence(model.__doc__).removeprefix(f"{title}: ")
        parts += [f"\n## {title}\n\n{about[0].upper()}{about[1:]}\n\n", _HEAD]
        parts += _rows(model)
    return "".join(parts)


def node_options_page() -> str:
    """The text of the page of the options of `wagi-gateway node`, with a section for each table that is its own."""
    parts = [_NODE_PREFACE, _HEAD, *_rows(NodeOptions)]
    parts += [
        "\n## `[ceiling]`\n\n",
        "What a Pod may have at most, because every author of a Pod writes its annotations.\n\n",
    ]
    parts += [_HEAD, *_rows(Ceiling)]
    return "".join(parts)


def _legacy() -> Iterator[str]:
    for where, keys in (("at the top level", LEGACY_TOP_LEVEL), ("in a `[[module]]`", LEGACY_MODULE)):
        for name, advice in keys.items():
            yield f"\n- `{name}` {where}: {advice}."
    yield "\n"


def _sections() -> Iterator[tuple[str, type[BaseModel]]]:
    """Each model with its heading: top-level tables first, then tables inside a `[[module]]`."""
    yield "The file", Config
    seen: set[type[BaseModel]] = set()
    outer = [(name, field, "") for name, field in Config.model_fields.items()]
    while outer:
        inner = []
        for name, field, parent in outer:
            for model in nested_models(field.annotation):
                if model in seen:
                    continue
                seen.add(model)
                title = f"`{name}` in a {parent}" if parent else _table_title(name, field)
                yield title, model
                inner += [(key, value, title) for key, value in model.model_fields.items()]
        outer = inner


def _table_title(name: str, field: FieldInfo) -> str:
    return f"`[[{name}]]`" if get_origin(field.annotation) is tuple else f"`[{name}]`"


def _sentence(text: str | None) -> str:
    """A docstring in one line."""
    return " ".join((text or "").split())


def _rows(model: type[BaseModel]) -> list[str]:
    docstrings = attribute_docstrings(model)
    return [_row(name, field, docstrings[name]) for name, field in model.model_fields.items()]


def _row(name: str, field: FieldInfo, docstring: str) -> str:
    value = _kind(field) + "".join(f"; {bound}" for bound in _bounds(field))
    cells = (f"`{name}`", value, _default(field), _sentence(docstring))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _kind(field: FieldInfo) -> str:
    """The type of a field, in TOML's terms. Raises TypeError for an annotation without such a term."""
    annotation = field.annotation
    if any(nested_models(annotation)):
        return "tables" if get_origin(annotation) is tuple else "table"
    if get_origin(annotation) is dict:
        return "table of strings"
    names = {bool: "boolean", int: "integer", float: "duration", ByteSize: "size", str: "string", SecretStr: "string"}
    names[Path] = "path"
    for kind in _types(annotation):
        if get_origin(kind) is Literal:
            return " or ".join(f'`"{choice}"`' for choice in get_args(kind))
        if get_origin(kind) is tuple:
            return "array of strings"
        if isinstance(kind, type) and kind in names:
            return names[kind]
    raise TypeError(f"no word for {annotation}")


def _types(annotation: object) -> Iterator[object]:
    """An annotation and its arguments, depth first."""
    yield annotation
    for argument in get_args(annotation):
        yield from _types(argument)


def _bounds(field: FieldInfo) -> Iterator[str]:
    for bound in field.metadata:
        match bound:
            case Gt(gt=value):
                yield f"more than {as_written(value, field.annotation)}"
            case Ge(ge=value) if value:
                yield f"at least {as_written(value, field.annotation)}"
            case Le(le=value):
                yield f"at most {as_written(value, field.annotation)}"
            case MinLen(1):
                yield "not empty"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if isfunction(field.default_factory):  # a property of the machine, which the meaning describes
        return "none"
    value = field.get_default(call_default_factory=True)
    if value is None or isinstance(value, BaseModel):
        return "none"
    if isinstance(value, (dict, tuple)):
        return "required" if field.metadata else "empty"
    return f"`{as_written(value, field.annotation)}`"


if __name__ == "__main__":
    print(node_options_page() if sys.argv[1:] == ["node"] else configuration_page(), end="")
