"""The policies of a Pod's fields."""

from __future__ import annotations

import pytest

from wagi_gateway.config.pod import fields
from wagi_gateway.config.pod.mapping import FieldPolicy
from wagi_gateway.config.settings import ModuleConfig

TABLES = {name: table for name, table in vars(fields).items() if name.isupper() and isinstance(table, dict)}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_a_warning_and_an_error_have_a_reason_and_no_other_policy_has(table: dict[str, FieldPolicy]) -> None:
    for name, policy in table.items():
        assert bool(policy.why) == (policy.kind in ("warning", "error")), name


def test_the_annotation_knows_keys_of_a_module_alone() -> None:
    assert fields.MODULE.keys() <= ModuleConfig.model_fields.keys()
