from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class PersistConfig(AppConfig):
    name = "django_persist"
    verbose_name = _("Persist")

    def ready(self) -> None:
        from . import checks  # noqa: F401 (the import registers them)
