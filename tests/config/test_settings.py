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
    ("volumes", "root", "guest", "all_volumes"),
    [
        ({}, "site", "/app", {"/app": "site"}),
        ({}, {"path": "/srv/site/"}, "/app", {"/app": "/srv/site/"}),
        ({"/app/files": "site/files"}, "site", "/app", {"/app": "site", "/app/files": "site/files"}),
        ({"/srv": "."}, "shop/public", "/srv/shop/public", {"/srv": "."}),
        ({"/": "shop"}, "./shop", "/", {"/": "shop"}),
        ({"/a": "shop", "/b": {"path": "shop/public"}}, "shop/public/x", "/b/x", {"/a": "shop", "/b": "shop/public"}),
        ({"/a": "sho", "/t": {"temporary": "t"}}, "shop", "/app", {"/app": "shop", "/a": "sho", "/t": None}),
    ],
    ids=str,
)
def test_a_document_root_is_where_its_volume_is(
    volumes: dict[str, object], root: object, guest: str, all_volumes: dict[str, str | None]
) -> None:
    table = {"route": "/...", "module": "m", "volumes": volumes, "document_root": root}
    module = ModuleConfig.model_validate(table)
    assert module.guest_document_root == guest
    assert {name: volume.path for name, volume in module.volumes.items()} == all_volumes
    assert "/app" not in all_volumes or module.volumes["/app"].read_only
    assert (module.argv_mode, module.has_own_temporary) == ("none", True)
    assert ModuleConfig.model_validate(table | {"argv_mode": "wagi"}).argv_mode == "wagi"


@pytest.mark.parametrize(
    "wrong",
    [
        {"index": ["a/b"]},
        {"index": [".env"]},
        {"front_controller": "../x.php"},
        {"front_controller": "/x.php"},
        {"front_controller": "a/.git"},
        {"scripts": ["php"]},
        {"scripts": [".p hp"]},
        {"path": ""},
        {"path": "a\0b"},
        {"roots": 1},
    ],
    ids=str,
)
def test_a_wrong_document_root(wrong: dict[str, object]) -> None:
    root = {"path": "site"} | wrong
    with pytest.raises(ValidationError, match="document_root"):
        ModuleConfig.model_validate({"route": "/...", "module": "m", "document_root": root})


@pytest.mark.parametrize("guest", ["/app", "/app/", "app", "/./app"])
@pytest.mark.parametrize("volume", ["site/files", {"temporary": "t"}], ids=str)
def test_a_document_root_whose_place_another_volume_takes(guest: str, volume: object) -> None:
    table = {"route": "/...", "module": "m", "document_root": "site", "volumes": {guest: volume}}
    with pytest.raises(ValidationError, match="guests would see it as /app, but volumes has another directory there"):
        ModuleConfig.model_validate(table)


@pytest.mark.parametrize("guest", ["/tmp", "/tmp/", "tmp"])
def test_a_volume_takes_the_place_of_the_temporary_directory(guest: str) -> None:
    table = {"route": "/...", "module": "m", "document_root": "site", "volumes": {guest: "files"}}
    assert not ModuleConfig.model_validate(table).has_own_temporary


@pytest.mark.parametrize("table", [{"document_root": 3}, {"document_root": "a", "volumes": 3}, 3], ids=str)
def test_a_table_that_is_none(table: object) -> None:
    with pytest.raises(ValidationError):
        ModuleConfig.model_validate(table)


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
