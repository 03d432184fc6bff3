"""A process with Sentry, and its spans. Reads the settings of the database from stdin.

The same calls are made before Sentry is there, and after.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import Any


def _keep(sent: list[Any], event: Any, hint: Any) -> None:
    sent.append(event)


def main() -> None:
    from django.conf import settings

    database = json.load(sys.stdin)
    settings.configure(
        DATABASES={"default": {**database, "CONN_MAX_AGE": 60}},
        INSTALLED_APPS=["django_persist"],
        USE_TZ=True,
    )
    import django

    django.setup()
    import sentry_sdk
    from sentry_sdk.integrations.django import DjangoIntegration

    from django_persist import persist
    from tests.aliases import migrate

    migrate("default")
    spans: list[list[str]] = []
    for integrations in ([], [DjangoIntegration()]):
        sent: list[Any] = []
        sentry_sdk.init(
            dsn="https://key@sentry.invalid/1",
            traces_sample_rate=1.0,
            before_send_transaction=partial(_keep, sent),
            integrations=integrations,
            default_integrations=False,
            auto_enabling_integrations=False,
        )
        with sentry_sdk.start_transaction(name="page"):
            persist.set("key", "value")
            persist.get("key")
        [transaction] = sent
        spans.append([each["description"] for each in transaction["spans"] if each["op"] == "db"])
    persist.remove("key")
    json.dump(spans, sys.stdout)


if __name__ == "__main__":
    main()
