"""The summary of pip-audit's reports by scripts/audit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

GOOD = {"name": "good", "version": "1.0", "vulns": []}
WEAK = {"name": "weak", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"], "aliases": []}]}
UNKNOWN = {"name": "unknown", "skip_reason": "Dependency not found on PyPI and could not be audited: unknown (1.0)"}
WEAKNESS = "weak 1.0: PYSEC-1, fixed in 1.1\n"


@pytest.mark.parametrize(
    ("packages", "code", "output", "complaint"),
    [
        ([GOOD, GOOD], 0, "None of 2 locked packages has a known weakness\n", ""),
        ([GOOD, WEAK], 1, WEAKNESS, ""),
        ([GOOD, UNKNOWN], 2, "", "1 of 2"),
        ([WEAK, UNKNOWN], 1, WEAKNESS, "1 of 2"),
        ([], 2, "", "any of the"),
        (None, 2, "", "any of the"),
    ],
    ids="good|a weakness|a package nobody knows|both|no package|no report".split("|"),
)
def test_a_report(
    packages: list[dict[str, object]] | None, code: int, output: str, complaint: str, tmp_path: Path
) -> None:
    report = tmp_path / "report"
    report.write_text("" if packages is None else json.dumps({"dependencies": packages, "fixes": []}))
    command = [sys.executable, str(ROOT / "scripts/audit_report.py"), str(report)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (code, output)
    expected = f"NOT AUDITED: PyPI's advisories could not be asked about {complaint} locked packages\n"
    assert done.stderr == (expected if complaint else "")
