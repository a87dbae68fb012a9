"""Summarises a JSON report of pip-audit, whose path is the argument, and exits as scripts/audit describes."""

import json
import sys
from pathlib import Path
from typing import Any


def main(path: str) -> int:
    """Prints the summary; returns 0 without vulnerabilities, 1 with one, 2 if a package was not audited."""
    text = Path(path).read_text()
    packages: list[dict[str, Any]] = json.loads(text)["dependencies"] if text else []
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    vulnerable = [(package, found) for package in packages for found in package.get("vulns", ())]
    for package, found in vulnerable:
        fixed = ", ".join(found["fix_versions"]) or "no version yet"
        print(f"{package['name']} {package['version']}: {found['id']}, fixed in {fixed}")
    if unknown or not packages:
        which = f"{len(unknown)} of {len(packages)}" if packages else "any of the"
        print(f"NOT AUDITED: PyPI's advisories could not be asked about {which} locked packages", file=sys.stderr)
    elif not vulnerable:
        print(f"None of {len(packages)} locked packages has a known weakness")
    return 1 if vulnerable else 2 if unknown or not packages else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
