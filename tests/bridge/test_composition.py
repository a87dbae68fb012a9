"""A handler of wasi:http with the bridge around it: requests, responses, and what cannot be composed."""

from __future__ import annotations

import pytest

from tests.support.component_guests import invocation
from tests.support.components import RUN, bare
from tests.support.handlers import answer, bridged, proxy
from tests.support.sandbox import compiler, run
from wagi_gateway.bridge.composition import compose
from wagi_gateway.compiler.component_binary import ComponentExterns
from wagi_gateway.config.settings import CompilerConfig
from wagi_gateway.errors import StartupError
from wagi_gateway.sandbox.invocation import GuestVolume
from wagi_gateway.sources.file import WasmSource

HEAD = "Status: 200\r\n\r\n"
REQUEST = {
    "REQUEST_METHOD": "REPORT",
    "HTTPS": "on",
    "HTTP_HOST": "example.com:1",
    "HTTP_X_OWN": "ä, b",
    "CONTENT_TYPE": "text/plain",
    "HTTP_CONTENT_TYPE": "text/plain",
    "CONTENT_LENGTH": "3",
}
READ = """Method::Other("REPORT") Some(Scheme::Https) Some("example.com:1") Some("/a%20b/request?c=d")
content-type: text/plain
host: example.com:1
x-own: ä, b
content-length: 3
"""


def test_the_request_is_that_of_the_environment() -> None:
    lines = answer("/a%20b/request?c=d", REQUEST)[0].removeprefix(HEAD).splitlines()
    assert lines[0] == READ.splitlines()[0]
    assert sorted(lines) == sorted(READ.splitlines())


@pytest.mark.parametrize(
    ("variables", "authority"),
    [
        ({}, "own"),
        ({"SERVER_PORT": "8080"}, "own:8080"),
        ({"SERVER_PORT": "443", "HTTPS": "on"}, "own"),
        ({"HTTP_HOST": "named"}, "named"),
    ],
)
def test_the_authority_without_a_host_is_the_servers(variables: dict[str, str], authority: str) -> None:
    first, *fields = answer("/request", variables)[0].removeprefix(HEAD).splitlines()
    assert f'Some("{authority}")' in first
    assert fields == ([f"host: {authority}"] if "HTTP_HOST" in variables else [])


@pytest.mark.parametrize(("method", "expected"), [("GET", []), ("POST", ["content-length: 0"])])
def test_the_length_of_no_body_is_a_field_where_a_body_is_usual(method: str, expected: list[str]) -> None:
    output, _ = answer("/request", {"REQUEST_METHOD": method, "CONTENT_LENGTH": "0"})
    assert output.removeprefix(HEAD).splitlines()[1:] == expected


def test_the_header_block_has_the_fields_that_are_sent() -> None:
    assert answer("/headers")[0] == (
        "Status: 200\r\ncontent-type: text/x-own\r\nset-cookie: a=1\r\nset-cookie: b=2\r\nx-own: ä\r\n\r\nheaders"
    )


def test_a_body_that_is_written_before_the_response_is_set_follows_its_head() -> None:
    output, guest = answer("/early")
    assert output.startswith("Status: 201\r\ncontent-type: text/x-own\r\n")
    assert output.endswith("\r\n\r\nbefore the head")
    assert guest.failure() is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/fields", "[" + ", ".join(["true"] * 18) + "]"),
        ("/outgoing", "[" + ", ".join(["true"] * 8) + "] Err(ErrorCode::HttpRequestDenied)"),
        ("/trailers", "true true"),
        ("/status?404", "Ok(())"),
        ("/status?101", "Err(())"),
        ("/status?600", "Err(())"),
        ("/log", "logged"),
        ("/sockets", "Err(PermissionDenied)"),
        ("/files", 'Ok("a")'),
    ],
)
def test_the_handler_has_what_its_world_names(
    tmp_path_factory: pytest.TempPathFactory, path: str, expected: str
) -> None:
    directory = tmp_path_factory.mktemp("data")
    (directory / "a.txt").write_text("a")
    volume = GuestVolume(bytes(directory), b"/data", is_writable=False)
    status = "404" if path.endswith("404") else "200"
    assert answer(path, volumes=(volume,))[0].partition("\r\n\r\n")[::2] == (f"Status: {status}", expected)


def test_standard_output_and_denied_requests_go_to_the_log() -> None:
    pieces: list[bytes] = []
    answer("/log", on_stderr=pieces.append)
    answer("/outgoing", on_stderr=pieces.append)
    assert b"".join(pieces).decode().splitlines() == [
        "to standard output",
        "to standard error",
        "wasi:http bridge: an outgoing request to 127.0.0.1:9 was denied",
    ]


@pytest.mark.parametrize("size", [0, 1, 300_000])
def test_bodies_are_the_standard_streams(size: int) -> None:
    body = b"x" * size
    assert answer("/echo", {"REQUEST_METHOD": "POST"}, stdin=body)[0] == HEAD + body.decode()


@pytest.mark.parametrize(
    ("path", "output", "failure", "logged"),
    [
        (
            "/unset",
            "",
            "the guest exited with code 1",
            "the handler returned without a response: it did not call response-outparam.set",
        ),
        (
            "/error",
            "",
            "the guest exited with code 1",
            'answered with an error: ErrorCode::InternalError(Some("no luck"))',
        ),
        ("/trap", "", "trap", "the handler panics"),
        ("/half", HEAD + "half of a response", "trap", "without a response"),
        ("/other", HEAD + "of the first", "trap", "wrote the body of one response and set another"),
        ("/late-trap", HEAD + "x" * 200_000, "trap", "the handler panics late"),
        ("/loop", "", "time", ""),
        ("/sleep", "", "time", ""),
    ],
)
def test_a_handler_without_a_whole_response_fails(path: str, output: str, failure: str, logged: str) -> None:
    pieces: list[bytes] = []
    printed, guest = answer(path, on_stderr=pieces.append, time="0.5s" if failure == "time" else "30s")
    assert printed == output
    assert failure in f"{guest.stop_reason} {guest.failure()}"
    assert logged in b"".join(pieces).decode()


def test_the_output_of_a_handler_is_limited() -> None:
    output, guest = answer("/large", stdout="1MiB")
    assert guest.stop_reason == "stdout"
    assert len(output) < 4 * 2**20


# Composition


@pytest.mark.parametrize("version", ["0.2.0", "0.2.3", "0.2.99"])
def test_a_handler_of_any_minor_version_is_composed(version: str) -> None:
    data = bridged(proxy(version=version))
    externs = ComponentExterns.read(data)
    assert externs.exports == (("wasi:cli/run@0.2.12", "instance"),)
    output, guest = run(invocation(data))
    assert (output, guest.failure()) == (b"", "the guest exited with code 1")


def test_versions_may_differ_within_a_component() -> None:
    resource = '(instance (export "error" (type (sub resource))))'
    fields = f'(import "wasi:io/error@0.2.3" {resource}) (import "wasi:io/error@0.2.9" {resource})'
    assert run(invocation(bridged(proxy(fields))))[1].failure() == "the guest exited with code 1"


def test_only_what_is_used_is_imported() -> None:
    names = [name for name, _ in ComponentExterns.read(bridged(proxy())).imports]
    assert names == [
        f"wasi:{name}@0.2.12"
        for name in (
            *("cli/environment", "io/error", "io/poll", "io/streams", "cli/stdin", "cli/stdout", "cli/stderr"),
            "clocks/monotonic-clock",
        )
    ]


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"\0asm\1\0\0\0", "is a core module, not a component"),
        (b"(module)", "is a core module, not a component; a program for WASI is served as it is"),
        (b'(module (func (export "wasi:http/incoming-handler@0.2.0#handle")))', "build for wasm32-wasip2"),
        (b"\0asm\1\0\0\0\2\x7f", "is no module"),
        (b"\0asm\x0d\0\1\0\x0a\x7f", "cannot be read: "),
        (b"\0asm\x0a\0\1\0", "is no component"),
        (b"nonsense", "is no module"),
        (b"", "is no module"),
        (bare(), "exports wasi:cli/run and no wasi:http/incoming-handler: it is served as it is"),
        (bare().replace(RUN, ""), "so there is nothing to bridge"),
        (proxy(version="0.3.0"), "is a component for WASI 0.3"),
        (proxy('(import "fermyon:spin/key-value@2.0.0" (instance))'), "interfaces of its own host"),
        (proxy('(import "wasi:keyvalue/store@0.2.0-draft" (instance))'), "needs a proposal of WASI"),
        (proxy('(import "wasi:http/incoming-handler@0.2.0" (instance))'), "does not provide"),
        (proxy('(import "wasi:io/poll@0.2.0" (func))'), "imports wasi:io/poll@0.2.0, which"),
        (
            proxy('(import "wasi:io/poll@0.2.0" (instance (export "none" (func))))'),
            "cannot be composed with the bridge",
        ),
        (
            proxy('(import "wasi:random/random@0.2.0" (instance (export "get-random-u64" (func (result u32)))))'),
            "cannot be composed with the bridge, whose WASI is 0.2.12: ",
        ),
        ("(component " * 40 + ")" * 40, "nothing to bridge"),
    ],
)
def test_what_cannot_be_composed_is_refused_on_one_line(data: bytes | str, what: str) -> None:
    with pytest.raises(StartupError) as raised:
        compose("app.wasm", data.encode() if isinstance(data, str) else data, CompilerConfig())
    (problem,) = raised.value.problems
    assert problem.where == "app.wasm"
    assert what in problem.what
    assert "\n" not in problem.what


def test_a_composed_component_has_one_memory_beside_those_of_the_limits() -> None:
    one, two = '(memory (export "a") 1)', "(memory 1) (memory 1)"
    assert run(invocation(bridged(proxy(more=one)), memories=1))[1].failure() == "the guest exited with code 1"
    assert "memory" in str(run(invocation(bridged(proxy(more=two)), memories=1))[1].failure())


def test_a_composed_component_cannot_be_bridged_again() -> None:
    with pytest.raises(StartupError, match="it is served as it is"):
        compose("app.wasm", bridged(), CompilerConfig())


def test_the_composed_component_is_loaded() -> None:
    warm = compiler().load(WasmSource("app-cgi.wasm", bridged(), "bridged"), needs_entrypoint=True)
    assert warm.functions == {"_start"}
