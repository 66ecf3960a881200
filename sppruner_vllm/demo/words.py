"""Words that the demo tokenizer knows whole, so that a prompt does not fall apart into bytes.

Order matters: earlier words get the lower merge ranks.
"""

from __future__ import annotations

from typing import Final

from .vocabulary import COLOURS, COUNTS, PLURALS, SHAPES, SIGN_WORDS

LINE_STARTS: Final = (
    *("system", "user", "assistant", "You", "What", "Which", "Where", "How", "Describe", "The", "Is", "Do"),
    *("yes", "no", "top", "bottom", "first", "second"),
    *(*COUNTS, *SHAPES, *COLOURS, *SIGN_WORDS),
)
"""Words that open a line: known without a leading blank. The chat roles are among them, and how answers begin."""

_WORDS: Final = """
the of and to in a is that for it as was with be by on not he his but at are this have from or had an they which one
you were all her she there would their we him been has when who will no more if out so up said what its about than
into them can only other time new some could these two may first then do any like my now over such our man me even
most made after also did many off before must well back through years where much your way down should because long
each just state those people too mr how little good world make very year still see own work men day get here old
between both life being under three never know same last another while us might great go come since against right
came take used himself few house use place during high without again home around small however found thought went
say part once general upon school every don does got united left number course war until always away something fact
water less public put thing almost hand enough far took head yet better set told nothing night end why find asked
later knew next room young side four
image picture photo photograph video question answer describe show shows count colour color shape object objects
red green blue yellow orange purple white black brown grey circle square triangle star cross top bottom near far
cup coffee table spoon plate person people face dog cat car road tree sky grass building window door sign word text
helpful middle corner behind front above below next big large tiny bright dark light pictures both printed handwritten
digit
"""
WORDS: Final = tuple(dict.fromkeys((*_WORDS.split(), *SHAPES, *PLURALS, *COLOURS)))
"""Words inside a line: known together with the blank before them."""
