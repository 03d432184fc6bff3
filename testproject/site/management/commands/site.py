"""manage.py site: the page and the admin, with a user and some entries, on your own machine."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

from django_persist import persist

NAME: Final = "demo"
PASSWORD: Final = "demo"  # noqa: S105 (only for this machine)

ENTRIES: Final[tuple[tuple[dict[str, Any], timedelta | None], ...]] = (
    ({"settings:shipping": {"free_from": 49.9, "countries": ["DE", "AT", "FR", "IT"]}}, None),
    ({"greeting": "hello", "nothing": None, "enabled": True}, None),
    ({f"page:{name}:views": n for name, n in (("home", 1204), ("about", 87))}, None),
    ({"cart:17": {"lines": {"tea": 2, "pot": 1}}, "cart:4": {"lines": {"cup": 6}}}, timedelta(7)),
    ({f"tries:203.0.113.{n}": n for n in range(1, 6)}, timedelta(minutes=10)),
    ({"long": [{"number": n, "square": n * n} for n in range(500)]}, timedelta(hours=1)),
    # Expired by the time you look: an entry that a purge deletes.
    ({"code:5550100": "9421"}, timedelta(milliseconds=1)),
)


class Command(BaseCommand):
    help = "Serves the test project on this machine, with a user and some entries of each kind."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("port", nargs="?", type=int, default=8000, help="8000 by default")

    def handle(self, *, port: int, **options: Any) -> None:
        call_command("migrate", verbosity=0, interactive=False)
        users = get_user_model()._default_manager
        if not users.filter(username=NAME).exists():
            users.create_superuser(NAME, password=PASSWORD)
        for entries, lifetime in ENTRIES:
            persist.create_many(entries, expires=lifetime)
        address = f"http://127.0.0.1:{port}/"
        self.stdout.write(f"The page:  {address}")
        self.stdout.write(f"The admin: {address}admin/  (user {NAME}, password {PASSWORD})")
        self.stdout.write(f"The store: {settings.PERSIST_STORE}")
        self.stdout.flush()
        # Without DEBUG only `insecure_serving` serves the admin's style sheets.
        call_command(
            "runserver",
            f"127.0.0.1:{port}",
            use_reloader=False,
            insecure_serving=not settings.DEBUG,
        )
