"""A main app in miniature, on Django and Django REST framework, with the documents' code.

Run by the Python of another environment (test_django.py). Reads requests as JSON, one a line, and
answers each with a line: status, body and headers.
"""

import json
import os
import re
import sys
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

import django
from django.conf import settings

CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)


def code_of(name):
    """Find the block of the documents that begins with this file's name."""
    text = "".join(Path(path).read_text() for path in sys.argv[1:])
    (code,) = [block for block in CODE.findall(text) if block.startswith(f"# {name}")]
    return code


def module(name, code, **given):
    made = ModuleType(name)
    vars(made).update(given)
    sys.modules[name] = made
    exec(compile(code, name, "exec"), vars(made))
    return made


def configure():
    url = urlsplit(os.environ["DATABASE_URL"])
    settings.configure(
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": url.path.lstrip("/"),
                "USER": url.username,
                "PASSWORD": url.password or "",
                "HOST": url.hostname,
                "PORT": url.port,
            }
        },
        ALLOWED_HOSTS=["*"],
        SECRET_KEY="of no use to anyone",
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "rest_framework"],
        MIDDLEWARE=["main_app.FindAccount", "middleware.AccountAccess"],
        ROOT_URLCONF="urls",
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        REST_FRAMEWORK={"UNAUTHENTICATED_USER": None},
        USE_TZ=True,
        REDIS_URL=os.environ["REDIS_URL"],
        BILLING_REDIS_URL=os.environ["REDIS_URL"],
        BILLING_WEBHOOK_SECRET="whsec_" + "c2VjcmV0" * 4,
        RATES_BY_PLAN={"starter": "2/hour"},
    )
    django.setup()


MAIN_APP = """
from django.db import models
from django.http import HttpResponse


class Plan(models.Model):
    slug = models.CharField(max_length=50)

    class Meta:
        managed, db_table, app_label = False, "igny8_plans", "main_app"


class User(models.Model):
    email = models.EmailField()
    is_authenticated = True

    class Meta:
        managed, db_table, app_label = False, "igny8_users", "main_app"


class Account(models.Model):
    slug = models.CharField(max_length=255)
    owner = models.ForeignKey(User, models.SET_NULL, null=True)
    plan = models.ForeignKey(Plan, models.PROTECT, null=True)

    class Meta:
        managed, db_table, app_label = False, "igny8_tenants", "main_app"


class Site(models.Model):
    account = models.ForeignKey(Account, models.CASCADE, db_column="tenant_id")
    slug = models.CharField(max_length=255)
    wp_api_key = models.CharField(max_length=255)

    class Meta:
        managed, db_table, app_label = False, "igny8_sites", "main_app"


class FindAccount:
    # the app's own: from the session there, from a header here
    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        if named := request.headers.get("X-Account"):
            request.account = Account.objects.get(pk=named)
        return self.get_response(request)
"""
URLS = """
from authentication import ByApiKey
from django.db import connection, transaction
from django.http import JsonResponse
from django.urls import path
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView
from throttling import ByAccount
from views import billing_events


class Bridge(APIView):
    authentication_classes = [ByApiKey]
    permission_classes = [IsAuthenticated]
    throttle_classes = [ByAccount]

    def get(self, request):
        said = {"account": request.account.id, "site": request.site.id}
        return Response({**said, "user": getattr(request.user, "email", None)})


def page(request):
    return JsonResponse({"said": "hello"})


def work(request):
    client, key = BillingClient(settings.BILLING_REDIS_URL), request.GET["key"]
    try:
        with transaction.atomic():
            held = client.place_hold(
                connection, request.account.id, "image_prompt_extraction", key=key, ttl_s=900
            )
        with transaction.atomic():
            inbox.leave(connection, [Capture(request.account.id, key)])
            client.debit_in(connection, request.account.id, "image_prompt_extraction", key=key + "2")
            if request.GET.get("fails"):
                raise ValueError
            transaction.on_commit(client.ring, robust=True)
    except ValueError:
        return JsonResponse({"held": bool(held)}, status=500)
    return JsonResponse({"held": bool(held)})


def first_debit(request):
    job = Job(request.account.id)
    run("jobs", code_of("jobs.py"), job=job, ask_the_model=lambda job: "word " * 250)
    return JsonResponse({"key": job.billing_key})


urlpatterns = [
    path("page/", page),
    path("first-debit/", first_debit),
    path("billing/pay/", page),
    path("bridge/", Bridge.as_view()),
    path("work/", work),
    path("billing/events/", billing_events),
]
"""


class Job:
    """A piece of the app's AI work."""

    def __init__(self, account_id):
        self.account_id, self.billing_key, self.text = account_id, None, None

    def save(self):
        """The app's own row; none is needed here."""

    def finish(self, text):
        self.text = text


class Task:
    """Stands for the app's Celery task, and keeps what it was called with."""

    def __init__(self):
        self.taken = []

    def delay(self, body):
        self.taken.append(json.loads(json.dumps(body)))


task = Task()


def build():
    from django.http import HttpResponse
    from django.views.decorators.csrf import csrf_exempt

    from billing_client import BillingClient, Capture, inbox

    main_app = module("main_app", MAIN_APP)
    module("middleware", code_of("middleware.py"))
    module("authentication", code_of("authentication.py"), Site=main_app.Site)
    module("throttling", code_of("throttling.py"))
    given = {"csrf_exempt": csrf_exempt, "HttpResponse": HttpResponse, "settings": settings}
    module("views", code_of("views.py"), **given, receive_event=task)
    given = {"BillingClient": BillingClient, "Capture": Capture, "inbox": inbox}
    given |= {"Job": Job, "code_of": code_of, "run": module}
    module("urls", URLS, **given, settings=settings)


def main():
    configure()
    build()
    from django.test import Client

    client = Client(raise_request_exception=False)
    for line in sys.stdin:
        asked = json.loads(line)
        if asked.pop("sign", False):
            asked["headers"] |= signed(asked["data"])
        answer = getattr(client, asked.pop("method", "get"))(**asked)
        body = answer.content.decode()
        shown = {
            "status": answer.status_code,
            "body": json.loads(body) if body.startswith("{") else body,
            "headers": dict(answer.headers),
            "taken": task.taken,
        }
        sys.stdout.write(json.dumps(shown) + "\n")
        sys.stdout.flush()


def signed(body):
    import datetime as dt

    from standardwebhooks.webhooks import Webhook

    now = dt.datetime.now(dt.UTC)
    return {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(settings.BILLING_WEBHOOK_SECRET).sign("evt_1", now, body),
    }


main()
