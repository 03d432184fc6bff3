"""The site of `--site`, which gunicorn serves: ten gets in a request, by any contender."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.urls import path

from .served import KEYS, STORES
from .servers import configure_worker

configure_worker(os.environ[STORES].split(","), urlconf=__name__)


@cache
def _lineup(store: str) -> list[Any]:
    # Imported late, because they need the models, which need the settings.
    from .lineup import site_contenders

    return site_contenders(store)


def nothing(request: HttpRequest) -> HttpResponse:
    return HttpResponse("0")


def ten_gets(request: HttpRequest, store: str, number: int) -> HttpResponse:
    get = _lineup(store)[number].get
    return HttpResponse(str(sum(get(key) is not None for key in KEYS)))


urlpatterns = [path("", nothing), path("<store>/<int:number>", ten_gets)]
application = WSGIHandler()
