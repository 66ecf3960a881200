"""Refuses what a model's encoder would stumble over in the worker, where one such picture ends the whole engine.

Of a client that may send processor kwargs, which vLLM (0.32 and 0.33) does not look at. Embeddings: embedded.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from sppruner_vllm.errors import InvalidField, RowCountError
from sppruner_vllm.family import Family

KWARGS: Final = "mm_processor_kwargs"


def refuse_other_sizes(family: Family, kwargs: Mapping[str, Any]) -> None:
    """Refuse processor kwargs that the weights have decided already.

    Args:
        kwargs: of the request, which may be nested by modality.

    Raises:
        InvalidField: one has another value than the model's.
    """
    for name, value in _leaves(kwargs):
        fixed = family.fixed_kwargs.get(name)
        if fixed is not None and value is not None and (type(value) is not int or value != fixed):
            raise InvalidField(KWARGS, f"{name} must be {fixed}, as this model was trained", code="invalid_value")


def refuse_misfit(family: Family, inputs: Mapping[str, Any]) -> None:
    """Refuse pixels of a shape that the encoder does not take.

    Args:
        inputs: of a batch, as a processor made them by a request's kwargs.

    Raises:
        InvalidField: they have another shape.
    """
    if (misfit := family.misfit(inputs)) is not None:
        raise InvalidField(KWARGS, misfit, code="invalid_value")


@contextmanager
def blaming(kwargs: Mapping[str, Any]) -> Iterator[None]:
    """Where a request brings processor kwargs, they are why a picture has other tokens than were planned.

    Raises:
        InvalidField: in place of that error.
    """
    try:
        yield
    except RowCountError as error:
        if not kwargs:
            raise
        raise InvalidField(KWARGS, f"{KWARGS} make pictures of another size", code="invalid_value") from error


def _leaves(kwargs: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in kwargs.items():
        if isinstance(value, Mapping):
            yield from _leaves(value)
        else:
            yield name, value
