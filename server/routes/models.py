"""GET /v1/models/{id}, which OpenAI's clients have as `models.retrieve` and vLLM lacks (0.32 and 0.33)."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from vllm.entrypoints.openai.models import api_router as models_api
from vllm.entrypoints.serve.engine.protocol import ModelCard

from sppruner_vllm.errors import InvalidField

router: Final = APIRouter()


@router.get("/v1/models/{model_id:path}", response_model=ModelCard)
async def retrieve_model(model_id: str, raw_request: Request) -> JSONResponse:
    """One of the models of /v1/models.

    Args:
        model_id: its name, which may have slashes; all of them where it is empty.
    """
    if not model_id:
        return JSONResponse((await models_api.models(raw_request).show_available_models()).model_dump())
    models = await models_api.models(raw_request).show_available_models()
    for model in models.data:
        if model.id == model_id:
            return JSONResponse(model.model_dump())
    raise InvalidField("model", f"The model `{model_id}` does not exist", code="model_not_found")
