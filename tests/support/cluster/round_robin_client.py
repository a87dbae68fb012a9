"""Requests the endpoints of a Service in turn: `round_robin_client.py PORT/PATH PAUSE`, by the standard library alone.

The pause between two requests is in seconds. Each line of its input has the endpoints, as `ADDRESS=true` or
`ADDRESS=false`; it ends with its input. Each line of its output is a number of ready endpoints, or the result of a
request.
"""

from __future__ import annotations

import http.client
import itertools
import sys
import threading
import time

TIMEOUT = 30.0


class _Endpoints:
    """The ready endpoints, from lines of `kubectl get --watch`."""

    def __init__(self) -> None:
        self.ready: list[str] = []
        self.ended = False

    def read(self) -> None:
        for line in sys.stdin:
            states = [one.split("=") for one in line.split()]
            self.ready = [address for address, ready in states if ready == "true"]
            sys.stdout.write(f"ready {len(self.ready)}\n")
        self.ended = True


def main() -> None:
    """The client."""
    port, slash, path = sys.argv[1].partition("/")
    pause = float(sys.argv[2])
    endpoints = _Endpoints()
    threading.Thread(target=endpoints.read, daemon=True).start()
    for number in itertools.count():
        if endpoints.ended:
            return
        if ready := endpoints.ready:
            address = ready[number % len(ready)]
            sys.stdout.write(f"{_answer(address, int(port), slash + path)}\n")
            sys.stdout.flush()
        time.sleep(pause)


def _answer(address: str, port: int, path: str) -> str:
    connection = http.client.HTTPConnection(address, port, timeout=TIMEOUT)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return f"{response.status} {address} {response.read().decode().strip()}"
    except (OSError, http.client.HTTPException) as error:
        return f"failed {address} {error!r}"
    finally:
        connection.close()


if __name__ == "__main__":
    main()
