"""The kinds of volumes that the node makes."""

from __future__ import annotations

from collections.abc import Mapping

from ...errors import GatewayError

READ_ONLY = ("configMap", "secret", "projected", "downwardAPI")
"""Kinds whose files a guest cannot change, whatever `readOnly` says (Kubernetes since 1.9.6)."""
SUPPORTED = (*READ_ONLY, "emptyDir", "hostPath")


class VolumeNotReady(GatewayError):
    """A volume cannot be made, perhaps because an object does not exist yet."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(f'MountVolume.SetUp failed for volume "{name}" : {what}')


def kind_of(volume: Mapping[str, object]) -> str:
    """The kind of an entry of `spec.volumes`; without one it is an emptyDir."""
    return next((key for key, value in volume.items() if key != "name" and value is not None), "emptyDir")
