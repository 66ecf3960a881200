"""Bodies of /invocations, held to the fields of the API whose body they are.

vLLM (0.32 and 0.33, entrypoints/serve/sagemaker) chooses the API by what its own models make of the body: these take
"5" for a number, and what they refuse is told in another shape, without its place.
"""

from __future__ import annotations

from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from ..body.elsewhere import INVOCATIONS
from ..body.json_body import BadBody
from ..errors.invalid_body import refusal_of_body
from .requests import ChatRequest, StrictCompletionRequest

_BY_FIELD: Final[dict[str, type[BaseModel]]] = {"messages": ChatRequest, "prompt": StrictCompletionRequest}
"""By the field that tells them apart."""


def check_invocation(document: Any, path: str) -> None:
    """Look at all fields of a chat or completion.

    Args:
        document: that was read. path: of the request; another one than of /invocations is left alone.

    Raises:
        BadBody: with the first field that cannot be used.
    """
    if path != INVOCATIONS or not isinstance(document, dict):
        return
    model = next((model for name, model in _BY_FIELD.items() if name in document), None)
    if model is None:
        return
    try:
        model.model_validate(document)
    except ValidationError as wrong:
        errors = [{**error, "loc": ("body", *error["loc"])} for error in wrong.errors()]
        raise BadBody(refusal_of_body(RequestValidationError(errors, body=document))) from None
