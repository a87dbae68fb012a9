"""`modules.toml` as frozen models: the single definition of each setting's name, default, unit and meaning."""

from __future__ import annotations

import os
import types
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    StrictBool,
    StrictInt,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from .docstrings import attribute_docstrings
from .values import (
    BuildCommand,
    BuildPath,
    Charset,
    Directory,
    Duration,
    Environment,
    FieldValue,
    FileName,
    HostEntry,
    Hostname,
    Listen,
    Mirror,
    Mode,
    PrefixRoute,
    Proxies,
    ProxyUrl,
    PullPolicy,
    RegistryHost,
    RelativePath,
    Size,
    Suffix,
)


class SettingsTable(BaseModel):
    """A table of the file: frozen, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema with the docstrings of the fields as descriptions."""
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema)["properties"]
        for name, docstring in attribute_docstrings(cls).items():
            if name in properties:
                properties[name]["description"] = docstring
        return schema


class TableOrString(SettingsTable):
    """A table that may be written as a string alone: its path, or its module."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema that accepts the string, too."""
        table = super().__get_pydantic_json_schema__(core_schema, handler)
        return {"anyOf": [{"type": "string", "minLength": 1}, table]}


LEGACY_TOP_LEVEL = {
    "default_host": "set hostname in [server]",
    "bindle_server": "bindles are gone; name a file",
}
LEGACY_MODULE = {
    "bindle_server": "bindles are gone; name a file in module",
    "default_host": "set hostname in [server]",
    "host": "every host name is served; let the front server choose by name",
    "repository": "name the module's file in module",
}


def _with_legacy(keys: dict[str, str]) -> ConfigDict:
    """The model configuration whose JSON Schema has the legacy keys as deprecated properties."""

    def extend(schema: dict[str, Any]) -> None:
        for name, advice in keys.items():
            schema["properties"][name] = {"deprecated": True, "description": f"An old key without effect; {advice}."}

    return ConfigDict(json_schema_extra=extend)


class Limits(SettingsTable):
    """What one module may use. `[limits]` holds the defaults; `limits` inside a `[[module]]` overrides them."""

    time: Duration = Field(30.0, gt=0, le=86400)
    """Wall time of one request from the moment it is let in, streaming included; a guest that loops, sleeps or is
    blocked is stopped alike. Before the header block is complete the client gets 504, after it the response is cut
    off."""
    memory: Size = Field(ByteSize(256 * 2**20), ge=64 * 2**10, le=4 * 2**30)
    """Size to which a guest's linear memory may grow; `memory.grow` fails beyond it. A heap of WebAssembly's garbage
    collector counts by itself, up to the same size."""
    memories: StrictInt = Field(1, ge=1, le=16)
    """Linear memories a module or component may have; `memory` holds for each of them."""
    tables: StrictInt = Field(4, ge=1, le=16)
    """Tables a module may have. A component may have 20 in all, or as many as this if that is more."""
    table_elements: StrictInt = Field(100_000, ge=0, le=10_000_000)
    """Elements to which each table may grow."""
    files: StrictInt = Field(64, ge=1, le=4096)
    """Files and directories of its volumes that a guest may have open at the same time; opening one more fails in the
    guest. Fewer where the process's own limit on open files would not do for all guests."""
    temporary: Size = Field(ByteSize(256 * 2**20), ge=0)
    """Bytes that the files may have in the directory TMPDIR which each request of a module with a `document_root` gets
    for itself; each name in it counts for 4 KiB more. It is measured ten times a second, and a guest beyond it is
    stopped."""
    body: Size = Field(ByteSize(16 * 2**20), ge=0)
    """Size of a request body; a larger one is answered with 413 before the guest starts."""
    body_time: Duration = Field(60.0, gt=0, le=86400)
    """Time in which the whole request body must arrive; then 408."""
    header_block: Size = Field(ByteSize(64 * 2**10), ge=256, le=2**20)
    """Size of the header block a guest prints before its body; beyond it 502."""
    stdout: Size = Field(ByteSize(2**30), ge=1024)
    """Bytes a guest may print; beyond it the guest is stopped and the response is cut off."""
    stderr: Size = Field(ByteSize(2**20), ge=0)
    """Bytes of one request's stderr that reach the log, each line counting for 256 more; the rest is dropped."""
    concurrency: StrictInt = Field(16, ge=1, le=4096)
    """Requests of this module that run at the same time."""
    queue: StrictInt = Field(64, ge=0, le=100_000)
    """Requests that wait for one of those places; the next is answered with 503 and Retry-After."""
    queue_time: Duration = Field(10.0, gt=0, le=3600)
    """Time a request waits for its place; then 503."""
    http_time: Duration = Field(20.0, gt=0, le=86400)
    """Time of one outbound call, from the look-up of the name to the last byte of the response's body, redirects
    included; never longer than the request's own `time`. Shorter than that, so that a guest can say what went wrong."""
    http_connect_time: Duration = Field(10.0, gt=0, le=3600)
    """Time of it in which the connection must stand, TLS included."""
    http_request: Size = Field(ByteSize(16 * 2**20), ge=0)
    """Size of the body of an outbound request; a larger one is not sent."""
    http_response: Size = Field(ByteSize(64 * 2**20), ge=0)
    """Size of the body of an outbound response; a larger one ends in an error. The gateway holds no more of it than
    64KiB at a time."""
    http_headers: Size = Field(ByteSize(64 * 2**10), ge=256, le=96 * 2**10)
    """Size of the header fields of an outbound request, and of an outbound response."""
    http_calls: StrictInt = Field(1000, ge=0)
    """Outbound calls one request may make."""


class VolumeConfig(TableOrString):
    """A directory that the guest sees under a name of its own; `path` or `temporary` says which."""

    path: str | None = Field(None, min_length=1)
    """The directory on the host; relative to the file that names it. It is opened at start: another one in its place
    is seen after a reload."""
    temporary: str | None = Field(None, min_length=1)
    """Name of an empty directory that is made at start and removed at the end, and kept by a reload; modules that use
    one name share it."""
    read_only: StrictBool = False
    """Whether the guest may change nothing in it."""
    beneath: str | None = Field(None, min_length=1)
    """The directory, at or above `path`, out of which no symbolic link leads: for a `path` that others may change.
    Relative to the file that names it."""

    @model_validator(mode="after")
    def _check_kind(self) -> VolumeConfig:
        if (self.path is None) == (self.temporary is None):
            raise ValueError('write path = "host/dir", or temporary = "name"')
        if self.beneath is not None and self.path is None:
            raise ValueError("beneath is for a path; a temporary directory has none that others may change; remove it")
        return self


def _volume_from_string(value: object) -> object:
    return {"path": value} if isinstance(value, str) else value


class DocumentRootConfig(TableOrString):
    """A directory of scripts and files, of which an interpreter such as php-cgi runs the scripts."""

    path: Directory = Field(min_length=1)
    """The directory on the host; relative to the file that names it. Below the host's directory of one of `volumes` the
    guest sees it there, else as a read-only volume `/app`."""
    index: tuple[FileName, ...] = ("index.php", "index.html")
    """Names of the files that answer for a directory; the first that exists counts."""
    front_controller: RelativePath | None = None
    """Script that answers each path without a file, relative to `path`, such as `"index.php"`. Without it such a path
    is answered with 404."""
    scripts: tuple[Suffix, ...] = (".php",)
    """Suffixes of the files that the module runs. All other files are sent as those of a `[[static]]` are, but for
    source code (`.php`, `.phtml`, `.phar`, `.inc` and the like, copies such as `a.php~` or `a.php.bak` too) and
    `php.ini`, which are never sent. With `[]` the front controller alone is run."""
    cache_control: FieldValue | None = Field(None, min_length=1)
    """Cache-Control of the files that are sent, as in `[[static]]`."""
    charset: Charset | None = None
    """Charset of the text files that are sent, as in `[[static]]`."""


def _document_root_from_string(value: object) -> object:
    return {"path": value} if isinstance(value, str) else value


DOCUMENT_ROOT_VOLUME = "/app"
"""The guest's path of a document root that lies in none of the module's volumes."""
TEMPORARY_VOLUME = "/tmp"  # noqa: S108 - the guest's own
"""The guest's path of the directory TMPDIR of one request."""


class SnapshotConfig(TableOrString):
    """A pre-initialised module: an exported function is executed once, by Wizer, and memory and globals are kept.

    The function sees the directories of `volumes`, no environment and no arguments. All that it reads or makes is in
    the module's file: random numbers, hash seeds, times, secrets.
    """

    module: BuildPath
    """The module that exports the function, such as `"reactor.wasm"`, relative to `directory`."""
    initialize: str = Field("wizer.initialize", min_length=1)
    """The exported function that is executed once; it returns, and the new module does not export it."""
    resume: str = Field("wizer.resume", min_length=1)
    """The exported function that becomes the `entrypoint` of the new module."""
    volumes: dict[str, BuildPath] = Field(default_factory=dict)
    """Directories that the function may open: `{ "/guest" = "dir" }`, relative to `directory`."""


def _snapshot_from_string(value: object) -> object:
    return {"module": value} if isinstance(value, str) else value


class BuildConfig(SettingsTable):
    """The build of a module, for the commands `build` and `dev` alone; no other command executes it."""

    command: BuildCommand = Field((), min_length=1)
    """Program and arguments, such as `["cargo", "build", "--release"]`. No shell reads them. Only a build with a
    `snapshot` goes without."""
    directory: BuildPath = "."
    """Working directory of the command, relative to this file."""
    watch: tuple[BuildPath, ...] = ()
    """Patterns of the files that `dev` watches, relative to `directory`, such as `"src/**"`."""
    snapshot: Annotated[SnapshotConfig, BeforeValidator(_snapshot_from_string)] | None = None
    """The module that is initialised once the command has ended, and becomes the `[[module]]`'s: `"reactor.wasm"`, or
    `{ module = "reactor.wasm", volumes = { "/app" = "app" } }`."""

    @model_validator(mode="after")
    def _check_step(self) -> BuildConfig:
        if not self.command and self.snapshot is None:
            raise ValueError('write a command, such as ["make"], or a snapshot')
        return self


class ModuleConfig(SettingsTable):
    """One `[[module]]`: a route and the module that answers it."""

    model_config = _with_legacy(LEGACY_MODULE)

    route: str = Field(min_length=1)
    """Path this module answers: `/exact`, or `/prefix/...` for the path and everything below it. The most specific
    route wins, whatever the order in the file."""
    module: str = Field(min_length=1)
    """The module or component: a path or `file:` URL of a `.wasm` or `.wat` file, relative to this file, or a reference
    to a registry, `oci:registry/repository:tag` or `oci:registry/repository@sha256:…`."""
    pull_policy: PullPolicy | None = None
    """When a registry is asked for the module. `always`: at each start. `if-not-present`: when it is not on this
    machine yet. `never`: not at all. Without it, as in Kubernetes, `always` for the tag `latest` and where there is
    neither tag nor digest, else `if-not-present`."""
    entrypoint: str = Field("_start", min_length=1)
    """Exported function that is called for each request. A component is called by `wasi:cli/run`."""
    missing_imports: Literal["refuse", "trap"] = "refuse"
    """What becomes of imported functions that the gateway does not provide. `refuse`: the module is refused. `trap`:
    the module is served, a call of such a function ends the guest with a trap, and each of them is named at start and
    by `check`. For interpreters that can call a host and need not. An imported memory, table or global is refused."""
    argv: str | None = None
    """Template of the argument vector, split on white space; `${SCRIPT_NAME}` stands for the request path and `${ARGS}`
    for the query's items. Without `${ARGS}` the guest gets no item."""
    argv_mode: Literal["wagi", "rfc3875", "none"] = "wagi"
    """Arguments of a module without a template. `wagi`: the path, then each `&`-separated item of the query, undecoded.
    `rfc3875`: of a GET or HEAD whose query has no `=`, the decoded words between `+`. `none`: the path alone, which
    is right for an interpreter that would take `?-x` for an option."""
    volumes: dict[str, Annotated[VolumeConfig, BeforeValidator(_volume_from_string)]] = Field(default_factory=dict)
    """Directories the guest may open: `{ "/guest" = "host/dir" }`, or `{ path = "host/dir", read_only = true }`, or
    `{ temporary = "name" }`. As in WAGI the guest may write to them unless they are `read_only`; one that it may write
    to must not hold this file, modules, keys or other files that the gateway reads, nor the cache or the logs."""
    document_root: Annotated[DocumentRootConfig, BeforeValidator(_document_root_from_string)] | None = None
    """Directory of scripts and files, for php-cgi and its like: `"site"`, or
    `{ path = "site", front_controller = "index.php" }`. A script is run with SCRIPT_FILENAME, DOCUMENT_ROOT,
    REDIRECT_STATUS and a TMPDIR of its request, any other file is sent without the module. With it `argv_mode` is
    `none` unless it is set."""
    environment: Environment = Field(default_factory=dict)
    """Environment variables for this module's guests; a name CGI gives a meaning to is refused."""
    allowed_hosts: tuple[HostEntry, ...] | None = None
    """Hosts the guest may call through `wasi_experimental_http`: `"https://api.example.com"`, with a port if it is not
    the usual one; `"api.example.com"` for http and https; `"*.example.com"` for every name below it, and
    `"insecure:allow-all"`, both at public addresses only. Every redirect is checked too. Without it every call is
    denied."""
    allow_private_networks: StrictBool = False
    """Whether wildcards and `insecure:allow-all` reach private, loopback, link-local and other addresses that are not
    public, among them the cloud's metadata. A host that `allowed_hosts` names may have any address."""
    public_addresses_only: StrictBool = False
    """Whether every entry of `allowed_hosts` reaches public addresses only, also one that names a host: for modules
    whose `allowed_hosts` others write, as on a Kubernetes node."""
    http_max_concurrency: StrictInt = Field(16, ge=0)
    """Outbound responses one request may hold open."""
    limits: Limits = Field(default_factory=Limits)
    """What this module's guests may use, where it differs from `[limits]`."""
    encoded_slashes: Literal["decode", "reject"] = "decode"
    """What becomes of `%2F` below a `/prefix/...`: decoded in PATH_INFO, or answered with 404."""
    local_redirects: Literal["internal", "client"] = "internal"
    """What becomes of a response that is a `Location: /path` and nothing else: the request is answered by that path's
    module (RFC 3875 section 6.2.2), or, as WAGI does, the client is sent there with 302."""
    pass_authorization: StrictBool = False
    """Whether the guest sees the Authorization header, as HTTP_AUTHORIZATION."""
    front_end_headers: StrictBool = False
    """Whether the guest may command the front server: X-Accel-*, X-Sendfile* and the like reach it."""
    strict_exit: StrictBool = False
    """Whether an exit code other than 0 makes a complete response a failure (500); else it is delivered."""
    log_file: Directory | None = Field(None, min_length=1)
    """File for what this module's guests write to standard error, relative to this file, in place of `log.directory`
    and of the log. A line has the form of the Kubernetes CRI, `2026-11-30T12:00:00.123456789Z stderr F TEXT`; of more
    than 16 KiB it is written in parts, all but the last with `P` for `F`. The file is rotated by `log.max_file_size`
    and `log.max_files`. Access lines are not in it."""
    build: BuildConfig | None = None
    """How the module is built: `{ command = ["cargo", "build"], directory = ".", watch = ["src/**"] }`. `serve`,
    `check` and a reload never execute it."""

    @model_validator(mode="before")
    @classmethod
    def _derive_from_document_root(cls, table: Any) -> Any:
        """Adds the volume of the document root, unless another one holds it, and an `argv_mode` for interpreters."""
        if not isinstance(table, dict) or not isinstance(volumes := table.get("volumes", {}), dict):
            return table
        path = _path_of(table.get("document_root"))
        if path is None:
            return table
        is_held = any(_lies_in(path, _path_of(volume)) for volume in volumes.values())
        if not is_held and not _has_guest_path(volumes, DOCUMENT_ROOT_VOLUME):
            volumes = {DOCUMENT_ROOT_VOLUME: {"path": path, "read_only": True}} | volumes
        return {"argv_mode": "none"} | table | {"volumes": volumes}

    @field_validator("document_root")
    @classmethod
    def _check_volume(cls, root: DocumentRootConfig | None, info: ValidationInfo) -> DocumentRootConfig | None:
        """Refuses a document root that no volume holds: the user's `/app` is another directory."""
        volumes: dict[str, VolumeConfig] | None = info.data.get("volumes")
        if root and volumes is not None and not any(_lies_in(root.path, volume.path) for volume in volumes.values()):
            what = f"guests would see it as {DOCUMENT_ROOT_VOLUME}, but volumes has another directory there"
            raise ValueError(f"{what}; give that directory another path, or the document root a volume of its own")
        return root

    @property
    def has_own_temporary(self) -> bool:
        """Whether each request gets a directory TMPDIR, unless a volume takes its place."""
        return self.document_root is not None and not _has_guest_path(self.volumes, TEMPORARY_VOLUME)

    @property
    def document_root_volume(self) -> str:
        """The guest's path of the volume that holds the document root; of several, the innermost one on the host."""
        path = self.document_root.path if self.document_root else ""
        holding = [(volume.path or "", guest) for guest, volume in self.volumes.items() if _lies_in(path, volume.path)]
        return max(holding, key=lambda one: len(_normal(one[0]).parts))[1]

    @property
    def path_in_volume(self) -> PurePosixPath:
        """The path of the document root below the directory of that volume."""
        path = self.document_root.path if self.document_root else ""
        return _normal(path).relative_to(_normal(self.volumes[self.document_root_volume].path or ""))

    @property
    def guest_document_root(self) -> str:
        """The guest's path of the document root."""
        return str(PurePosixPath(self.document_root_volume, self.path_in_volume))


def _path_of(value: object) -> str | None:
    """The path of a volume or a document root as it is in the file: a string, or a table."""
    path = value.get("path") if isinstance(value, dict) else value
    return path if isinstance(path, str) and path else None


def _normal(path: str) -> PurePosixPath:
    return PurePosixPath(os.path.normpath(path))


def _has_guest_path(volumes: Iterable[str], path: str) -> bool:
    """Whether one of the guest's paths, such as `/app/`, is `path`."""
    return any(_normal(f"/{guest.lstrip('/')}") == PurePosixPath(path) for guest in volumes)


def _lies_in(path: str, directory: str | None) -> bool:
    return directory is not None and _normal(path).is_relative_to(_normal(directory))


class StaticConfig(SettingsTable):
    """One `[[static]]`: a route and the directory whose files answer it."""

    route: PrefixRoute = Field(min_length=1)
    """Path below which the files are, `/prefix/...`. Among all routes, those of modules too, the most specific wins."""
    directory: str = Field(min_length=1)
    """The directory, relative to this file. Files whose name, or a directory above them, starts with a dot are not
    served, but for `.well-known`; nor is what a symbolic link to somewhere else leads to. `index.html` answers for its
    directory."""
    cache_control: FieldValue | None = Field(None, min_length=1)
    """Cache-Control of its files, such as `"public, max-age=3600"`. Without it a client asks again whether a file has
    changed when it sees fit."""
    fallback: StrictBool = False
    """Whether a path without a file is answered by the route that has it otherwise, as with nginx's `try_files`: a
    `[[module]]` with the same route, or the next less specific one. Methods other than GET and HEAD go there at once.
    Without it such a path is answered with 404."""
    charset: Charset | None = None
    """Charset of its text files (`text/*` and JavaScript), such as `"iso-8859-1"`. Without it a file is sent as `utf-8`
    if its bytes are UTF-8 and it declares no other charset, and without a charset else, or above 4 MiB."""


class ServerConfig(SettingsTable):
    """`[server]`: the listening socket and the process."""

    listen: Listen = "127.0.0.1:3000"
    """Address to serve on: `HOST:PORT`, where port 0 lets the system choose; `unix:PATH` for a UNIX socket, relative to
    this file; `fd:3` for the socket that systemd or another supervisor hands over."""
    socket_mode: Mode = "0660"
    """Mode of a UNIX socket: who may connect. By default the gateway's own user and group."""
    tls_cert: str | None = Field(None, min_length=1)
    """File with the certificate and those of the authorities between (PEM); relative to this file. With it the socket
    speaks TLS, 1.2 or later, and nothing else."""
    tls_key: str | None = Field(None, min_length=1)
    """File with the certificate's private key (PEM, without a passphrase); relative to this file. Without it the key
    is in the file of the certificate."""
    hostname: Hostname | None = None
    """`HOST[:PORT]` for SERVER_NAME and SERVER_PORT of a request without a Host header (HTTP/1.0). Without it, the
    listening address."""
    trusted_proxies: tuple[Proxies, ...] = ()
    """Addresses or networks of the reverse proxies in front; `"unix"` stands for whoever connects to a UNIX socket.
    From them alone X-Forwarded-For, -Proto and -Port are believed, for REMOTE_ADDR, HTTPS and SERVER_PORT."""
    workers: StrictInt = Field(1, ge=1, le=256)
    """Processes that serve; each has its own sandboxes and limits, all share the cache."""
    concurrency: StrictInt = Field(256, ge=1, le=4096)
    """Sandboxes of one worker, over all modules. While the sum of all `limits.concurrency` stays under it, no module
    can take another one's place."""
    max_connections: StrictInt = Field(4096, ge=1)
    """Open connections of one worker that have sent a request. A further one takes the place of the one that is idle
    for longest, which is closed; while none is idle it is answered with 503."""
    keep_alive: Duration = Field(75.0, ge=1, le=3600)
    """Time an idle connection is kept, in whole seconds; longer than a reverse proxy keeps its own."""
    keep_alive_requests: StrictInt = Field(10_000, ge=1)
    """Requests that are answered on one connection; the last answer closes it, so that clients spread anew over the
    workers."""
    head_time: Duration = Field(30.0, gt=0, le=3600)
    """Time in which a request's head must arrive, and before it a TLS handshake; then the connection is closed."""
    send_timeout: Duration = Field(60.0, ge=1, le=3600)
    """Time a client may take nothing of what is sent to it before its connection is dropped (Linux)."""
    shutdown_grace: Duration = Field(30.0, ge=0, le=3600)
    """Time requests in flight have to finish after SIGTERM, in whole seconds."""
    spool: Size = Field(ByteSize(2 * 2**30), ge=2**20)
    """Bytes that one worker holds of all request bodies together, and of responses to HTTP/1.0 clients, which are
    complete before they are sent; beyond it 503."""
    body_memory: Size = Field(ByteSize(2**20), ge=0)
    """Size up to which a request body, or a response to an HTTP/1.0 client, is kept in memory; a larger one goes to a
    temporary file."""


class OutboundConfig(SettingsTable):
    """`[outbound]`: the way of the calls that guests make."""

    proxy: ProxyUrl | None = None
    """HTTP proxy for all calls, `http://[user:password@]host[:port]`. It resolves the names, so wildcards and
    `insecure:allow-all` need `allow_private_networks`. Proxy variables of the gateway's environment have no effect."""
    ca_file: str | None = Field(None, min_length=1)
    """File of certificate authorities (PEM) that are trusted besides the system's; relative to this file."""


class RegistryConfig(SettingsTable):
    """`[registries]`: how OCI registries are spoken to, each in a table of its own: `[registries."HOST"]`."""

    insecure: StrictBool | None = None
    """Whether it speaks plain HTTP. Without it, a registry on a loopback address does unless it has a `ca_file`, and no
    other. A plain registry on another address gets no credentials."""
    ca_file: str | None = Field(None, min_length=1)
    """File of certificate authorities (PEM) that are trusted besides the system's; relative to this file."""
    mirror: Mirror | None = None
    """`HOST[:PORT][/PREFIX]` of a registry that is asked first, under the same name behind the prefix; it has a table
    of its own if it needs one."""
    username: str | None = Field(None, min_length=1)
    """User name; without it the credentials of `docker login` are used."""
    password_file: str | None = Field(None, min_length=1)
    """File that holds the password or token; relative to this file."""
    password_env: str | None = Field(None, min_length=1)
    """Variable of the gateway's environment that holds it, in place of a file."""


Registries = dict[RegistryHost, RegistryConfig]


class CompilerConfig(SettingsTable):
    """`[compiler]`: the compilation of a module, in a process of its own."""

    time: Duration = Field(600.0, gt=0, le=86400)
    """Wall time in which a module must be compiled, or the module is refused: one of a few KiB may take hours. The
    largest known program, of 104 MB, took 96 s. Raise it for such a program on a slow or busy machine."""
    memory: Size = Field(ByteSize(4 * 2**30), ge=64 * 2**20)
    """Memory that the compilation of one module may use, or the module is refused. An interpreter of 26 MB needs
    350 MiB with two processors, and more with many. In a container, choose less than the container may use."""


class CacheConfig(SettingsTable):
    """`[cache]`: precompiled modules on disk."""

    enabled: StrictBool = True
    """Whether compiled modules are kept on disk. Without it every start compiles again."""
    directory: Directory | None = None
    """Where they are kept, relative to this file; without it the user's cache directory. Loading one runs its machine
    code, so the directory must belong to the user and not be writable by others, or it is not used. Modules from
    registries are in `registry` in there, also while `enabled` is false."""
    max_module: Size = Field(ByteSize(256 * 2**20), ge=1024)
    """Size of a module from a registry; a larger one is not downloaded."""


class LogConfig(SettingsTable):
    """`[log]`: what is written to standard error, or to files."""

    format: Literal["auto", "text", "json", "terminal"] = "auto"
    """`text`: a line for each record, with its fields; `json`: an object a line. `terminal`: a short line for each
    request, in the colour of its status, and below it what its guest writes to standard error. `auto` is `terminal`
    where standard error is a terminal, else `text`. The variable `NO_COLOR` switches colours off."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe level that is written. What guests write to standard error is written at each level; `limits.stderr`
    bounds it."""
    access: StrictBool = True
    """Whether each request gets a line."""
    query: StrictBool = True
    """Whether that line has the request's query, as nginx's has; queries often hold secrets."""
    directory: Directory | None = Field(None, min_length=1)
    """Directory for what guests write to standard error, relative to this file; without it that is in the log. Each
    route has a file as in WAGI, `HASH/module.stderr`, where HASH is the SHA-256 of the route. In `text` a line is the
    guest's own and no more, in `json` it has time, route and request id; `level` does not matter. The directory is made
    if need be, and no volume that guests write to may hold it."""
    max_file_size: Size = Field(ByteSize(10 * 2**20), ge=64 * 2**10)
    """Size at which a module's `log_file` is renamed to `FILE.1`, `FILE.2` and so on, the highest number last, and a
    new one begins; a kubelet's `containerLogMaxSize`. Files of `directory` are left to logrotate(8)."""
    max_files: StrictInt = Field(5, ge=2, le=1000)
    """Files that are kept of each `log_file`, with the one that is written; a kubelet's `containerLogMaxFiles`."""


class AdminConfig(SettingsTable):
    """`[admin]`: a listener of its own for the operator."""

    listen: Listen | None = None
    """Address of `/metrics`, `/status`, `/readyz` and `/reload`, in the same form as `server.listen`: `127.0.0.1:9100`,
    or `unix:PATH` for a socket that the gateway's user alone may connect to. Without it there is none, and nothing is
    counted. It asks nobody who they are, so an address that others reach gets a warning."""


class TracingConfig(SettingsTable):
    """`[tracing]`: the way of a request through several services."""

    export: StrictBool = False
    """Whether spans of requests, guests and outbound calls are sent to an OpenTelemetry collector, as OTLP over HTTP.
    The standard variables of the gateway's own environment, `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_TRACES_SAMPLER` and
    others, say where to and how many. It needs `pip install "wagi-gateway[tracing]"`."""
    propagate: StrictBool = True
    """Whether an outbound call carries `traceparent` and `tracestate` of the request it belongs to, unless the guest
    sends a `traceparent` of its own. Guests see those of their request in any case."""


class Config(SettingsTable):
    """A whole `modules.toml`."""

    model_config = _with_legacy(LEGACY_TOP_LEVEL)

    module: tuple[ModuleConfig, ...] = Field(default=(), min_length=1)
    """The `[[module]]` tables."""
    static: tuple[StaticConfig, ...] = ()
    """The `[[static]]` tables."""
    environment: Environment = Field(default_factory=dict)
    """Environment variables for every module; a module's own win, and `-e` and `--env-file` win over both."""
    server: ServerConfig = Field(default_factory=ServerConfig)
    """The listening socket and the process."""
    limits: Limits = Field(default_factory=Limits)
    """What a module may use, where it sets nothing itself."""
    outbound: OutboundConfig = Field(default_factory=OutboundConfig)
    """The way of the calls that guests make."""
    registries: Registries = Field(default_factory=dict)
    """How OCI registries are spoken to, by `host` or `host:port`; most need no table."""
    auth_file: str | None = Field(None, min_length=1)
    """File of credentials for registries, as `docker login` and `podman login` write it; relative to this file. Without
    it `REGISTRY_AUTH_FILE` names one, or the usual places are searched."""
    compiler: CompilerConfig = Field(default_factory=CompilerConfig)
    """The compilation of a module."""
    cache: CacheConfig = Field(default_factory=CacheConfig)
    """Precompiled modules on disk."""
    log: LogConfig = Field(default_factory=LogConfig)
    """What is written to standard error, or to files."""
    admin: AdminConfig = Field(default_factory=AdminConfig)
    """A listener of its own for the operator."""
    tracing: TracingConfig = Field(default_factory=TracingConfig)
    """The way of a request through several services."""


def nested_models(annotation: object) -> Iterator[type[BaseModel]]:
    """The models inside an annotation: VolumeConfig in `dict[str, VolumeConfig]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Annotated, Union, types.UnionType, dict, tuple, list):
        for argument in get_args(annotation):
            yield from nested_models(argument)
