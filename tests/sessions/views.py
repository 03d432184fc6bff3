"""Views that use a session, sync and async."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import aauthenticate, alogin, alogout, authenticate, login, logout
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from django_persist.sessions import SessionStore


def show(request: HttpRequest) -> HttpResponse:
    return JsonResponse({**dict(request.session.items()), "user": request.user.get_username()})


def put(request: HttpRequest) -> HttpResponse:
    request.session.update(request.GET.dict())
    return HttpResponse()


def untouched(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


def log_in(request: HttpRequest) -> HttpResponse:
    user = authenticate(request, username="ada", password="secret")
    assert user is not None
    login(request, user)
    return HttpResponse()


def log_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    return HttpResponse()


def elsewhere(request: HttpRequest) -> HttpResponse:
    """Change the session while the user logs out in another tab."""
    request.session["late"] = True
    SessionStore(request.session.session_key).flush()
    if "cycle" in request.GET:
        request.session.cycle_key()
    return HttpResponse()


async def show_async(request: Any) -> HttpResponse:
    user = await request.auser()
    return JsonResponse({**dict(await request.session.aitems()), "user": user.get_username()})


async def put_async(request: Any) -> HttpResponse:
    await request.session.aupdate(request.GET.dict())
    return HttpResponse()


async def log_in_async(request: Any) -> HttpResponse:
    user = await aauthenticate(request, username="ada", password="secret")
    assert user is not None
    await alogin(request, user)
    return HttpResponse()


async def log_out_async(request: Any) -> HttpResponse:
    await alogout(request)
    return HttpResponse()


urlpatterns = [
    path("show", show),
    path("put", put),
    path("untouched", untouched),
    path("log-in", log_in),
    path("log-out", log_out),
    path("elsewhere", elsewhere),
    path("async/show", show_async),
    path("async/put", put_async),
    path("async/log-in", log_in_async),
    path("async/log-out", log_out_async),
]
