"""A wizard whose answers outlive the session, under a typed key that a signed cookie names."""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Final

from django import forms
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache

from django_persist import DEFAULT, Key
from django_persist.exceptions import MissingKeyError
from django_persist.http import HttpRequest

COOKIE: Final = "application"
LIFETIME: Final = timedelta(days=30)


@dataclass
class Application:
    name: str = ""
    email: str = ""
    plan: str = ""


class Who(forms.Form):
    name = forms.CharField(max_length=100)
    email = forms.EmailField()


class Plan(forms.Form):
    plan = forms.ChoiceField(choices=[("small", "Small"), ("large", "Large")])


STEPS: Final[dict[str, type[forms.Form]]] = {"who": Who, "plan": Plan}
APPLICATION: Final = Key("application:{token}", as_=Application, expires=LIFETIME)
NUMBER: Final = Key("applications", as_=int, expires=None)


def token_of(request: HttpRequest) -> str:
    """Return the token in the cookie, or an empty one, which no application has."""
    return request.get_signed_cookie(COOKIE, default="") or ""


@never_cache
def wizard(request: HttpRequest, step: str) -> HttpResponse:
    """Show a step with the answers so far, or save its answers and continue with the next step."""
    if step not in STEPS:
        raise Http404
    token = token_of(request)
    saved = request.persist.get(APPLICATION(token=token), Application())
    form = STEPS[step](request.POST or None, initial=asdict(saved))
    if not form.is_valid():
        return render(request, "site/wizard.html", {"form": form, "step": step, "steps": STEPS})
    new = form.cleaned_data
    try:  # `update` keeps what another tab has saved in other steps.
        key = APPLICATION(token=token)
        request.persist.update(key, lambda old: replace(old, **new), expires=DEFAULT)
    except MissingKeyError:  # There is none yet, or it has expired or been submitted.
        token = secrets.token_urlsafe(16)
        request.persist.create(APPLICATION(token=token), Application(**new))
    response = redirect("review")
    response.set_signed_cookie(COOKIE, token, max_age=LIFETIME, httponly=True, samesite="Lax")
    return response


@never_cache
def review(request: HttpRequest) -> HttpResponse:
    """Show all answers, or submit them. `pop` returns them to only one of two clicks."""
    key = APPLICATION(token=token_of(request))
    saved = request.persist.get(key)
    for step, form in STEPS.items():
        is_open = not all(getattr(saved, field, "") for field in form.base_fields)
        if is_open and (saved or request.method != "POST"):
            return redirect("wizard", step)
    if request.method != "POST":
        return render(request, "site/wizard.html", {"answers": saved})
    submitted = request.persist.pop(key)
    number = request.persist.incr(NUMBER) if submitted else None
    return render(request, "site/wizard.html", {"submitted": True, "number": number})
