from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Tags, register
from django.utils.translation import gettext_lazy as _


class PersistConfig(AppConfig):
    name = "django_persist"
    verbose_name = _("Persist")

    def ready(self) -> None:
        from . import checks  # noqa: F401 (the import registers them)

        register(check_views, "django_persist", Tags.urls)


def check_views(**kwargs: Any) -> list[CheckMessage]:
    """Report the views whose decorators from contrib can't do their work."""
    from .contrib._checks import check_views  # a project may use nothing of contrib

    return check_views()
