"""The ConfigMaps and Secrets that a Pod refers to, each fetched once for one preparation of the Pod."""

from __future__ import annotations

import base64
import binascii

from ...errors import GatewayError
from ..api import CONFIG_MAPS, SECRETS, Api, ApiError, Kind

MAX_OBJECT = 2**20
"""Bytes of all values of one object (the API server's own bound for a ConfigMap or Secret)."""


MAX_TOTAL = 32 * 2**20
"""Bytes of all objects that one preparation of a Pod reads."""


class ReferenceMissing(GatewayError):
    """An object or key that is not optional does not exist, or its content is unusable."""


class References:
    """Reads objects of one namespace."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._found: dict[tuple[str, str], dict[str, bytes] | None] = {}
        self._size = 0

    async def config_map(self, name: str, *, optional: bool = False) -> dict[str, bytes]:
        """The keys of a ConfigMap; none if it is optional and absent. Raises ReferenceMissing, ApiError."""
        return await self._read(CONFIG_MAPS, "configmap", name, optional=optional)

    async def secret(self, name: str, *, optional: bool = False) -> dict[str, bytes]:
        """The keys of a Secret; none if it is optional and absent. Raises ReferenceMissing, ApiError."""
        return await self._read(SECRETS, "secret", name, optional=optional)

    async def _read(self, kind: Kind, noun: str, name: str, *, optional: bool) -> dict[str, bytes]:
        key = noun, name
        if key not in self._found:
            self._found[key] = await self._fetch(kind, noun, name)
        if (found := self._found[key]) is not None:
            return found
        if optional:
            return {}
        raise ReferenceMissing(f'{noun} "{name}" not found')

    async def _fetch(self, kind: Kind, noun: str, name: str) -> dict[str, bytes] | None:
        try:
            found = await self._api.get(kind, name, self._namespace)
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        texts, encoded = found.get("data") or {}, found.get("binaryData") or {}
        if noun == "secret":
            texts, encoded = {}, texts
        try:
            values = {key: str(text).encode() for key, text in texts.items()}
            values |= {key: base64.b64decode(text, validate=True) for key, text in encoded.items()}
        except (binascii.Error, ValueError):
            raise ReferenceMissing(f'{noun} "{name}" holds a value that is not base64') from None
        size = sum(map(len, values.values()))
        if size > 2 * MAX_OBJECT:
            raise ReferenceMissing(f'{noun} "{name}" has more than {2 * MAX_OBJECT} bytes')
        if self._size + size > MAX_TOTAL:
            what = f"the ConfigMaps and Secrets of the Pod have more than {MAX_TOTAL} bytes"
            raise ReferenceMissing(f'{noun} "{name}": {what}; divide the Pod')
        self._size += size
        return values
