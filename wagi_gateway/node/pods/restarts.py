"""The back-off of restarts and pulls, and the restart policy (pure: times are arguments)."""

from __future__ import annotations

from dataclasses import dataclass

from ..api import Object

FIRST_DELAY = 10.0
MAX_DELAY = 300.0
GOOD_RUN = 600.0
"""Seconds of a run after which the back-off begins anew."""


@dataclass(slots=True)
class BackOff:
    """A delay in seconds that doubles with each failure."""

    first: float = FIRST_DELAY
    maximum: float = MAX_DELAY
    delay: float = 0.0
    """The delay before the next attempt; 0 before the first failure."""

    def fail(self) -> float:
        """Counts a failure, and returns the delay before the next attempt: 10, 20, 40 … 300 seconds."""
        self.delay = min(self.delay * 2, self.maximum) if self.delay else self.first
        return self.delay

    def reset(self) -> None:
        """Begins anew, after a success."""
        self.delay = 0.0


@dataclass(slots=True)
class Restarts:
    """The restart policy of one Pod, and the back-off of its restarts."""

    policy: str = "Always"
    """`spec.restartPolicy`."""
    first: float = FIRST_DELAY
    """Seconds of the first delay."""
    delay: float = 0.0
    """Seconds of the next delay; 0 before the first restart in a row, which is immediate as a kubelet's."""

    def is_wanted(self, exit_code: int) -> bool:
        """Whether the policy restarts a gateway that has ended."""
        return self.policy == "Always" or (self.policy == "OnFailure" and exit_code != 0)

    def next_delay(self, ran: float) -> float:
        """The seconds to wait before the restart of a gateway that ran for `ran` seconds."""
        if ran >= GOOD_RUN:
            self.delay = 0.0
        delay = self.delay
        self.delay = min(delay * 2, 30 * self.first) if delay else self.first
        return delay


def restart_policy(pod: Object) -> str:
    """`spec.restartPolicy`."""
    return pod["spec"].get("restartPolicy") or "Always"
