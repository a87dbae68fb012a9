"""Manifests of other hosts."""

from __future__ import annotations

from pathlib import Path

from wagi_gateway.doctor.foreign_manifest import foreign_manifests


def test_each_manifest_is_named_once(tmp_path: Path) -> None:
    for name in ("spin.toml", "invoice.toml", "modules.toml"):
        (tmp_path / name).touch()
    (tmp_path / "wadm.yaml").mkdir()
    assert list(foreign_manifests([tmp_path, tmp_path, tmp_path / "nowhere"])) == [
        (
            "warning",
            f"{tmp_path}/spin.toml: is a manifest for Spin, which nothing here reads",
            f"wagi-gateway convert {tmp_path}/spin.toml prints its [[module]] tables; then remove it",
        ),
        (
            "warning",
            f"{tmp_path}/invoice.toml: is a manifest for Bindle, which nothing here reads",
            "its modules are served by [[module]] in modules.toml; remove it",
        ),
    ]
