"""``make sbom``: write the software bill of materials of the wheel, as CycloneDX JSON.

It names the package, all that an installation of it consists of in the versions with which it was
tested (``requirements-dev.txt``), their licences, and what needs what; no development tools.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from airflow_provider_quickrouter import __version__
from dev.release_closure import ROOT, closure, required

OURS = "airflow-provider-quickrouter"
Bill = dict[str, Any]


def main() -> None:
    """Write it into ``dist``, validate it with CycloneDX's schema, and print its path."""
    bill = make()
    check(bill)
    path = ROOT / "dist" / f"{OURS}.cdx.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(bill, indent=2) + "\n")
    print(f"the bill of {len(bill['components'])} materials: {path.relative_to(ROOT)}")


def make() -> Bill:
    """Make it of what is installed here."""
    needs = closure(required())
    bill = _of_all_that_is_installed()
    one = bill["metadata"]["component"]
    one |= {"version": __version__, "purl": f"pkg:pypi/{OURS}@{__version__}"}
    names = {str(canonicalize_name(one["name"])): one for one in bill["components"]}
    bill["components"] = [names[name] for name in sorted(needs)]
    refs = {name: names[name]["bom-ref"] for name in needs}
    direct = {canonicalize_name(Requirement(text).name) for text in required()}
    edges = {one["bom-ref"]: direct} | {refs[name]: needed for name, needed in needs.items()}
    bill["dependencies"] = [
        {"ref": ref, "dependsOn": sorted(refs[name] for name in needed)} for ref, needed in edges.items()
    ]
    return bill


def check(bill: Bill) -> None:
    """Compare it with CycloneDX's schema; takes half a minute.

    :raises ValueError: something in it is not as the schema has it.
    """
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill)):
        raise ValueError(f"not a valid CycloneDX bill of materials: {error}")


def _of_all_that_is_installed() -> Bill:
    """Run CycloneDX's own tool, which knows licences; it cannot omit what is not needed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "all.json"
        command = [sys.executable, "-m", "cyclonedx_py", "environment", "--no-validate"]
        options = ["--pyproject", str(ROOT / "pyproject.toml"), "--mc-type", "library"]
        output = ["--output-reproducible", "--of", "JSON", "--sv", "1.6", "-o", str(path)]
        subprocess.run([*command, *options, *output], check=True, capture_output=True)
        bill: Bill = json.loads(path.read_text())
    return bill


if __name__ == "__main__":
    main()
