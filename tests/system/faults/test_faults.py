"""Each fault once, under load: no other client is affected, and all resources are released."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from .catalogue import FAULTS
from .cities import Cities
from .fault import Fault
from .report import table
from .trial import Outcome

CALM = 0.2
"""Seconds of load before a fault."""

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    return []


@pytest.fixture(scope="module")
def cities(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cities]:
    with contextlib.ExitStack() as stack:
        yield Cities(tmp_path_factory.mktemp("faults"), stack)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_affects_no_other_client(fault: Fault, cities: Cities, outcomes: list[Outcome]) -> None:
    outcome = cities.inflict(fault, CALM)
    outcomes.append(outcome)
    assert outcome.problems == ()


def test_threads_end(cities: Cities, outcomes: list[Outcome]) -> None:
    cities.rest()
    print(f"\n{table(outcomes)}")
