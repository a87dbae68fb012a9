"""Guests that loop, sleep or print without end if they have an argument, and the requests that start them."""

from __future__ import annotations

import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tests.conftest import Server
from tests.support import guests

T = TypeVar("T")


def if_argument(attack: str) -> str:
    """A guest that prints hello; with an argument it first writes "at work" to standard error and runs `attack`."""
    hello = guests.CONTENT_TYPE + b"hello\n"
    return f"""(module
 (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
 (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
 (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
 (memory (export "memory") 2)
 (data (i32.const 512) "at work\\n") (data (i32.const 1024) {guests.wat_string(hello)})
 (func $write (param $fd i32) (param $at i32) (param $length i32)
  (i32.store (i32.const 0) (local.get $at)) (i32.store (i32.const 4) (local.get $length))
  (drop (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))
 (func $sleep (param $nanoseconds i64)
  (i32.store (i32.const 128) (i32.const 1)) (i64.store (i32.const 136) (local.get $nanoseconds))
  (drop (call $poll (i32.const 112) (i32.const 256) (i32.const 1) (i32.const 300))))
 (func (export "_start")
  (drop (call $args_sizes_get (i32.const 16) (i32.const 20)))
  (if (i32.gt_u (i32.load (i32.const 16)) (i32.const 1)) (then
   (call $write (i32.const 2) (i32.const 512) (i32.const 8))
   {attack}))
  (call $write (i32.const 1) (i32.const 1024) (i32.const {len(hello)}))))"""


LOOP = if_argument("(loop $forever (br $forever))")


SLEEP = if_argument("(call $sleep (i64.const 3600000000000))")


NAP = if_argument("(call $sleep (i64.const 1000000000))")


LONG_NAP = if_argument("(call $sleep (i64.const 3000000000))")
"""Long enough for another request on a busy machine."""


STREAM = if_argument(
    f"""(call $write (i32.const 1) (i32.const 1024) (i32.const {len(guests.CONTENT_TYPE)}))
    (loop $forever (call $write (i32.const 1) (i32.const 0) (i32.const 65536)) (br $forever))"""
)


def together(count: int, call: Callable[[int], T]) -> list[T]:
    """The results of `count` calls made at the same time."""
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(call, range(count)))


def send(server: Server, request: bytes) -> socket.socket:
    """Opens a connection and sends raw bytes."""
    connection = server.connect()
    connection.sendall(request)
    return connection


def get(path: str) -> bytes:
    """The bytes of a GET."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def wait_for_work(server: Server, route: str, count: int = 1) -> None:
    """Returns when `count` guests of this route have written "at work"."""
    server.wait_for_log(rf"(?s)(at work route={route} .*){{{count}}}")
