"""The machine finds broken drivers, in the few examples that a run has time for."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from django_persist.drivers.memory import MemoryDriver
from tests.broken import FOUND_BY_THE_MACHINE
from tests.machine.conftest import OpenPlace
from tests.machine.machine import StoreMachine
from tests.machine.test_machine import STEPS


# It tests the tests: no change of the package alone can break it.
@pytest.mark.costly
@pytest.mark.parametrize("driver", FOUND_BY_THE_MACHINE)
def test_a_broken_driver_is_found(driver: type[MemoryDriver], open_place: OpenPlace) -> None:
    place = open_place({"BACKEND": f"{driver.__module__}.{driver.__name__}"})

    def machine() -> StoreMachine:
        return StoreMachine(place)

    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            machine,  # type: ignore[arg-type]
            settings=settings(
                max_examples=600,
                stateful_step_count=STEPS,
                derandomize=True,
                database=None,
                phases=[Phase.generate],
                report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),
            ),
        )
