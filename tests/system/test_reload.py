"""Reloads of a running server."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import resource
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import httpx
import pytest
import trustme

from tests.conftest import Serve, Server, wait_until
from tests.support import guests
from tests.support.attacks import LOOP, get, send, together, wait_for_work
from tests.support.config import guest
from tests.support.measurement import without_coverage
from tests.support.reloading import hang_up, reload, reloads, write
from wagi_gateway.app import create_app
from wagi_gateway.config.file import ConfigFile, read_config
from wagi_gateway.errors import StartupError
from wagi_gateway.site.site import Site

HELLO = guest("/hello", "hello")
EXTRA = guest("/extra", "hello")
QUIET = "[log]\naccess = false\n"
BROKEN = '[limits]\ntime = "soon"\n'


def says(text: str) -> str:
    """A guest that prints a text."""
    return guests.says(guests.CONTENT_TYPE + text.encode())


def is_said(server: Server, text: str) -> bool:
    return server.get("/hello").text == text


def open_files(server: Server) -> set[str]:
    """The paths of the server's open files."""
    paths = set()
    for entry in Path(f"/proc/{server.process.pid}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            paths.add(os.readlink(entry))
    return paths


@contextmanager
def load(server: Server) -> Iterator[list[str]]:
    """Clients that send requests all the time; yields their wrong responses."""
    wrong: list[str] = []
    is_over = threading.Event()

    def ask() -> None:
        with httpx.Client(trust_env=False, timeout=30) as client:
            while not is_over.is_set():
                try:
                    response = client.get(f"{server.url}/hello")
                except httpx.HTTPError as error:
                    wrong.append(repr(error))
                else:
                    if response.status_code != 200 or not response.text.startswith("hello"):
                        wrong.append(f"{response.status_code} {response.text}")

    clients = [threading.Thread(target=ask) for _ in range(3)]
    for client in clients:
        client.start()
    try:
        yield wrong
    finally:
        is_over.set()
        for client in clients:
            client.join()


@contextmanager
def wrk(server: Server) -> Iterator[None]:
    """Runs wrk during the `with`; fails if a request has failed."""
    command = ["wrk", "-t1", "-c16", "-d600s", f"{server.url}/hello"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            output = process.communicate()[0]
    assert "requests in" in output
    assert "Non-2xx" not in output
    assert "Socket errors" not in output, output


def configs(count: int) -> Iterator[tuple[str | None, str]]:
    """Successive configurations: another module, another engine, an added or removed route, a mistake."""
    for number in range(count):
        limits = f'[limits]\nmemory = "{64 + number % 2}MiB"\n' if number % 10 > 4 else ""
        config = QUIET + (BROKEN if number % 7 == 6 else limits) + HELLO + (EXTRA if number % 2 else "")
        yield (says(f"hello {number}\n") if number % 3 else None), config


@pytest.mark.parametrize(("workers", "count"), [("1", 100), ("2", 10)])
def test_no_request_fails(serve: Serve, workers: str, count: int) -> None:
    with without_coverage():
        server = serve(QUIET + HELLO, "--workers", workers, hello=says("hello\n"))
    with load(server) as wrong, wrk(server):
        for wat, config in configs(count):
            if wat:
                write(server, "hello.wat", wat)
            reload(server, config)
    assert wrong == []
    assert reloads(server) == count
    assert server.log.count(" not reloaded") == count // 7
    assert "Traceback" not in server.log
    assert "takes its place" not in server.log


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_broken_configuration_changes_nothing(serve: Serve, workers: str) -> None:
    server = serve(HELLO, "--workers", workers, hello=guests.HELLO)
    reload(server, BROKEN + EXTRA)
    server.wait_for_log(r'ERROR +reload: \S+modules.toml: limits.time = "soon": not a duration')
    assert (server.get("/hello").text, server.get("/extra").status_code) == ("hello world\n", 404)
    write(server, "hello.wat", "(module")
    reload(server, HELLO)
    server.wait_for_log(r'ERROR +reload: \S+ \[\[module\]\] 1 \(/hello\): module = "hello.wat": does not compile')
    assert server.get("/hello").text == "hello world\n"
    (server.log_path.with_name("modules.toml")).unlink()
    reload(server)
    server.wait_for_log("modules.toml: cannot be read: No such file")
    assert server.get("/hello").text == "hello world\n"
    write(server, "hello.wat", says("mended\n"))
    reload(server, EXTRA)
    answers = together(8, lambda _: httpx.get(f"{server.url}/extra", trust_env=False, timeout=30).text)
    assert set(answers) == {"mended\n"}
    assert server.get("/hello").status_code == 404


def test_a_response_ends_as_it_began(serve: Serve) -> None:
    slow = guests.sleeps(1_500_000_000, guests.CONTENT_TYPE + b"old " * 20_000, b"to the end\n")
    server = serve(guest("/slow", "slow"), slow=slow)
    with server.client.stream("GET", f"{server.url}/slow") as response:
        pieces = response.iter_bytes()
        body = next(pieces)
        write(server, "slow.wat", says("new\n"))
        reload(server, '[limits]\nmemory = "64MiB"\n' + guest("/slow", "slow"))
        assert httpx.get(f"{server.url}/slow", trust_env=False, timeout=30).text == "new\n"
        body += b"".join(pieces)
    assert body == b"old " * 20_000 + b"to the end\n"


def test_a_route_that_goes_away_ends_no_request(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    slow = guests.sleeps(500_000_000, guests.CONTENT_TYPE + b"from the beginning ", b"to the end\n")
    config = HELLO + guest("/slow", "slow") + 'volumes = { "/data" = "data", "/tmp" = { temporary = "t" } }\n'
    server = serve(config, hello=guests.HELLO, slow=slow)
    assert str(tmp_path / "data") in open_files(server)
    with server.client.stream("GET", f"{server.url}/slow") as response:
        reload(server, HELLO)
        assert httpx.get(f"{server.url}/slow", trust_env=False, timeout=30).status_code == 404
        assert str(tmp_path / "data") in open_files(server)
        assert response.read() == b"from the beginning to the end\n"
    wait_until(lambda: str(tmp_path / "data") not in open_files(server))


def test_limits_are_counted_over_a_reload(serve: Serve) -> None:
    config = guest("/hold", "hold", concurrency=1, queue=0, time="5s")
    server = serve(config, hold=LOOP)
    with send(server, get("/hold?now")):
        wait_for_work(server, "/hold")
        reload(server, config + 'environment = { ANOTHER = "one" }\n')
        assert server.get("/hold").status_code == 503
    wait_until(lambda: server.get("/hold").status_code == 200)


def test_a_temporary_volume_is_kept(serve: Serve) -> None:
    with_volume = HELLO + 'volumes = { "/tmp" = { temporary = "t" } }\n'
    server = serve(with_volume, hello=guests.HELLO)

    def volumes() -> set[str]:
        return {path for path in open_files(server) if "/wagi-gateway-" in path}

    before = volumes()
    reload(server, with_volume.replace("/tmp", "/temp"))
    assert volumes() == before != set()
    reload(server, HELLO)
    wait_until(lambda: not any(map(os.path.exists, before)))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_storm_of_signals(serve: Serve, workers: str) -> None:
    server = serve(HELLO, "--workers", workers, hello=guests.HELLO)
    write(server, "hello.wat", says("hello again\n"))
    with load(server) as wrong:
        for _ in range(100):
            hang_up(server)
        server.wait_for_log("reloaded: ")
        wait_until(lambda: server.get("/hello").text == "hello again\n")
    assert wrong == []
    assert "Traceback" not in server.log
    reload(server, EXTRA)  # it may have counted a reload of the storm
    wait_until(lambda: server.get("/extra").text == "hello again\n")


def address_space(server: Server) -> int:
    match = re.search(r"VmSize:\s+(\d+) kB", Path(f"/proc/{server.process.pid}/status").read_text())
    assert match
    return int(match[1])


def test_nothing_piles_up(serve: Serve) -> None:
    def warm_up() -> None:
        together(8, lambda _: [server.get("/hello") for _ in range(10)])

    server = serve(QUIET + HELLO, hello=says("hello\n"))
    for wat, config in configs(10):
        write(server, "hello.wat", wat or says("hello\n"))
        reload(server, config)
        warm_up()
    memory, space, descriptors = server.memory(), address_space(server), server.descriptors()
    for wat, config in configs(100):
        write(server, "hello.wat", wat or says("hello\n"))
        reload(server, config)
        server.get("/hello")
    reload(server, QUIET + HELLO)
    warm_up()
    # An engine reserves a terabyte of address space, which shows a leaked engine.
    wait_until(lambda: address_space(server) < space + 2**28)
    # The number of concurrent guests varies, and each leaves its pipes for reuse.
    assert server.descriptors() < descriptors + 8 * 4 + 8
    assert server.memory() < memory + 16 * 2**20


def test_what_only_a_start_reads(serve: Serve) -> None:
    server = serve(HELLO, hello=guests.HELLO)
    changed = '[server]\nworkers = 3\nsend_timeout = "5s"\nkeep_alive = "2s"\nconcurrency = 5\n[log]\nformat = "json"\n'
    reload(server, changed + HELLO)
    server.wait_for_log(r"WARNING reload: server.workers = 3: has no effect before a restart; it is 1")
    server.wait_for_log(r"WARNING reload: server.send_timeout = 5s: has no effect before a restart; it is 60s")
    assert "keep_alive" not in server.log
    assert server.get("/hello").text == "hello world\n"
    server.wait_for_log(r'"message": "GET /hello"')


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_socket_that_is_to_speak_tls(serve: Serve, workers: str) -> None:
    server = serve(HELLO, "--workers", workers, hello=guests.HELLO)
    pem = server.log_path.with_name("certificate.pem")
    trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(pem))
    reload(server, '[server]\ntls_cert = "certificate.pem"\n' + HELLO + EXTRA)
    server.wait_for_log("whether the socket speaks TLS cannot change before a restart")
    assert server.get("/extra").status_code == 404


def test_a_worker_that_cannot_reload_is_replaced(serve: Serve) -> None:
    server = serve(HELLO, "--workers", "2", hello=guests.HELLO)
    pid = server.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children")
    before = {int(child) for child in children.read_text().split()}
    write(server, "hello.wat", says("hello again\n"))
    worker = max(before)
    os.kill(worker, signal.SIGKILL)
    hang_up(server)
    server.wait_for_log("reloaded: 1 route ")
    answers = together(8, lambda _: httpx.get(f"{server.url}/hello", trust_env=False, timeout=30).text)
    assert set(answers) == {"hello again\n"}
    wait_until(lambda: len(children.read_text().split()) == len(before))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_watched_files(serve: Serve, workers: str) -> None:
    server = serve(HELLO, "--workers", workers, "--reload", hello=guests.HELLO)
    write(server, "hello.wat", says("another\n"))
    wait_until(lambda: server.get("/hello").text == "another\n")
    write(server, "modules.toml", HELLO + guest("/next", "next"))
    server.wait_for_log(r"there is no file \S+next.wat")
    write(server, "next.wat", says("next\n"))
    wait_until(lambda: server.get("/next").text == "next\n")
    wait_until(lambda: reloads(server) == 3)  # one failed
    write(server, "unrelated", "")
    write(server, "hello.wat", says("done\n"))
    wait_until(lambda: reloads(server) == 4)
    assert server.get("/hello").text == "done\n"


def test_a_reload_that_the_system_has_no_room_for(serve: Serve) -> None:
    """The limit on descriptors grows with each attempt until a reload succeeds."""
    server = serve(HELLO, hello=guests.HELLO)
    server.get("/hello")
    write(
        server, "modules.toml", HELLO + guest("/extra", "hello", memory="300MiB")
    )  # the new settings need another engine
    numbers = range(server.descriptors() - 4, server.descriptors() + 60, 3)
    usual = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
    failures = 0
    for number in numbers:
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (number, usual[1]))
        reload(server)
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, usual)
        assert server.get("/hello").status_code == 200
        if server.get("/extra").status_code == 200:
            break
        failures += 1
    assert 2 < failures < len(numbers)
    assert "cannot be loaded: Too many open files" in server.log
    assert server.descriptors() < numbers.stop


@pytest.mark.parametrize("options", [(), ("--reload",)], ids=["asked", "watched"])
def test_a_config_map_that_the_kubelet_updates(serve: Serve, tmp_path: Path, options: tuple[str, ...]) -> None:
    server = serve(HELLO, *options, hello=guests.HELLO)
    names = ("modules.toml", "hello.wat")
    for number, text in enumerate(("hello one\n", "hello two\n")):
        # Like the kubelet: each version has a directory, and a rename replaces the link to it.
        (version := tmp_path / f"..{number}").mkdir()
        (version / "modules.toml").write_text(HELLO)
        (version / "hello.wat").write_text(says(text))
        (tmp_path / "..data_tmp").symlink_to(version.name)
        (tmp_path / "..data_tmp").replace(tmp_path / "..data")
        for name in names if number == 0 else ():
            (tmp_path / "link").symlink_to(f"..data/{name}")
            (tmp_path / "link").replace(tmp_path / name)
        if number:
            shutil.rmtree(tmp_path / f"..{number - 1}")
        if not options:
            reload(server)
        wait_until(partial(is_said, server, text))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "hello.wat").write_text(guests.HELLO)
    path = tmp_path / "modules.toml"
    path.write_text(f'[cache]\ndirectory = "cache"\n{HELLO}')
    return path


def add_route(path: Path, text: str = EXTRA) -> None:
    path.write_text(path.read_text() + text)


def test_once_at_a_time(path: Path) -> None:
    reading = threading.Lock()
    reads = []

    def read() -> ConfigFile:
        assert reading.acquire(blocking=False)
        reads.append(path.read_text())
        file = read_config(path)
        reading.release()
        return file

    async def main() -> None:
        app = create_app(read_config(path), read)
        async with app.router.lifespan_context(app):
            first = asyncio.create_task(app.reload())
            await asyncio.to_thread(wait_until, lambda: bool(reads))
            add_route(path)
            results = await asyncio.gather(*(app.reload() for _ in range(50)))
            assert {result.routes for result in results} == {2}
            assert (await first).routes in (1, 2)
            assert len(reads) == 2

    asyncio.run(main())


@pytest.mark.parametrize("of", [str, Path, read_config])
def test_under_another_server(path: Path, of: Callable[[Path], str | Path | ConfigFile]) -> None:
    async def main() -> None:
        app = create_app(of(path))
        transport = httpx.ASGITransport(app)
        async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport) as client:
            add_route(path)
            assert (await client.get("http://h/extra")).status_code == 404
            assert (await app.reload()).routes == 2
            assert (await client.get("http://h/extra")).status_code == 200
            add_route(path, "modul = 1\n")
            with pytest.raises(StartupError, match="did you mean module"):
                await app.reload()
            assert (await client.get("http://h/extra")).status_code == 200

    asyncio.run(main())


def test_what_failed_is_forgotten(path: Path) -> None:
    async def main() -> None:
        app = create_app(path)
        async with app.router.lifespan_context(app):
            add_route(path, BROKEN)
            for _ in range(5):
                with pytest.raises(StartupError):
                    await app.reload()
            gc.collect()
            assert sum(isinstance(known, StartupError) for known in gc.get_objects()) <= 1  # the last one

    asyncio.run(main())


def test_a_site_that_cannot_be_swapped_in_is_freed(path: Path) -> None:
    """The site is freed at once: until a garbage collection it would keep an engine and a terabyte of address space."""
    app = create_app(path)  # without a lifespan it refuses another site
    text = path.read_text()

    async def reload() -> None:
        with pytest.raises(StartupError, match="stopping"):
            await app.reload()

    gc.collect()
    gc.disable()
    try:
        with asyncio.Runner() as runner:
            for size in range(65, 70):
                path.write_text(f'{text}[limits]\nmemory = "{size}MiB"\n')
                runner.run(reload())
        assert [known for known in gc.get_objects() if isinstance(known, Site)] == [app.site]
    finally:
        gc.enable()
        app.site.close()
