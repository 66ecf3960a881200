"""/v1/models, and GET /v1/models/{id}, which OpenAI's clients have as `models.retrieve` and vLLM lacks (0.32 and 0.33).

`root` is what a model was loaded from: a name on a hub, by which benches find its tokenizer, or a path on this machine.
Whoever comes with a key from outside has no use for a path: where keys are asked for, the model's name stands there.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from vllm.entrypoints.openai.models import api_router as models_api
from vllm.entrypoints.serve.engine.protocol import ModelCard, ModelList

from sppruner_vllm.errors import InvalidField

router: Final = APIRouter()

_ON_A_HUB: Final = re.compile(r"[\w.-]+(/[\w.-]+)?")


@router.get("/v1/models")
async def list_models(raw_request: Request) -> JSONResponse:
    """The models that are served."""
    return JSONResponse((await _models(raw_request)).model_dump())


@router.get("/v1/models/{model_id:path}", response_model=ModelCard)
async def retrieve_model(model_id: str, raw_request: Request) -> JSONResponse:
    """One of the models of /v1/models.

    Args:
        model_id: its name, which may have slashes; all of them where it is empty.
    """
    models = await _models(raw_request)
    if not model_id:
        return JSONResponse(models.model_dump())
    for model in models.data:
        if model.id == model_id:
            return JSONResponse(model.model_dump())
    raise InvalidField("model", f"The model `{model_id}` does not exist", code="model_not_found")


async def _models(raw_request: Request) -> ModelList:
    models = await models_api.models(raw_request).show_available_models()
    if not raw_request.app.state.sppruner_asks_for_keys:
        return models
    shown = [model.model_copy(update={"root": public_root(model.root, model.id)}) for model in models.data]
    return models.model_copy(update={"data": shown})


def public_root(root: str | None, name: str) -> str:
    """What may be told of where a model comes from.

    Args:
        root: as vLLM has it. name: under which it is served.
    """
    return root if root and _ON_A_HUB.fullmatch(root) and not Path(root).exists() else name
