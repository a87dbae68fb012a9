"""The definition of a Pod's gateway, which restarts when it changes."""

from __future__ import annotations

import json

from ...config.pod.workload import ANNOTATIONS
from ..api import Object


def definition_of(pod: Object) -> str:
    """What a gateway is made of and may change while the Pod lives: images, and the WAGI annotations."""
    annotations = pod["metadata"].get("annotations") or {}
    return json.dumps(
        [
            [(one["name"], one.get("image")) for one in pod["spec"]["containers"]],
            {name: value for name, value in annotations.items() if name.startswith(ANNOTATIONS)},
        ],
        sort_keys=True,
    )
