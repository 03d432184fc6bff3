"""The page, and the HTTP interface under /store/."""

from __future__ import annotations

from django.apps import apps
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path, register_converter

from testproject.site import api, page
from testproject.site.recipes import wizard


class KeyConverter:
    """Accepts any text. The store checks the key, and an invalid one gets a 400 with the reason."""

    regex = r"(?s:.*)"

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


register_converter(KeyConverter, "key")

urlpatterns: list[URLPattern | URLResolver] = [
    path("", page.index, name="index"),
    path("cart", page.change_cart, name="cart"),
    path("links", page.make_link, name="links"),
    path("links/<slug:token>", page.open_link, name="link"),
    path("knock", page.knock, name="knock"),
    path("orders", page.order, name="orders"),
    path("application/review", wizard.review, name="review"),
    path("application/<slug:step>", wizard.wizard, name="wizard"),
    path("switch", page.set_switch, name="switch"),
    path("job", page.run_job, name="job"),
    path("read/<path:path>", page.read, name="read"),
    path("admin/", admin.site.urls),
    path("store/<key:key>", api.Entry.as_view(), name="entry"),
]
if apps.is_installed("debug_toolbar"):
    urlpatterns.append(path("__debug__/", include("debug_toolbar.urls")))
