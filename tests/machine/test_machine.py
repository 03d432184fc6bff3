"""Whatever is called, on every server: a store behaves like one plain dictionary."""

from __future__ import annotations

from typing import Final

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.extent import examples
from tests.machine.machine import StoreMachine
from tests.machine.place import Place

EXAMPLES: Final = 8
STEPS: Final = 40


def test_a_store_is_a_dictionary_whose_entries_expire(place: Place) -> None:
    def machine() -> StoreMachine:
        return StoreMachine(place)

    run_state_machine_as_test(
        machine,  # type: ignore[arg-type]
        settings=settings(
            max_examples=examples(EXAMPLES),
            stateful_step_count=STEPS,
            suppress_health_check=list(HealthCheck),
        ),
    )
