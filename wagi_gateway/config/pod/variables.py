"""`env`: the environment variables of a container whose values are in the manifest."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..values import check_reserved
from .document import Value
from .fields import ENV, FIELD_REF, VALUE_FROM
from .mapping import ManifestMapping, nearest

MAX_ENVIRONMENT = 2**20
"""Characters of all expanded variables of a file; `$(A)$(A)` can double with every line."""

_REFERENCE = re.compile(r"\$\$|\$\(([^)]*)\)")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']*)'\]")
_FIELDS = ("metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName")
_MAPS = ("metadata.labels['KEY']", "metadata.annotations['KEY']")
_CLUSTER_FIELDS = ("status.podIP", "status.podIPs", "status.hostIP", "status.hostIPs")


class Variables:
    """The environment variables of a Pod's containers, which may refer to fields of the Pod."""

    def __init__(self, metadata: ManifestMapping, spec: ManifestMapping) -> None:
        self._known = _known_fields(metadata, spec)
        self._remaining = MAX_ENVIRONMENT

    def read(self, container: ManifestMapping) -> dict[str, str]:
        """The `environment` of a container's `[[module]]`."""
        environment: dict[str, str] = {}
        for table in container.tables("env"):
            table.check_fields(ENV)
            name = table.text("name", needed="it is the variable's name")
            value = self._variable(table, environment)
            if name is None or value is None:
                continue
            if not _is_accepted(table, name, value):
                continue
            if name in environment:
                table.warning("name", "stands twice; the last one counts")
            environment[name] = value
        return environment

    def _variable(self, table: ManifestMapping, earlier: Mapping[str, str]) -> str | None:
        """A variable's value; None if there is a problem."""
        source, text = table.table("valueFrom"), table.text("value")
        if "valueFrom" in table:
            if text:
                table.problem("valueFrom", "value stands there too; remove one")
                return None
            source.check_fields(VALUE_FROM)
            if "fieldRef" not in source:
                if table.values["valueFrom"] == {}:
                    table.problem("valueFrom", "names no source; write the value in value")
                return None
            text, earlier = self._field(source.table("fieldRef")), {}
        elif "value" not in table:
            text = ""
        if text is None or self._remaining < 0:  # the problem of the bound is reported once
            return None
        try:
            value = text if "valueFrom" in table else expand(text, earlier, self._remaining)
            self._remaining -= len(value)
            if self._remaining < 0:
                raise ValueError
        except ValueError:
            self._remaining = -1
            what = f"the variables of all containers grow to more than {MAX_ENVIRONMENT:,} characters; shorten them"
            table.problem("value", what)
            return None
        return value

    def _field(self, table: ManifestMapping) -> str | None:
        """The value of a `fieldRef`; None if there is a problem."""
        table.check_fields(FIELD_REF)
        path = table.text("fieldPath", needed="it names a field of the Pod, such as metadata.name")
        if path is None:
            return None
        if path in self._known:
            return self._known[path]
        if path in _FIELDS or _SUBSCRIPT.fullmatch(path):
            table.problem("fieldPath", "the manifest does not set it; write it there, or the value in value")
        elif path in _CLUSTER_FIELDS:
            table.problem("fieldPath", "is known in a cluster only; write the value in value")
        else:
            table.problem("fieldPath", f"not a field that a variable can have{nearest(path, [*_FIELDS, *_MAPS])}")
        return None


def _is_accepted(table: ManifestMapping, name: str, value: str) -> bool:
    """Whether a guest's environment can hold the variable; if not, a problem is added."""
    try:
        check_reserved(name)
    except ValueError as error:
        table.problem("name", str(error))
        return False
    if "=" in name or "\0" in name:
        table.problem("name", "must not contain '=' or NUL")
    elif "\0" in value:
        table.problem("value", "must not contain NUL")
    else:
        return True
    return False


def expand(text: str, variables: Mapping[str, str], limit: int) -> str:
    """`text` with each `$(NAME)` replaced by the variable's value; an unknown name is kept, and `$$` becomes `$`.

    >>> expand("$(A) $(B) $$(A)", {"A": "1"}, 100)
    '1 $(B) $(A)'

    Raises ValueError for a result of more than `limit` characters.
    """
    parts, length, end = [], 0, 0

    def add(part: str) -> None:
        nonlocal length
        length += len(part)
        if length > limit:
            raise ValueError("grows too large")
        parts.append(part)

    for match in _REFERENCE.finditer(text):
        add(text[end : match.start()])
        add("$" if match[1] is None else variables.get(match[1], match[0]))
        end = match.end()
    add(text[end:])
    return "".join(parts)


def _known_fields(metadata: ManifestMapping, spec: ManifestMapping) -> dict[str, str]:
    """The values that `fieldRef` can refer to, by path."""
    fields: dict[str, Value] = {}
    for path in _FIELDS:
        section, _, name = path.partition(".")
        fields[path] = (metadata if section == "metadata" else spec).values.get(name)
    for section in ("labels", "annotations"):
        for key, value in metadata.table(section).values.items():
            fields[f"metadata.{section}['{key}']"] = value
    return {path: value for path, value in fields.items() if isinstance(value, str)}
