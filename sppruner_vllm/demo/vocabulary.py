"""What the world is made of, and the words for it.

`FEATURES` are the things one visual token can show: parts of things that are asked about, and scenery that is not.
"""

from __future__ import annotations

from typing import Final

SHAPES: Final = ("circle", "square", "triangle", "star", "cross", "ring", "diamond")
PLURALS: Final = ("circles", "squares", "triangles", "stars", "crosses", "rings", "diamonds")
COLOURS: Final = ("red", "green", "blue", "yellow", "purple", "white", "black")
SIGN_WORDS: Final = (
    "stop",
    "exit",
    "sale",
    "taxi",
    "hotel",
    "bank",
    "cafe",
    "milk",
    "bread",
    "fish",
    "north",
    "river",
    "music",
    "park",
    "gate",
    "shoe",
)
COUNTS: Final = ("zero", "one", "two", "three", "four")
DIGITS: Final = tuple(str(digit) for digit in range(10))

RGB: Final[dict[str, tuple[int, int, int]]] = {
    "red": (215, 35, 35),
    "green": (40, 160, 60),
    "blue": (40, 80, 215),
    "yellow": (240, 210, 40),
    "purple": (145, 50, 165),
    "white": (245, 245, 245),
    "black": (20, 20, 20),
}
"""Mean ink of each colour; scenes shift it a little."""

OBJECTS: Final = (
    *SHAPES,
    *COLOURS,
    *SIGN_WORDS,
    *(f"handwritten {digit}" for digit in DIGITS),
    *(f"tens {digit}" for digit in DIGITS),
    *(f"units {digit}" for digit in DIGITS),
    "sign",
    "number",
    "digit",
    "centre",
    "nothing",
)
"""What questions are about. "tens" and "units" are the digits of a printed number, "centre" marks the token that holds
the middle of an object, "nothing" is background."""

CLUTTER: Final = ("mosaic", "stripes", "checks", "scribble", "dots", "glow")
LIGHT: Final = ("red light", "green light", "blue light", "texture")
"""How the background looks in a token: mean colour and contrast."""

FEATURES: Final = (*OBJECTS, *CLUTTER, *LIGHT)

FEATURE_INDEX: Final = {feature: index for index, feature in enumerate(FEATURES)}
