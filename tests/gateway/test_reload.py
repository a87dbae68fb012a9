"""Reloads of a gateway in this process and of a server: freed sites, shared objects, log lines."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import Serve, Server, wait_until
from tests.support import guests
from tests.support.config import guest, module
from tests.support.publishing import publish
from tests.support.registry import running_registry
from wagi_gateway.config.file import read_config
from wagi_gateway.errors import StartupError
from wagi_gateway.gateway.gateway import Gateway
from wagi_gateway.gateway.reload import Reloader, needs_restart
from wagi_gateway.observe.process_registry import ServedSite
from wagi_gateway.site.load import load
from wagi_gateway.site.site import Site

HELLO = guest("/hello", "hello")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "hello.wat").write_text(guests.HELLO)
    path = tmp_path / "modules.toml"
    path.write_text(f'[cache]\ndirectory = "cache"\n{HELLO}')
    return path


def write(path: Path, text: str) -> None:
    path.write_text(text)


def is_directory(path: Path) -> bool:
    return path.is_dir()


@pytest.fixture
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def sites() -> list[Site]:
    """The sites in memory."""
    return [known for known in gc.get_objects() if isinstance(known, Site)]


async def drained(gateway: Gateway) -> None:
    """Waits until replaced sites are freed."""
    while tasks := [*gateway._draining.values(), *gateway._releasing]:
        await asyncio.wait(tasks)


async def only(gateway: Gateway) -> None:
    """Waits until the served site is the only one: a thread that loaded a site may still be ending."""
    await asyncio.to_thread(wait_until, lambda: sites() == [gateway.site])


@pytest.mark.usefixtures("without_collector")
def test_a_site_is_freed_after_a_reload_that_failed(path: Path) -> None:
    """The error's frames, which are in reference cycles, refer to the site that was served."""
    valid = path.read_text()

    async def main() -> None:
        async with Gateway(load(read_config(path))) as gateway:
            reloader = Reloader(gateway, lambda: read_config(path))
            for text in ('[limits]\ntime = "soon"\n', '[limits]\nmemory = "9MiB"\n', '[limits]\nmemory = "9.5MiB"\n'):
                write(path, text + valid)
                with suppress(StartupError):
                    await reloader.reload()
                await drained(gateway)
                await only(gateway)

    asyncio.run(main())


@pytest.mark.usefixtures("without_collector")
@pytest.mark.parametrize("settings", ["", '[limits]\nmemory = "9MiB"\n'], ids=["same engine", "another engine"])
def test_a_replaced_site_is_freed_without_the_garbage_collector(
    path: Path, settings: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gc, "collect", lambda: 0)
    changed = path.read_text() + settings

    async def main() -> None:
        async with Gateway(load(read_config(path))) as gateway:
            reloader = Reloader(gateway, lambda: read_config(path))
            write(path, changed)
            await reloader.reload()
            await drained(gateway)
            await only(gateway)

    asyncio.run(main())


@pytest.mark.usefixtures("without_collector")
def test_a_site_is_freed_when_its_last_request_is_over(path: Path) -> None:
    async def main() -> None:
        async with Gateway(load(read_config(path))) as gateway:
            old = gateway.generation
            old.enter()
            await Reloader(gateway, lambda: read_config(path)).reload()
            assert len(sites()) == 2
            old.leave()
            del old
            await drained(gateway)
            await only(gateway)

    asyncio.run(main())


@pytest.mark.usefixtures("without_collector")
def test_pulls_that_fail_leave_no_descriptor(path: Path) -> None:
    """The frames of their exceptions, which are in reference cycles, refer to the store."""
    store = path.parent / "cache" / "registry"

    def descriptors() -> int:
        """Descriptors of this process that lead to the store."""
        links = [Path(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]
        return sum(link.is_symlink() and os.readlink(link) == str(store.resolve()) for link in links)

    async def main() -> None:
        async with Gateway(load(read_config(path))) as gateway:
            reloader = Reloader(gateway, lambda: read_config(path))
            write(path, config + module("/missing", f"oci:{registry.address}/team/missing:1"))
            with pytest.raises(StartupError, match="missing"):
                await reloader.reload()
            write(path, config)
            registry.stop()
            for _ in range(3):
                await reloader.reload()
                await drained(gateway)
                await asyncio.to_thread(wait_until, lambda: descriptors() == 1)

    with running_registry(path.parent / "registry") as registry:
        publish(registry, "team/hello:1", guests.HELLO)
        pulled = module("/pulled", f"oci:{registry.address}/team/hello:1", 'pull_policy = "always"\n')
        config = path.read_text() + pulled
        write(path, config)
        asyncio.run(main())


def test_the_end_of_the_gateway_closes_sites_that_still_have_requests(path: Path) -> None:
    path.write_text(path.read_text() + "volumes = { '/t' = { temporary = 'scratch' } }\n")

    async def main() -> Path:
        async with Gateway(load(read_config(path))) as gateway:
            old = gateway.generation
            old.enter()
            write(path, f'[cache]\ndirectory = "cache"\n{HELLO}')
            await Reloader(gateway, lambda: read_config(path)).reload()
            scratch = Path(old.site.volumes.temporary["scratch"].name)
            assert is_directory(scratch)
            return scratch

    assert not is_directory(asyncio.run(main()))


def test_the_outcome_of_each_reload_is_reported(path: Path) -> None:
    reports: list[tuple[ServedSite | None, StartupError | None]] = []

    async def main() -> None:
        async with Gateway(load(read_config(path))) as gateway:
            reloader = Reloader(gateway, lambda: read_config(path), lambda site, error: reports.append((site, error)))
            assert (await reloader.reload()).routes == 1
            write(path, "modul = 1\n")
            with pytest.raises(StartupError, match="did you mean module"):
                await reloader.reload()

    asyncio.run(main())
    (served, none), (nothing, error) = reports
    assert (none, nothing) == (None, None)
    assert served
    assert [module.route for module in served.modules] == ["/hello"]
    assert error


@pytest.mark.parametrize("what", [ValueError("a defect"), PermissionError(13, "Permission denied")])
def test_any_error_while_reading_is_a_startup_error(path: Path, what: Exception) -> None:
    def read() -> None:
        raise what

    async def main() -> None:
        async with Gateway(load(read_config(path))) as gateway:
            with pytest.raises(StartupError):
                await Reloader(gateway, read).reload()  # type: ignore[arg-type]

    asyncio.run(main())


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_process_frees_the_site_it_was_started_with(serve: Serve, workers: str) -> None:
    """The site is freed with its engine, which reserves a terabyte of address space."""
    server = serve('[limits]\nmemory = "9MiB"\n' + HELLO, "--workers", workers, hello=guests.HELLO)
    space = address_space(server)
    server.log_path.with_name("modules.toml").write_text('[limits]\nmemory = "9.5MiB"\n' + HELLO)
    server.process.send_signal(signal.SIGHUP)
    server.wait_for_log("reloaded: ")
    wait_until(lambda: address_space(server) < space + 2**28)


def address_space(server: Server) -> int:
    """The address space of a process in KiB."""
    match = re.search(r"VmSize:\s+(\d+) kB", Path(f"/proc/{server.process.pid}/status").read_text())
    assert match
    return int(match[1])


def test_settings_that_only_a_start_reads(path: Path) -> None:
    started = read_config(path).config
    path.write_text("[server]\nworkers = 3\nkeep_alive = '2s'\n" + path.read_text())
    assert [str(problem) for problem in needs_restart(started, read_config(path).config)] == [
        "server.workers = 3: has no effect before a restart; it is 1"
    ]
