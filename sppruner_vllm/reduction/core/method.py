"""What a selection method says of itself: its name, what it needs, its constants, and how it selects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

from .types import ImageTokens, Selection

if TYPE_CHECKING:  # Methods are listed by processes that have no use for torch.
    from torch import Tensor

Need = Literal["query", "attention", "merger_input", "states"]
"""What a method may read beside rows, grid and budget; each is the field of `ImageTokens` of that name."""

NEEDS: Final[frozenset[Need]] = frozenset(get_args(Need))

SelectFunction: TypeAlias = "Callable[[Sequence[ImageTokens], Tensor | None, Any], list[Selection]]"


@dataclass(frozen=True, slots=True, init=False)
class Method:
    """A way to choose tokens.

    name: what a request calls it.
    select: takes checked images, the mean text embedding (D,) or None, and the constants; returns one `Selection`
        each, without making the host wait for the device, and independent of the other images of the call.
    needs: what it reads of an image beside rows, grid and budget. A host may leave out the rest, and spares itself the
        work; results of a method that does not need the query are shared between queries.
    options: what it reads too, where the operator has it so (`--rank-on`, `--question-depth`); without it, it makes do.
    constants: what `select` gets as its third argument unless the caller of `reduce` gives others of this type. None:
        it has none to offer, and gets what the caller gives.
    """

    name: str
    select: SelectFunction
    needs: frozenset[Need]
    options: frozenset[Need]
    constants: object

    def __init__(
        self,
        name: str,
        *,
        select: SelectFunction,
        needs: Iterable[Need] = (),
        options: Iterable[Need] = (),
        constants: object = None,
        uses_query: bool = False,
    ) -> None:
        """A method; nothing is registered.

        Args:
            uses_query: adds "query" to the needs.

        Raises:
            ValueError: a need that no host knows.
        """
        wanted: frozenset[Need] = frozenset(needs) | frozenset(("query",) if uses_query else ())
        spared = frozenset(options) - wanted
        if unknown := (wanted | spared) - NEEDS:
            raise ValueError(
                f"method {name!r} needs {', '.join(sorted(unknown))}; what can be needed: {', '.join(sorted(NEEDS))}"
            )
        for field, value in (("name", name), ("select", select), ("needs", wanted), ("options", spared)):
            object.__setattr__(self, field, value)
        object.__setattr__(self, "constants", constants)

    @property
    def uses_query(self) -> bool:
        """Whether the query is among the needs."""
        return "query" in self.needs

    @property
    def hears_states(self) -> bool:
        """Whether it hears what was read in a question beside its words; another may have it in their place."""
        return "states" in self.options
