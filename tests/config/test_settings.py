"""The models of modules.toml and their JSON Schema."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import BaseModel, ValidationError

from wagi_gateway.config.settings import (
    LEGACY_TOP_LEVEL,
    BuildConfig,
    Config,
    Limits,
    ModuleConfig,
    VolumeConfig,
    nested_models,
)


def test_models_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Limits().time = 3  # type: ignore[misc]


def test_the_schema_knows_every_setting() -> None:
    schema = Config.model_json_schema()
    assert schema["additionalProperties"] is False
    assert set(schema["$defs"]["Limits"]["properties"]) == set(Limits.model_fields)
    assert schema["$defs"]["Limits"]["properties"]["time"]["type"] == ["string", "number"]


def test_the_schema_accepts_legacy_keys() -> None:
    properties = Config.model_json_schema()["properties"]
    assert {name for name in LEGACY_TOP_LEVEL if properties[name]["deprecated"]} == set(LEGACY_TOP_LEVEL)


def test_a_volume_is_a_path_or_a_table() -> None:
    module = ModuleConfig.model_validate({"route": "/", "module": "m", "volumes": {"/a": "b", "/c": {"path": "d"}}})
    assert [volume.path for volume in module.volumes.values()] == ["b", "d"]


def test_a_build_has_a_command_and_defaults() -> None:
    build = ModuleConfig.model_validate({"route": "/", "module": "m", "build": {"command": ["make", ""]}}).build
    assert build == BuildConfig(command=("make", ""), directory=".", watch=())


@pytest.mark.parametrize(
    ("annotation", "models"),
    [
        (Limits, [Limits]),
        (dict[str, VolumeConfig], [VolumeConfig]),
        (tuple[ModuleConfig, ...] | None, [ModuleConfig]),
        (Annotated[Limits, "of a module"], [Limits]),
        (dict[str, str], []),
    ],
    ids=str,
)
def test_models_inside_an_annotation(annotation: object, models: list[type[BaseModel]]) -> None:
    assert list(nested_models(annotation)) == models
