"""The connection pool of one module: a connection is used again only if nothing is left over from a response."""

from __future__ import annotations

import httpcore2


class Connection(httpcore2.HTTPConnection):
    """A connection that is closed instead of used again if bytes follow the end of its last response.

    httpcore keeps such bytes in its parser, where they would begin the response to the next request. Its attributes
    `_connection` and `_h11_state` are undocumented: tests/outbound/test_httpcore_internals.py.
    """

    def has_expired(self) -> bool:
        """Whether the idle connection may not be used again; the pool asks before each use."""
        return super().has_expired() or self._has_surplus()

    def _has_surplus(self) -> bool:
        connection = self._connection
        if not isinstance(connection, httpcore2.HTTP11Connection) or not connection.is_idle():
            return False
        data, _is_closed = connection._h11_state.trailing_data
        return bool(data)


class Pool(httpcore2.ConnectionPool):
    """A pool of such connections."""

    def create_connection(self, origin: httpcore2.Origin) -> httpcore2.ConnectionInterface:
        """A connection to an origin, not yet opened."""
        return Connection(
            origin,
            ssl_context=self._ssl_context,
            keepalive_expiry=self._keepalive_expiry,
            network_backend=self._network_backend,
        )
