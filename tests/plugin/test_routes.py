"""What our routes document, against the routes of vLLM's that they replace."""

from __future__ import annotations

import json
import re

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from sppruner_server.routes.multimodal import router
from vllm.entrypoints.anthropic import api_router as messages_api
from vllm.entrypoints.openai.chat_completion import api_router as chat_api
from vllm.entrypoints.openai.responses import api_router as responses_api

PATHS = [route.path for route in router.routes if isinstance(route, APIRoute)]


def schema(*routers: APIRouter) -> dict:
    app = FastAPI()
    for each in routers:
        app.include_router(each)
    return app.openapi()


@pytest.fixture(scope="module")
def ours() -> dict:
    return schema(router)


@pytest.fixture(scope="module")
def theirs() -> dict:
    return schema(chat_api.router, responses_api.router, messages_api.router)


@pytest.mark.parametrize("path", PATHS)
def test_an_answer_is_documented_as_vllm_documents_it(ours, theirs, path):
    our_answers, their_answers = (document["paths"][path]["post"]["responses"] for document in (ours, theirs))
    assert our_answers["200"] == their_answers["200"]
    assert our_answers.keys() == their_answers.keys()


def test_every_schema_that_is_referred_to_is_there(ours):
    named = set(re.findall(r"#/components/schemas/([\w.-]+)", json.dumps(ours)))
    assert named <= ours["components"]["schemas"].keys()
