"""What is rebound of how vLLM's engine core holds answers to grammars."""

from __future__ import annotations

from typing import Any, Final

from .following import SHIM

_AS_BUILT: Final = "grammar_init"


def let_requests_have_their_library(manager: Any) -> None:
    """Have each request's grammar made by the library that its API process has chosen for it.

    vLLM (v1/structured_output/__init__.py, StructuredOutputManager) takes the library of the first request for all that
    follow. Once a schema with `multipleOf` has brought in llguidance, nobody's structural tag can be compiled; and
    where xgrammar came first, it leaves out in silence what a request was to have llguidance for (0.32), or such a
    request is refused for what others sent (0.33).
    Expiry: vLLM choosing by request.

    Args:
        manager: of an engine core, before its first request.
    """
    if hasattr(manager.grammar_init, SHIM) or not _fits(manager):
        return
    managers: dict[str, Any] = {}

    def grammar_init(request: Any) -> None:
        if request.structured_output_request is None:
            return
        name = request.sampling_params.structured_outputs._backend
        own = managers.setdefault(name, _OfOneLibrary(manager))
        type(manager).grammar_init(own, request)
        if manager.backend is None:  # which makes the one bitmask that all of them fill
            manager.backend = own.backend

    setattr(grammar_init, SHIM, True)
    setattr(manager, _AS_BUILT, grammar_init)


def _fits(manager: Any) -> bool:
    """Whether all libraries fill bitmasks of one width: llguidance goes by the tokenizer where that has more tokens."""
    tokenizer = getattr(manager, "tokenizer", None)
    return tokenizer is not None and len(tokenizer) <= manager.vllm_config.model_config.get_vocab_size()


class _OfOneLibrary:
    """The manager as its own methods see it, but with a library of its own."""

    def __init__(self, manager: Any) -> None:
        self._manager = manager
        self.backend: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._manager, name)

    def _create_grammar(self, request: Any) -> Any:
        return type(self._manager)._create_grammar(self, request)
