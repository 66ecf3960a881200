"""How deep a question is read, and the texts whose mean state is subtracted from what comes of it."""

from __future__ import annotations

from typing import Final

CAPTIONS: Final = (
    "a red car on the road",
    "a cup of coffee on a table",
    "a man and a dog in front of a house",
    "two people at the door of a building",
    "a small white cat near the window",
    "a large tree under a blue sky",
    "a photo of the city at night",
    "the word stop on a red sign",
    "handwritten text on white paper",
    "a printed page with three lines of text",
    "a black square above a green circle",
    "an orange triangle left of a purple star",
    "a yellow cross in the middle of the picture",
    "grass and water below the mountains",
    "a plate and a spoon beside a glass",
    "a young woman with long hair and a hat",
    "five white birds on dark water",
    "a bright light in the corner of the room",
    "a number on the front of a bus",
    "the face of an old man",
    "a chart that shows four numbers for each year",
    "a brown dog behind the car",
    "a road with trees on both sides",
    "the top of a high building against the sky",
    "a group of children at school",
    "a hand with a book",
    "a plain grey background with nothing on it",
    "many small things of the same colour",
    "a map of the country with names of places",
    "a table with rows and columns of digits",
    "green letters over a picture of the sea",
    "an object near the bottom of the picture",
)
"""Short descriptions of all kinds of pictures. What the states of their words have in common says nothing about any
picture, so their mean is subtracted from a question's. Another list is another selection: `ALGORITHM_VERSION` goes up.
"""


USUAL_DEPTH: Final = 0.3
"""Share of the layers that read a question beside its words, where the operator does not say otherwise. Another one is
another selection too."""


def layers_read(depth: float, layers: int) -> int:
    """How many of a language model's layers a question goes through: at least one, and not all.

    Args:
        depth: share of the layers, above 0 and below 1. layers: that the model has, at least 2.
    """
    return min(layers - 1, max(1, round(depth * layers)))
