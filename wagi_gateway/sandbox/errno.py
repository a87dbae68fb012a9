"""Error numbers of WASI preview 1 (`errno`) that the gateway's host functions return."""

from __future__ import annotations

SUCCESS = 0
ACCES = 2
BADF = 8
EXIST = 20
FAULT = 21
INVAL = 28
IO = 29
ISDIR = 31
MFILE = 33
NAMETOOLONG = 37
NOENT = 44
NOTDIR = 54
NOTSOCK = 57
NOTSUP = 58
PERM = 63
SPIPE = 70
