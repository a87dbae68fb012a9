"""Kubernetes quantities: `128Mi`, `1.5G`, `1e9`, `128974848000m`."""

from __future__ import annotations

import math
import re
from fractions import Fraction

_QUANTITY = re.compile(r"\+?(\d+\.?\d*|\.\d+)(?:([numkMGTPE]|[KMGTPE]i)?|[eE]([+-]?\d{1,3}))", re.ASCII)
_FACTORS = {
    **{suffix: Fraction(1000) ** power for power, suffix in enumerate(["n", "u", "m", "", *"kMGTPE"], start=-3)},
    **{f"{suffix}i": Fraction(1024) ** power for power, suffix in enumerate("KMGTPE", start=1)},
}


def parse_quantity(text: str) -> Fraction:
    """The exact number of a quantity.

    >>> parse_quantity("250m"), parse_quantity("1Ki")
    (Fraction(1, 4), Fraction(1024, 1))

    Raises ValueError.
    """
    match = _QUANTITY.fullmatch(text) if len(text) <= 64 else None
    if not match:
        raise ValueError('not a quantity; write for example "128Mi"')
    number, suffix, exponent = match.groups()
    factor = Fraction(10) ** int(exponent) if exponent else _FACTORS[suffix or ""]
    return Fraction(number) * factor


def parse_bytes(text: str) -> int:
    """The number of bytes of a quantity, rounded up as in Kubernetes.

    >>> parse_bytes("1.5Ki"), parse_bytes("1500m")
    (1536, 2)

    Raises ValueError.
    """
    return math.ceil(parse_quantity(text))
