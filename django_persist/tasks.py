"""Tasks for Django's tasks framework, which Django 6.0 and newer have."""

from __future__ import annotations

try:
    from django.tasks import task
except ModuleNotFoundError as error:
    raise ImportError(
        "django_persist.tasks needs Django 6.0 or newer. On Django 5.2 run manage.py purge_persist "
        "from cron, or call purge() of your stores in a task of your own."
    ) from error

from .keyspace import CHUNK
from .purging import Purge


@task
def purge(
    store: str | None = None, batch_size: int = CHUNK, max_seconds: float | None = None
) -> dict[str, int]:
    """Delete the expired entries of the store with that alias, or of all; return how many by alias.

    It works like `manage.py purge_persist`: in short batches while others write, safe to run twice
    at once. After `max_seconds` it starts no batch; the next run continues. A store that fails does
    not keep the others from being purged: its error is raised at the end, several as an
    ExceptionGroup.
    """
    work = Purge(store)
    for _ in work.run(batch_size, max_seconds):
        pass
    match list(work.errors.items()):
        case []:
            return work.numbers
        case [(alias, error)]:
            error.add_note(f"The store {alias!r} was not purged.")
            raise error
        case _:
            raise ExceptionGroup(
                f"These stores were not purged: {', '.join(work.errors)}.",
                list(work.errors.values()),
            )
