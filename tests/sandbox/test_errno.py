"""The error numbers of WASI preview 1 (`errno`)."""

from __future__ import annotations

import pytest

from wagi_gateway.sandbox import errno

pytestmark = pytest.mark.parametrize("path", ["hot"], indirect=True)

NAMES = (
    "success 2big acces addrinuse addrnotavail afnosupport again already badf badmsg busy canceled child connaborted"
    " connrefused connreset deadlk destaddrreq dom dquot exist fault fbig hostunreach idrm ilseq inprogress intr inval"
    " io isconn isdir loop mfile mlink msgsize multihop nametoolong netdown netreset netunreach nfile nobufs nodev"
    " noent noexec nolck nolink nomem nomsg noprotoopt nospc nosys notconn notdir notempty notrecoverable notsock"
    " notsup notty nxio overflow ownerdead perm pipe proto protonosupport prototype range rofs spipe srch stale"
    " timedout txtbsy xdev notcapable"
).split()
"""The names in their order (WASI preview 1, `typenames.witx`)."""


def test_the_numbers() -> None:
    numbers = {name: value for name, value in vars(errno).items() if name.isupper()}
    assert numbers == {name: NAMES.index(name.lower()) for name in numbers}
