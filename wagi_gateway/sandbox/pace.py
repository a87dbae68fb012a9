"""How quick the guests of one module have been: one that is quick may run on the event loop's thread."""

from __future__ import annotations

from .invocation import MOMENT

_QUICK = 0.0005
"""Seconds of processor time a quick guest takes at most. To hand it to another thread costs a tenth of that."""
_STANDSTILL = 4 * MOMENT
"""Seconds for which no guest may hold up the others; one that does so met an epoch late, after calls that take long."""
_PROOF = 8
"""Quick guests in a row that are asked for at first, and how many times more after one that was not."""
_MAX_PROOF = _PROOF**7


class Pace:
    """Trusts a module once some guests in a row were quick, asks for many more after one that was not, and forgives.

    A module that means to hold the others up is asked for two million quick guests before it may do so again.
    """

    __slots__ = ("_proof", "_streak", "is_quick")

    def __init__(self) -> None:
        self.is_quick = False
        self._proof = _PROOF
        self._streak = 0

    def note_run(self, seconds: float) -> None:
        """A guest has run on a thread for so many seconds of processor time."""
        self._streak = self._streak + 1 if seconds <= _QUICK else 0
        if self._streak >= self._proof:
            self._streak = 0
            self.is_quick = True

    def note_end(self) -> None:
        """A guest has ended on the event loop's thread in time."""
        self._streak += 1
        if self._streak >= self._proof:
            self._streak = 0
            self._proof = max(_PROOF, self._proof // _PROOF)

    def note_delay(self, seconds: float) -> None:
        """A guest has held up the others on the event loop's thread, for some seconds of processor time or blocked."""
        self._streak = 0
        self._proof = min(self._proof * (_PROOF**3 if seconds > _STANDSTILL else _PROOF), _MAX_PROOF)
        self.is_quick = False
