"""Install a built wheel into a new environment, and use it on a new site.

python scripts/check_wheel.py dist      (the folder with the wheel)
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

SETTINGS = """
INSTALLED_APPS += ["django_persist"]
MIDDLEWARE += ["django_persist.middleware.PersistMiddleware"]
PERSIST = {
    "default": {"BACKEND": "django_persist.drivers.database.DatabaseDriver"},
    "scratch": {"BACKEND": "django_persist.drivers.memory.MemoryDriver"},
}
"""

USE = """
from datetime import timedelta
from importlib.resources import files

from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.utils import translation

import django_persist
from django_persist import Key, stores
from django_persist.middleware import PersistMiddleware
from django_persist.models import Entry

VISITS = Key("visits:{page}", as_=int, expires=timedelta(days=1))


def view(request):
    return HttpResponse(str(request.persist.incr(VISITS(page="home"))))


assert "site-packages" in django_persist.__file__, django_persist.__file__
for name in (
    "py.typed",
    "static/django_persist/admin.css",
    "static/django_persist/panel.svg",
    "templates/django_persist/panel.html",
):
    assert files("django_persist").joinpath(name).is_file(), name
get_response = PersistMiddleware(view)
assert get_response(RequestFactory().get("/")).content == b"1"
assert get_response(RequestFactory().get("/")).content == b"2"
for alias in stores:
    stores[alias].set("greeting", {"hello": ["world", None, 1.5]})
    assert stores[alias].get("greeting") == {"hello": ["world", None, 1.5]}, alias
client = Client(SERVER_NAME="localhost")
client.force_login(User.objects.create_superuser("ada"))
with translation.override("de"):
    assert Entry._meta.verbose_name_plural == "Einträge"
page = client.get("/admin/django_persist/entry/")
assert page.status_code == 200
assert b">greeting<" in page.content
print("used on", ", ".join(stores))
"""


def main(folder: str) -> None:
    [wheel] = Path(folder).resolve().glob("*.whl")
    # Without PYTHONPATH and the like, so that neither the checkout nor this environment is used.
    environ = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
    with TemporaryDirectory(prefix="persist-wheel-") as temporary:
        where = Path(temporary)

        def run(*command: object) -> None:
            subprocess.run(list(map(str, command)), cwd=where, env=environ, check=True)

        run(sys.executable, "-m", "venv", "venv")
        python = where / "venv" / "bin" / "python"
        run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel)
        run(python, "-m", "django", "startproject", "site1", ".")
        with (where / "site1" / "settings.py").open("a") as settings:
            settings.write(SETTINGS)
        manage = (python, "-W", "error", "manage.py")
        run(*manage, "check", "--fail-level", "WARNING")
        run(*manage, "makemigrations", "--check", "--dry-run")
        run(*manage, "migrate", "--verbosity", "0")
        run(*manage, "check", "--database", "default")
        run(*manage, "shell", "--no-imports", "--verbosity", "0", "--command", USE)
        run(*manage, "purge_persist")


if __name__ == "__main__":
    main(*sys.argv[1:])
