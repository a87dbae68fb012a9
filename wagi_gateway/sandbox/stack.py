"""Stacks of threads: how large a guest's has to be, and how large the calling thread's is."""

from __future__ import annotations

import ctypes

from ..compiler.engine import MAX_WASM_STACK

GUEST_STACK = MAX_WASM_STACK + 3 * 2**20
"""Bytes of the stack of a thread that runs guests: the guest's bound, beyond which the guest traps, and room for the
calls around it. wasmtime does not compare its bound with the thread's stack, whose end is a SIGSEGV."""

_ATTRIBUTES = 256
"""More bytes than pthread_attr_t has on any architecture."""
_libc = ctypes.CDLL(None)


def stack_size() -> int:
    """The size of the calling thread's stack in bytes, 0 where it is unknown (pthread_getattr_np(3)).

    The stack of the main thread ends at RLIMIT_STACK, and begins below arguments and environment (execve(2)).
    """
    try:
        get_attributes, get_stack = _libc.pthread_getattr_np, _libc.pthread_attr_getstack
    except AttributeError:
        return 0
    _libc.pthread_self.restype = ctypes.c_void_p
    attributes = ctypes.create_string_buffer(_ATTRIBUTES)
    if get_attributes(ctypes.c_void_p(_libc.pthread_self()), attributes):
        return 0
    address, size = ctypes.c_void_p(), ctypes.c_size_t()
    failed = get_stack(attributes, ctypes.byref(address), ctypes.byref(size))
    _libc.pthread_attr_destroy(attributes)
    return 0 if failed else size.value


def can_hold_guest() -> bool:
    """Whether a guest may run on the calling thread."""
    return stack_size() >= GUEST_STACK
