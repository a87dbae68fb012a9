"""One target under atheris, whose libFuzzer ends the process itself: `python -m tests.fuzz.child TARGET [options]`."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["wagi_gateway"]):
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    program, target, *options = sys.argv
    atheris.Setup([program, *options], TARGETS[target].check)
    atheris.Fuzz()
