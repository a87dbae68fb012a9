"""The verdict on memory."""

from __future__ import annotations

import random

import pytest

from .soak import slope

MIB = 2**20


@pytest.mark.parametrize(("growth", "is_noise"), [(0, True), (-20, True), (1, True), (10, False)])
def test_memory_grows_when_it_grows_by_more_than_its_noise(growth: int, is_noise: bool) -> None:
    dice = random.Random(1)
    samples = [(float(t), int(MIB * (70 + growth * t / 1000 + dice.gauss(0, 0.5)))) for t in range(1000)]
    found = slope(samples)
    assert found.is_noise == is_noise
    assert found.growth / MIB == pytest.approx(growth, abs=0.3)
    assert found.noise / MIB == pytest.approx(0.5, abs=0.05)
