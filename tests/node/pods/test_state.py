"""The state of a Pod on disk."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from wagi_gateway.node.pods.state import PodState, Run, Termination, Waiting, rfc3339

RUN = Run(1, 2, "id", "2026-11-30T12:00:00Z", "0.0.0.0", 3001, started={"a": True})
FULL = PodState(
    phase="Running",
    restarts=3,
    waiting_images={"a": Waiting("ErrImagePull", "m")},
    images={"a": "r.example/a@sha256:0"},
    run=RUN,
    last_termination=Termination(1, "Error", "", "s", "f", "id"),
)


@pytest.mark.parametrize("state", [PodState(), FULL], ids=["new", "full"])
def test_a_state_is_read_as_it_was_written(tmp_path: Path, state: PodState) -> None:
    state.save(tmp_path / "state.json")
    assert PodState.load(tmp_path / "state.json") == state
    assert (tmp_path / "state.json").stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["state.json"]


@pytest.mark.parametrize("text", ["", "{}", "[]", "[" * 100_000, '{"waiting": {}, "unknown": 1}', "\0"])
def test_a_damaged_state_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    assert PodState.load(tmp_path / "state.json") is None
    assert PodState.load(tmp_path / "absent") is None


@pytest.mark.parametrize(
    "change",
    [
        {"phase": 7},
        {"restarts": "3"},
        {"start_time": None},
        {"run": {"pid": "x"}},
        {"run": dataclasses.asdict(RUN) | {"pid": 2**40}},
        {"run": dataclasses.asdict(RUN) | {"pid": -1}},
        {"waiting": []},
        {"images": {"a": 1}},
    ],
)
def test_a_value_of_another_type_is_damage(tmp_path: Path, change: dict[str, Any]) -> None:
    (tmp_path / "state.json").write_text(json.dumps(dataclasses.asdict(FULL) | change))
    assert PodState.load(tmp_path / "state.json") is None


def test_times_are_those_of_the_api() -> None:
    assert rfc3339(0) == "1970-01-01T00:00:00Z"
