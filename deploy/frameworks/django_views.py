"""A bundle behind Django: ``path("predict", django_views.predict)`` among the project's ``urlpatterns``."""

import json

from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

import churnlib

predictor = churnlib.load("bundle")


@csrf_exempt
@require_POST
def predict(request: HttpRequest) -> JsonResponse:
    """Answer one customer."""
    return JsonResponse(predictor.predict([json.loads(request.body)]).to_dicts()[0])
