"""How a guest has failed: the frames of a trap with their sources, and the output that was refused."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ..errors import RefusedOutput
from ..observe.diagnosis import Diagnosis
from .masks import Masks
from .recording import Recording
from .source_lines import SourceLine, source_lines


class ShownFrame(NamedTuple):
    """A frame of a trap."""

    function: str
    file: str
    """The path below the configuration's directory, or the name of a file elsewhere; empty without DWARF."""
    line: int | None
    column: int | None
    is_inlined: bool
    source: list[SourceLine]
    """The lines around, of a file below the configuration's directory."""


def frames(recording: Recording, base: Path) -> list[ShownFrame]:
    """The frames of a trap, the innermost first, each with the lines of its source below `base`."""
    shown: list[ShownFrame] = []
    for frame in recording.outcome.frames if recording.outcome else ():
        found = source_lines(base, frame.file, frame.line) if frame.file and frame.line else None
        name = found[0] if found else Path(frame.file).name if frame.file else ""
        source = found[1] if found else []
        shown.append(ShownFrame(frame.function, name, frame.line, frame.column, frame.is_inlined, source))
    return shown


def diagnosis(recording: Recording, masks: Masks) -> Diagnosis:
    """The frames of a trap, and the output that was refused, with the place in the masked output."""
    output, offset = recording.stdout.content, recording.refused_at
    refused = None
    if offset is not None:
        refused = RefusedOutput.cut(masks.hide(output), len(masks.hide(output[:offset])))
    return Diagnosis(recording.outcome.frames if recording.outcome else (), refused)
