"""One guest invocation: a fresh store and instance, limits, deadline, stdin, stdout pipe and stderr."""

from ..gateway.admission import Gate, Places
from .guest import Execution
from .invocation import Invocation, Outcome
from .sandbox import Sandbox

__all__ = ["Execution", "Gate", "Invocation", "Outcome", "Places", "Sandbox"]
