"""The contract bites: the test that names a fault finds it, and passes where there is none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.broken import FOUND_BY_THE_CONTRACT


# It tests the tests: no change of the package alone can break it.
@pytest.mark.costly
def test_each_broken_driver_fails_on_the_test_that_names_its_fault(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-p", "no:cacheprovider"]
    command += ["-n", "0", f"--junitxml={report}"]
    run = subprocess.run(
        [*command, str(Path(__file__).with_name("broken_run.py"))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1, run.stdout + run.stderr
    faults = {(test, cls.__name__) for cls, test in FOUND_BY_THE_CONTRACT.items()}
    assert outcomes(report, "failure") == faults
    assert outcomes(report, None) >= {(test, "MemoryDriver") for test, _ in faults}


def outcomes(report: Path, outcome: str | None) -> set[tuple[str, str]]:
    """Return the tests of which some case had this outcome, with the driver; None is passed."""
    found = set()
    for case in ET.parse(report).iter("testcase"):
        if [each.tag for each in case] == ([] if outcome is None else [outcome]):
            test, _, parameters = case.attrib["name"].partition("[")
            found |= {(test, each) for each in parameters.rstrip("]").split("-")}
    names = {"MemoryDriver", *(cls.__name__ for cls in FOUND_BY_THE_CONTRACT)}
    return {(test, driver) for test, driver in found if driver in names}
