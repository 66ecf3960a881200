"""What our routes document, against the routes of vLLM's that they replace."""

from __future__ import annotations

import json
import re

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from sppruner_server.routes import router
from vllm.entrypoints.anthropic import api_router as messages_api
from vllm.entrypoints.openai.chat_completion import api_router as chat_api
from vllm.entrypoints.openai.responses import api_router as responses_api

OURS = [route.path for route in router.routes if isinstance(route, APIRoute)]


def schema(*routers: APIRouter) -> dict:
    app = FastAPI()
    for each in routers:
        app.include_router(each)
    return app.openapi()


@pytest.mark.parametrize("path", OURS)
def test_an_answer_is_documented_as_vllm_documents_it(path):
    ours = schema(router)["paths"][path]["post"]["responses"]
    theirs = schema(chat_api.router, responses_api.router, messages_api.router)["paths"][path]["post"]["responses"]
    assert ours["200"] == theirs["200"]
    assert ours.keys() == theirs.keys()


def test_every_schema_that_is_referred_to_is_there():
    document = schema(router)
    named = set(re.findall(r"#/components/schemas/([\w.-]+)", json.dumps(document)))
    assert named <= document["components"]["schemas"].keys()
