"""What a report of pip-audit comes to, and the exit code of scripts/audit; its argument is the report's path."""

import json
import sys
from pathlib import Path
from typing import Any


def main(path: str) -> int:
    """0 if no package has a known weakness, 1 if one has, 2 if it is not known of all."""
    text = Path(path).read_text()
    packages: list[dict[str, Any]] = json.loads(text)["dependencies"] if text else []
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    weak = [(package, weakness) for package in packages for weakness in package.get("vulns", ())]
    for package, weakness in weak:
        fixed = ", ".join(weakness["fix_versions"]) or "no version yet"
        print(f"{package['name']} {package['version']}: {weakness['id']}, fixed in {fixed}")
    if unknown or not packages:
        which = f"{len(unknown)} of {len(packages)}" if packages else "any of the"
        print(f"NOT AUDITED: PyPI's advisories could not be asked about {which} locked packages", file=sys.stderr)
    elif not weak:
        print(f"None of {len(packages)} locked packages has a known weakness")
    return 1 if weak else 2 if unknown or not packages else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
