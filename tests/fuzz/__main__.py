"""`scripts/fuzz`: every target under atheris, guided by coverage, and a table of the results."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tests.fuzz.targets import TARGETS

_MAX_LENGTH = 1024
_PATIENCE = 20
"""The timeout in seconds for one input."""
_COVERAGE = re.compile(r"^#\d+\s+\w+\s+cov: (\d+)", re.MULTILINE)
# The second is printed on the way, and is the only one if the process was terminated.
_EXECUTIONS = re.compile(r"^(?:stat::number_of_executed_units:\s*|#)(\d+)", re.MULTILINE)
_ARTEFACT = re.compile(r"Test unit written to (.*)")
_ERROR = re.compile(r"=== Uncaught Python exception: ===\n(?P<error>.*?)\n\n", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one target."""

    target: str
    executions: int
    seconds: float
    seeded: int
    """Places in the code that the seeds reach."""
    reached: int
    failure: str

    def __str__(self) -> str:
        places = f"{self.seeded:>7,} {self.reached - self.seeded:>+7,}"
        return f"{self.target:<10} {self.executions:>11,} {self.seconds:>8.0f} {places} {int(bool(self.failure)):>8}"


def fuzz(target: str, executions: int, seconds: int, saved: Path) -> Outcome:
    """Runs one target in a process of its own until a bound is reached or an input fails, which is then `saved`."""
    with tempfile.TemporaryDirectory() as name:
        corpus, seeds, words = (Path(name) / part for part in ("corpus", "seeds", "words"))
        corpus.mkdir()
        seeds.mkdir()
        for number, seed in enumerate((*TARGETS[target].seeds, *TARGETS[target].found)):
            (seeds / str(number)).write_bytes(seed)
        words.write_text("".join(f'"{_quoted(word)}"\n' for word in TARGETS[target].words))
        options = {
            "runs": executions,
            "max_total_time": seconds,
            "max_len": _MAX_LENGTH,
            "timeout": _PATIENCE,
            "dict": words,
            "artifact_prefix": f"{saved}/{target}-",
            "print_final_stats": 1,
        }
        command = [sys.executable, "-m", "tests.fuzz.child", target]
        command += [*(f"-{option}={value}" for option, value in options.items()), str(corpus), str(seeds)]
        began = time.monotonic()
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace", check=False)
        return _outcome(target, run.returncode, run.stdout, time.monotonic() - began)


def _quoted(word: bytes) -> str:
    return "".join(f"\\x{octet:02x}" for octet in word)


def _outcome(target: str, code: int, log: str, seconds: float) -> Outcome:
    coverage = [int(number) for number in _COVERAGE.findall(log)] or [0]
    failure = ""
    if code:
        error, artefact = _ERROR.search(log), _ARTEFACT.search(log)
        failure = error["error"] if error else log[-2000:]
        if artefact:
            path = os.path.relpath(artefact[1])
            failure += f"\n\nReproduce it: scripts/fuzz --target {target} --input {path}"
    done = max(map(int, _EXECUTIONS.findall(log)), default=0)
    return Outcome(target, done, seconds, coverage[0], coverage[-1], failure)


def _numbers(text: str) -> int:
    return int(text.replace("_", "").replace(",", ""))


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 1 if an input failed."""
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("--target", action="append", choices=TARGETS, help="only this one; may be there several times")
    parser.add_argument("--executions", type=_numbers, default=1_000_000, help="of all targets together (%(default)s)")
    parser.add_argument("--seconds", type=int, default=0, help="of each target at most; 0 for no bound (%(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="targets at a time (%(default)s)")
    parser.add_argument("--input", type=Path, help="try the one target with what is in this file, without atheris")
    parser.add_argument(
        "--save", type=Path, default=Path(".cache/fuzz"), help="where inputs that fail go (%(default)s)"
    )
    options = parser.parse_args(arguments)
    targets = options.target or list(TARGETS)
    if options.input:
        if len(targets) != 1:
            parser.error("--input needs one --target")
        TARGETS[targets[0]].check(options.input.read_bytes())
        print(f"{targets[0]}: nothing is wrong with {options.input}")
        return 0
    if not find_spec("atheris"):
        parser.error("atheris is not installed; its wheels are for CPython 3.11 to 3.13 on Linux for x86-64")
    options.save.mkdir(parents=True, exist_ok=True)
    shares = sum(TARGETS[target].share for target in targets)

    def run(target: str) -> Outcome:
        executions = -(-options.executions * TARGETS[target].share // shares)
        return fuzz(target, executions, options.seconds, options.save)

    print(f"{'target':<10} {'executions':>11} {'seconds':>8} {'seeded':>7} {'new':>7} {'failures':>8}", flush=True)
    with ThreadPoolExecutor(options.jobs) as pool:
        outcomes = []
        for outcome in pool.map(run, targets):
            outcomes.append(outcome)
            print(outcome, flush=True)
    total = sum(outcome.executions for outcome in outcomes)
    print(f"{'together':<10} {total:>11,}  Python {sys.version.split()[0]}, coverage in places reached")
    for outcome in outcomes:
        if outcome.failure:
            print(f"\n{outcome.target}: {outcome.failure}", file=sys.stderr)
    return int(any(outcome.failure for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
