"""What start-up finds wrong or doubtful, in the order it is found."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..errors import Problem


@dataclass(frozen=True, slots=True)
class Findings:
    """The problems and warnings of all places, and the place that is looked at."""

    where: str
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def at(self, where: str) -> Findings:
        """The same, while another place is looked at."""
        return replace(self, where=where)

    def refuse(self, what: str) -> None:
        """Notes a problem: nothing is served."""
        self.problems.append(Problem(self.where, what))

    def warn(self, what: str) -> None:
        """Notes what is doubtful."""
        self.warnings.append(Problem(self.where, what))
