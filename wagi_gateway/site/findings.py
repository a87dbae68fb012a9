"""Findings of a configuration: problems, which prevent a start, and warnings."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..errors import Problem


@dataclass(frozen=True, slots=True)
class Findings:
    """A list of problems and one of warnings, and the location in the configuration of the next finding."""

    where: str
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def at(self, where: str) -> Findings:
        """The same lists with another location."""
        return replace(self, where=where)

    def refuse(self, what: str) -> None:
        """Adds a problem at `where`."""
        self.problems.append(Problem(self.where, what))

    def warn(self, what: str) -> None:
        """Adds a warning at `where`."""
        self.warnings.append(Problem(self.where, what))
