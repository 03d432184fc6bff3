"""The contract bites: each fault is found by the test that names it, and only faults are."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.broken import FOUND_BY_THE_CONTRACT as BROKEN


def test_each_broken_driver_fails_on_the_test_that_names_its_fault(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-p", "no:cacheprovider"]
    # Each its own test; the driver that they all break, all of these.
    asked = [f"{cls.__name__} and {test}" for cls, test in BROKEN.items()]
    asked.append(f"MemoryDriver and ({' or '.join(set(BROKEN.values()))})")
    command += ["-n", "0", f"--junitxml={report}", "-k", " or ".join(asked)]
    run = subprocess.run(
        [*command, str(Path(__file__).with_name("broken_run.py"))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1, run.stdout + run.stderr
    failed: dict[str, set[str]] = defaultdict(set)
    for case in ET.parse(report).iter("testcase"):
        test, _, parameters = case.attrib["name"].partition("[")
        if case.find("failure") is not None:
            failed[parameters.rstrip("]").split("-")[0]].add(test)
    assert {cls.__name__: test for cls, test in BROKEN.items() if test in failed[cls.__name__]} == {
        cls.__name__: test for cls, test in BROKEN.items()
    }
    assert failed.keys() == {cls.__name__ for cls in BROKEN}
