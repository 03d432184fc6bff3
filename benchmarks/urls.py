"""Two views that do nothing, to measure what a request costs."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import path


def view(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


async def async_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


urlpatterns = [path("", view), path("async", async_view)]
