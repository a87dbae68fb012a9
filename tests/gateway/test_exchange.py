"""Requests whose guests run inline: the response is complete in one step of the event loop, and the same as any other.

The tests call the gateway in this process, as an ASGI server does, so that they can count the steps.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.types import Message

from tests.conftest import ROOT
from tests.support import guests
from tests.support.asgi import TIMEOUT, Answer, Client, scope
from tests.support.config import config as config_text
from tests.support.config import guest, module
from tests.support.error_body import error_body
from tests.support.farm import Target
from tests.support.guests import CLOCK, FOREVER, READS, burns
from wagi_gateway.config.file import read_config
from wagi_gateway.errors import BadOutput, GuestFailed
from wagi_gateway.gateway.gateway import Gateway
from wagi_gateway.sandbox.backend import choose
from wagi_gateway.sandbox.inline import TIME_SLICE
from wagi_gateway.site.load import load

pytestmark = pytest.mark.skipif(not choose().can_run_inline, reason="this wasmtime runs no guest inline")

LONG = burns(int(10_000 * TIME_SLICE))
"""Instructions that run for ten times the time slice of an inline guest."""
SUMS = f"""(module {guests.FD_WRITE} {guests.FD_READ}
 (memory (export "memory") 3)
 (data (i32.const 512) {guests.wat_string(guests.CONTENT_TYPE)})
 {guests.WRITE} {READS.removeprefix(guests.FD_READ)}
 (func (export "_start") (call $write (i32.const 1) (i32.const 512) (i32.const 26)) (call $read)))"""
HELLO_THEN = f"(call $write (i32.const 1) (i32.const 512) (i32.const {len(guests.CONTENT_TYPE) + 6}))"
MODULES = {
    "hello": guests.if_argument(""),
    "slow": guests.if_argument(LONG, fields=CLOCK),
    "forever": guests.if_argument(FOREVER),
    "streams": guests.if_argument(f"{HELLO_THEN} {FOREVER}"),
    "late": guests.if_argument(f"{HELLO_THEN} {LONG}", fields=CLOCK),
    "sums": SUMS,
    "jumps": guests.says(b"location: /hello\n\n"),
    "jumps-twice": guests.says(b"location: /jumps\n\n"),
    "jumps-and-goes-on": guests.says(
        b"location: /hello\n\n",
        then=f"(drop (call $close (i32.const 1))) {LONG} unreachable",
        imports=f'(import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32))) {CLOCK}',
    ),
    "circles": guests.says(b"location: /circles\n\n"),
    "traps": guests.TRAP,
    "logs": guests.says(guests.CONTENT_TYPE + b"logged\n", stderr=b"a line\n"),
    "logs-much": guests.says(guests.CONTENT_TYPE + b"logged\n", stderr=b"a line\n" * 200),
    "fails": guests.exits(3, guests.CONTENT_TYPE + b"failed\n"),
    "only-one": guests.if_argument(LONG, fields=CLOCK + "(global i32 (i32.const 1))"),
}


async def no_message() -> Message:
    """The `receive` of a connected client that sends nothing."""
    await asyncio.Event().wait()
    return {}


async def expire(deadline: asyncio.Timeout, begun: asyncio.Event) -> None:
    """Ends a timeout once the response has begun."""
    await begun.wait()
    deadline.reschedule(0)


@pytest.fixture
def config(tmp_path: Path, cache: Path) -> Path:
    path = tmp_path / "modules.toml"
    for name, wat in MODULES.items():
        (tmp_path / f"{name}.wat").write_text(wat)
    limits = {"only-one": {"concurrency": 1, "queue": 0}}
    modules = [guest(f"/{name}", name, **limits.get(name, {})) for name in MODULES]
    path.write_text(config_text(*modules, cache={"directory": str(cache)}, limits={"time": "2s"}))
    return path


@asynccontextmanager
async def served(config: Path) -> AsyncIterator[Client]:
    async with asyncio.timeout(2 * TIMEOUT), Gateway(load(read_config(config))) as gateway:
        yield Client(gateway)


@pytest.mark.parametrize(
    ("name", "given", "status", "body"),
    [
        ("hello", {}, 200, b"hello\n"),
        ("hello", {"method": "HEAD"}, 200, b""),
        ("hello", {"version": "1.0"}, 200, b"hello\n"),
        ("jumps", {}, 200, b"hello\n"),
        ("jumps-twice", {}, 200, b"hello\n"),
        ("circles", {}, 502, BadOutput.public),
        ("traps", {}, 500, GuestFailed.public),
        ("logs", {}, 200, b"logged\n"),
        ("fails", {}, 200, b"failed\n"),
    ],
    ids="GET|HEAD|HTTP/1.0|redirect|redirects|endless redirect|trap|log|exit code".split("|"),
)
def test_the_same_answer_in_one_step(
    config: Path, name: str, given: dict[str, str], status: int, body: bytes | str
) -> None:
    async def main() -> tuple[Answer, Answer]:
        async with served(config) as client:
            return await client.ask(f"/{name}", **given), await client.ask_until_inline(f"/{name}", **given)  # type: ignore[arg-type]

    first, inline = asyncio.run(main())
    assert not first.at_once
    for answer in (first, inline):
        expected = (
            body if isinstance(body, bytes) else error_body(body, answer.headers[b"x-request-id"].decode()).encode()
        )
        assert (answer.status, answer.body, answer.is_whole) == (status, expected, True)
    # The response of a guest on a thread that has printed all and not ended yet has no Content-Length.
    length = inline.headers[b"content-length"]
    assert first.headers.keys() | {b"content-length"} == inline.headers.keys()
    assert first.headers.get(b"content-length", length) == length


@pytest.mark.parametrize("size", [0, 4, 100_000, 2 * 2**20], ids=["none", "small", "large", "spooled to disk"])
def test_bodies(config: Path, size: int) -> None:
    async def main() -> list[bytes]:
        async with served(config) as client:
            await client.ask_until_inline("/sums")
            return [(await client.ask("/sums", method="POST", body=bytes(size))).body for _ in range(30)]

    assert set(asyncio.run(main())) == {size.to_bytes(4, "little") + bytes(4)}


@pytest.mark.parametrize(
    ("name", "given", "body"),
    [
        ("slow", {}, b"hello\n"),
        ("slow", {"method": "HEAD"}, b""),
        ("slow", {"version": "1.0"}, b"hello\n"),
        ("late", {}, b"hello\n" + guests.CONTENT_TYPE + b"hello\n"),
        ("late", {"version": "1.0"}, b"hello\n" + guests.CONTENT_TYPE + b"hello\n"),
    ],
    ids="GET|HEAD|HTTP/1.0|streamed|complete at the end".split("|"),
)
def test_the_answer_of_a_restarted_guest(config: Path, name: str, given: dict[str, str], body: bytes) -> None:
    async def main() -> Answer:
        async with served(config) as client:
            while True:  # the watchdog of a busy machine may be too late for a guest
                await client.ask_until_inline(f"/{name}")
                answer = await client.ask(f"/{name}?go", **given)  # type: ignore[arg-type]
                if not answer.at_once:
                    return answer

    answer = asyncio.run(main())
    assert (answer.status, answer.body, answer.is_whole) == (200, body, True)


@pytest.mark.parametrize(("name", "statuses"), [("forever", {0}), ("streams", {0, 200})])
def test_a_client_leaves_while_its_guest_is_restarted(config: Path, name: str, statuses: set[int]) -> None:
    async def main() -> Answer:
        async with served(config) as client:
            await client.ask_until_inline(f"/{name}")
            answer = await client.ask(f"/{name}?go", leaves=True)
            assert (await client.ask("/hello")).body == b"hello\n"
            return answer

    answer = asyncio.run(main())
    assert answer.status in statuses
    assert not answer.is_whole


def test_limits_are_left_once(config: Path) -> None:
    """A guest leaves the limit exactly once, whether it ends inline or is restarted on a thread."""

    async def main() -> list[int]:
        async with served(config) as client:
            await client.ask_until_inline("/only-one")
            statuses = [(await client.ask("/only-one")).status for _ in range(20)]
            both = await asyncio.gather(*(client.ask("/only-one?go") for _ in range(2)))
            return [*statuses, *sorted(answer.status for answer in both), (await client.ask("/only-one")).status]

    assert asyncio.run(main()) == [200] * 21 + [503, 200]


@pytest.mark.usefixtures("propagating_loggers")
@pytest.mark.parametrize("name", ["hello", "jumps", "logs-much", "jumps-and-goes-on", "circles"])
def test_a_request_is_over_once(config: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """A request is over when the last of its guests has ended and its standard error is logged."""
    caplog.set_level("INFO")

    async def main() -> int:
        async with served(config) as client:
            for _ in range(12):
                await client.ask(f"/{name}")
            assert isinstance(client.app, Gateway)
            generation = client.app.generation
            await generation.over()
        return generation.users

    assert asyncio.run(main()) == 0
    lines = [record.getMessage() for record in caplog.records]
    assert sum(line.startswith("GET ") for line in lines) == 12
    if name == "jumps-and-goes-on":
        assert lines.count("trap: wasm `unreachable` instruction executed") == 12


@pytest.mark.parametrize("name", ["forever", "streams"], ids=["before the response", "in the response"])
def test_a_cancelled_request_is_answered_and_stays_cancelled(config: Path, name: str) -> None:
    """A server cancels requests when it stops, and a timeout around the application does as well."""

    async def main() -> list[Message]:
        async with served(config) as client:
            sent: list[Message] = []
            begun = asyncio.Event()
            waiting: list[asyncio.Task[None]] = []

            async def send(message: Message) -> None:
                sent.append(message)
                begun.set()

            async def ask() -> None:
                async with asyncio.timeout(None) as deadline:
                    if name == "forever":
                        deadline.reschedule(asyncio.get_running_loop().time() + 0.05)
                    else:
                        waiting.append(asyncio.create_task(expire(deadline, begun)))
                    await client.app(scope(f"/{name}", query="go"), no_message, send)

            with pytest.raises(TimeoutError):
                await ask()
            assert (await client.ask("/hello")).status == 200
            assert isinstance(client.app, Gateway)
            assert client.app.generation.users <= 1  # the stopped guest may still be ending
            return sent

    start, *rest = asyncio.run(main())
    if name == "forever":
        assert (start["status"], rest[-1]["more_body"]) == (503, False)
    else:
        assert start["status"] == 200
        assert all(message["more_body"] for message in rest)


def test_a_defect_is_answered_and_raised(config: Path) -> None:
    """The server logs the traceback; the client gets the request id, which the log has as well."""

    async def main() -> list[Message]:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        site = replace(load(read_config(config)), router=None)  # type: ignore[arg-type]
        async with Gateway(site) as gateway:
            with pytest.raises(AttributeError, match="match"):
                await gateway(scope("/hello"), no_message, send)
        return sent

    start, end = asyncio.run(main())
    request_id = dict(start["headers"])[b"x-request-id"].decode()
    assert (start["status"], end["body"].decode()) == (500, error_body("Internal Server Error", request_id))


@pytest.fixture
def no_gc() -> Iterator[None]:
    """Disables the garbage collector, which then runs only by `gc.collect()`."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_gc")
def test_a_request_leaves_no_work_for_the_collector(config: Path) -> None:
    async def main() -> int:
        async with served(config) as client:
            for name in ("hello", "jumps", "logs"):
                await client.ask_until_inline(f"/{name}")
            await client.ask("/sums", method="POST", body=b"body")
            gc.collect()
            for _ in range(100):
                for name in ("hello", "jumps", "logs"):
                    await client.ask(f"/{name}")
                await client.ask("/sums", method="POST", body=b"body")
            return gc.collect()

    assert asyncio.run(main()) == 0


@pytest.mark.usefixtures("no_gc")
def test_a_call_leaves_no_work_for_the_collector(tmp_path: Path, cache: Path) -> None:
    async def main() -> int:
        async with served(path) as client:
            assert b"hello from the target" in (await client.ask("/fetch")).body
            gc.collect()
            for _ in range(50):
                await client.ask("/fetch")
            return gc.collect()

    path = tmp_path / "modules.toml"
    with Target() as target:
        fetch, environment = ROOT / "samples/assemblyscript/fetch.wasm", {"URL": f"{target.url}/hello"}
        fetching = module("/fetch", fetch, allowed_hosts=[target.url], environment=environment)
        path.write_text(config_text(fetching, cache={"directory": str(cache)}))
        assert asyncio.run(main()) == 0
