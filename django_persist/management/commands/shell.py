"""Django's shell, with `persist` and `stores`."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from django.apps import apps
from django.core.management import find_commands
from django.core.management.commands import shell

from ...conf import PACKAGE


def _shell_without_ours() -> type[shell.Command]:
    """Return what `manage.py shell` would be without this command: Django's, or another app's."""
    for config in apps.get_app_configs():
        management = Path(config.path) / "management"
        if config.name != PACKAGE and "shell" in find_commands(str(management)):
            command: type[shell.Command] = import_module(
                f"{config.name}.management.commands.shell"
            ).Command
            return command
    return shell.Command


if TYPE_CHECKING:
    Base = shell.Command
else:
    Base = _shell_without_ours()


class Command(Base):
    def get_auto_imports(self) -> list[str] | None:
        """Import `persist` and `stores`, too, unless another app imports nothing."""
        imports = super().get_auto_imports()
        if imports is None:
            return None
        return [*imports, f"{PACKAGE}.persist", f"{PACKAGE}.stores"]
