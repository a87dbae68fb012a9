"""Components in WAT: the guests of `tests.support.guests`, each with an adapter from WASI preview 1 to WASI 0.2.

A small stand-in for the adapter of wit-component. The guest calls a shim, whose table the adapter fills once the guest
is there: the adapter needs the guest's memory, and the guest the adapter's functions.
"""

from __future__ import annotations

_FUNCTIONS = {
    "fd_write": "i32 i32 i32 i32",
    "fd_read": "i32 i32 i32 i32",
    "args_sizes_get": "i32 i32",
    "poll_oneoff": "i32 i32 i32 i32",
    "clock_time_get": "i32 i64 i32",
    "proc_exit": "i32",
}
"""The functions of preview 1 that the adapter has, with their parameters. All but `proc_exit` return an i32."""

INTERFACES = """
 (import "wasi:io/error@0.2.0" (instance $error (export "error" (type (sub resource)))))
 (alias export $error "error" (type $Error))
 (import "wasi:io/poll@0.2.0" (instance $poll
  (export "pollable" (type (sub resource)))
  (export "[method]pollable.block" (func (param "self" (borrow 0))))))
 (alias export $poll "pollable" (type $Pollable))
 (import "wasi:io/streams@0.2.0" (instance $streams
  (export "input-stream" (type $in (sub resource)))
  (export "output-stream" (type $out (sub resource)))
  (alias outer 1 $Error (type $e)) (export "error" (type $error (eq $e)))
  (type $fails (variant (case "last-operation-failed" (own $error)) (case "closed")))
  (export "stream-error" (type $failure (eq $fails)))
  (export "[method]input-stream.blocking-read"
   (func (param "self" (borrow $in)) (param "len" u64) (result (result (list u8) (error $failure)))))
  (export "[method]output-stream.blocking-write-and-flush"
   (func (param "self" (borrow $out)) (param "contents" (list u8)) (result (result (error $failure)))))))
 (alias export $streams "input-stream" (type $In)) (alias export $streams "output-stream" (type $Out))
 (import "wasi:cli/stdin@0.2.0" (instance $stdin
  (alias outer 1 $In (type $i)) (export "input-stream" (type $in (eq $i)))
  (export "get-stdin" (func (result (own $in))))))
 (import "wasi:cli/stdout@0.2.0" (instance $stdout
  (alias outer 1 $Out (type $o)) (export "output-stream" (type $out (eq $o)))
  (export "get-stdout" (func (result (own $out))))))
 (import "wasi:cli/stderr@0.2.0" (instance $stderr
  (alias outer 1 $Out (type $o)) (export "output-stream" (type $out (eq $o)))
  (export "get-stderr" (func (result (own $out))))))
 (import "wasi:cli/environment@0.2.0" (instance $environment
  (export "get-arguments" (func (result (list string))))))
 (import "wasi:cli/exit@0.2.0" (instance $exit (export "exit" (func (param "status" (result))))))
 (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
  (alias outer 1 $Pollable (type $p)) (export "pollable" (type $pollable (eq $p)))
  (export "now" (func (result u64)))
  (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))))
"""
"""Imports of WASI 0.2."""

RUN = '(instance $run (export "run" (func $main))) (export "wasi:cli/run@0.2.0" (instance $run))'
"""The export of a function `$main` as `wasi:cli/run`."""

_ADAPTER = """
 (core module $Adapter
  (import "guest" "memory" (memory 0))
  (import "guest" "_start" (func $start))
  (import "shim" "table" (table 8 funcref))
  (import "wasi" "stdin" (func $stdin (result i32)))
  (import "wasi" "stdout" (func $stdout (result i32)))
  (import "wasi" "stderr" (func $stderr (result i32)))
  (import "wasi" "read" (func $read (param i32 i64 i32)))
  (import "wasi" "write" (func $write (param i32 i32 i32 i32)))
  (import "wasi" "arguments" (func $arguments (param i32)))
  (import "wasi" "exit" (func $exit (param i32)))
  (import "wasi" "now" (func $now (result i64)))
  (import "wasi" "subscribe" (func $subscribe (param i64) (result i32)))
  (import "wasi" "block" (func $block (param i32)))
  (import "target" "target" (global $target (mut i32)))
  (global $in (mut i32) (i32.const -1)) (global $out (mut i32) (i32.const -1)) (global $err (mut i32) (i32.const -1))
  (elem (i32.const 0) func $fd_write $fd_read $args_sizes_get $poll_oneoff $clock_time_get $proc_exit)
  (func $fd_write (param $fd i32) (param $iovecs i32) (param $count i32) (param $written i32) (result i32)
   (local $stream i32) (local $at i32) (local $left i32) (local $size i32) (local $total i32)
   (if (i32.eq (global.get $out) (i32.const -1)) (then
    (global.set $out (call $stdout)) (global.set $err (call $stderr))))
   (local.set $stream (select (global.get $out) (global.get $err) (i32.eq (local.get $fd) (i32.const 1))))
   (block $done (loop $next
    (br_if $done (i32.eqz (local.get $count)))
    (local.set $at (i32.load (local.get $iovecs)))
    (local.set $left (i32.load offset=4 (local.get $iovecs)))
    (block $written (loop $more
     (br_if $written (i32.eqz (local.get $left)))
     (local.set $size (select (local.get $left) (i32.const 4096) (i32.lt_u (local.get $left) (i32.const 4096))))
     (call $write (local.get $stream) (local.get $at) (local.get $size) (i32.const 400))
     (if (i32.load8_u (i32.const 400)) (then (return (i32.const 29))))
     (local.set $at (i32.add (local.get $at) (local.get $size)))
     (local.set $left (i32.sub (local.get $left) (local.get $size)))
     (local.set $total (i32.add (local.get $total) (local.get $size)))
     (br $more)))
    (local.set $iovecs (i32.add (local.get $iovecs) (i32.const 8)))
    (local.set $count (i32.sub (local.get $count) (i32.const 1)))
    (br $next)))
   (i32.store (local.get $written) (local.get $total))
   (i32.const 0))
  (func $fd_read (param $fd i32) (param $iovecs i32) (param $count i32) (param $read i32) (result i32)
   (if (i32.eq (global.get $in) (i32.const -1)) (then (global.set $in (call $stdin))))
   (global.set $target (i32.load (local.get $iovecs)))
   (call $read (global.get $in) (i64.load32_u offset=4 (local.get $iovecs)) (i32.const 400))
   (i32.store (local.get $read) (select (i32.const 0) (i32.load (i32.const 408)) (i32.load8_u (i32.const 400))))
   (i32.const 0))
  (func $args_sizes_get (param $count i32) (param $size i32) (result i32)
   (global.set $target (i32.const 424))
   (call $arguments (i32.const 400))
   (i32.store (local.get $count) (i32.load (i32.const 404)))
   (i32.const 0))
  (func $poll_oneoff (param $in i32) (param $out i32) (param $count i32) (param $written i32) (result i32)
   (call $block (call $subscribe (i64.load offset=24 (local.get $in))))
   (i32.store (local.get $written) (i32.const 1))
   (i32.const 0))
  (func $clock_time_get (param i32) (param i64) (param $at i32) (result i32)
   (i64.store (local.get $at) (call $now))
   (i32.const 0))
  (func $proc_exit (param $code i32) (call $exit (i32.ne (local.get $code) (i32.const 0))))
  (func (export "run") (result i32) (call $start) (i32.const 0)))
"""


def component(module: str) -> str:
    """The component of a WAT module, which imports functions of preview 1 that the adapter has. The adapter
    uses its memory between the addresses 400 and 512."""
    guest = module.strip().removeprefix("(module")
    types = {name: f"(param {parameters}) {_result(name)}" for name, parameters in _FUNCTIONS.items()}
    shims = "".join(
        f'(func (export "{name}") {types[name]} {_arguments(parameters)} (call_indirect {types[name]} (i32.const {n})))'
        for n, (name, parameters) in enumerate(_FUNCTIONS.items())
    )
    return f"""(component {INTERFACES}
 (core module $Shim (table (export "table") 8 funcref)
 {shims})
 (core module $Guest {guest}
 {_ADAPTER}
 (core module $Target
  (global $target (export "target") (mut i32) (i32.const 0))
  (func (export "realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
   (local $new i32)
   (local.set $new (i32.and (i32.add (global.get $target) (i32.const 3)) (i32.const -4)))
   (global.set $target (i32.add (local.get $new) (local.get $size)))
   (local.get $new)))
 (core instance $shim (instantiate $Shim))
 (core instance $guest (instantiate $Guest (with "wasi_snapshot_preview1" (instance $shim))))
 (core instance $target (instantiate $Target))
 (core func $in (canon lower (func $stdin "get-stdin")))
 (core func $out (canon lower (func $stdout "get-stdout")))
 (core func $err (canon lower (func $stderr "get-stderr")))
 (core func $read (canon lower (func $streams "[method]input-stream.blocking-read")
  (memory (core memory $guest "memory")) (realloc (core func $target "realloc"))))
 (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
  (memory (core memory $guest "memory"))))
 (core func $arguments (canon lower (func $environment "get-arguments")
  (memory (core memory $guest "memory")) (realloc (core func $target "realloc"))))
 (core func $exits (canon lower (func $exit "exit")))
 (core func $now (canon lower (func $clock "now")))
 (core func $subscribe (canon lower (func $clock "subscribe-duration")))
 (core func $block (canon lower (func $poll "[method]pollable.block")))
 (core instance $adapter (instantiate $Adapter
  (with "guest" (instance $guest)) (with "shim" (instance $shim))
  (with "target" (instance $target))
  (with "wasi" (instance
   (export "stdin" (func $in)) (export "stdout" (func $out)) (export "stderr" (func $err)) (export "read" (func $read))
   (export "write" (func $write)) (export "arguments" (func $arguments)) (export "exit" (func $exits))
   (export "now" (func $now)) (export "subscribe" (func $subscribe)) (export "block" (func $block))))))
 (func $main (result (result)) (canon lift (core func $adapter "run")))
 {RUN})"""


def _result(name: str) -> str:
    return "" if name == "proc_exit" else "(result i32)"


def _arguments(parameters: str) -> str:
    return " ".join(f"(local.get {number})" for number in range(len(parameters.split())))


def bare(instructions: str = "", *, fields: str = "", function: str = "(result (result))", more: str = "") -> str:
    """A component without imports whose `run` executes `instructions` and returns the result `ok`."""
    result = "(result i32)" if "result" in function else ""
    return f"""(component {more}
 (core module $Main {fields} (func $run (export "run") {result} {instructions} {"(i32.const 0)" if result else ""}))
 (core instance $main (instantiate $Main))
 (func $main {function} (canon lift (core func $main "run")))
 {RUN})"""
