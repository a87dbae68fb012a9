"""The long form: every fault once, then load for a chosen time. `python -m tests.system.faults --help`."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path

from .catalogue import FAULTS
from .cities import Cities
from .city import city
from .fault import Fault
from .report import table
from .soak import soak

_CALM = 3.0
"""Seconds of load before a fault."""


def main() -> int:
    """The exit code: 1 if there is a problem."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument(
        "--minutes", type=float, default=30, help="of load after the faults, and five in which it runs in; 0 for none"
    )
    parser.add_argument("--rate", type=float, default=0.7, help="part of the capacity that is measured first")
    parser.add_argument("--reload-every", type=float, default=60, metavar="SECONDS")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--faults", nargs="+", default=["all"], help="all, none, or names", metavar="NAME")
    arguments = parser.parse_args()
    problems: list[str] = []
    with tempfile.TemporaryDirectory(prefix="soak-") as directory:
        if faults := _chosen(parser, arguments.faults):
            problems += _inflict(faults, Path(directory), arguments.workers)
        if arguments.minutes:
            with city(Path(directory) / "soak", arguments.workers) as running:
                problems += soak(running, arguments.minutes, arguments.rate, arguments.reload_every)
    print("\n".join(["FAILED", *problems] if problems else ["ok"]))
    return 1 if problems else 0


def _chosen(parser: argparse.ArgumentParser, names: list[str]) -> list[Fault]:
    known = {fault.name: fault for fault in FAULTS}
    if names in (["all"], ["none"]):
        return list(FAULTS) if names == ["all"] else []
    for name in names:
        if name not in known:
            parser.error(f"there is no fault {name!r}; there are: {', '.join(known)}")
    return [known[name] for name in names]


def _inflict(faults: list[Fault], directory: Path, workers: int) -> list[str]:
    outcomes, problems = [], []
    with contextlib.ExitStack() as stack:
        cities = Cities(directory, stack, workers)
        for fault in faults:
            outcomes.append(cities.inflict(fault, _CALM))
            problems += [f"{fault.name}: {problem}" for problem in outcomes[-1].problems]
            print(f"{fault.name}: {'FAILED' if outcomes[-1].problems else 'ok'}", file=sys.stderr)
        try:
            cities.rest()
        except AssertionError as error:
            problems.append(f"at rest: {error}")
    print(table(outcomes), flush=True)
    return problems


if __name__ == "__main__":
    sys.exit(main())
