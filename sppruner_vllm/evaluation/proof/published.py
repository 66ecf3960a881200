"""Published figures of Qwen2.5-VL-7B, to stand beside our own.

Figures of different tables rest on different sets and settings, and the same method differs by some four points between
tables: within one table they compare, across tables they only say what size of loss to expect.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Published:
    """A figure. relative: share of the full model's score, in percent, mean over the table's sets. kept: share of
    visual tokens, in percent. trained: the method needs training.
    """

    method: str
    kept: float
    relative: float
    table: str
    trained: bool = False


SIEVE: Final = "SIEVE's paper: MMBench, MME, POPE, ScienceQA, MMBench-CN, GQA, TextVQA"
MFPRUNER: Final = (
    "MFPruner (dluo112/MFPruner): MMBench, MMBench-CN, ChartQA, TextVQA, AI2D, OCRBench, MMStar, MME-RW, RWQA"
)
CEN_PRUNE: Final = "Cen-Prune's paper: GQA, MMBench, MME, POPE, ScienceQA, TextVQA, OCRBench"
FSR: Final = "FSR (ILOT-code/FSR, arXiv 2602.05809): eight sets"
TOPS: Final = "TOPS (arXiv 2606.27161): no sets of reading"
EADP: Final = (
    "EADP (SJTU-DeepVisionLab/EADP): TextVQA, ChartQA, AI2D, OCRBench, HallusionBench, MME, MMBench, MMBench-CN"
)
ANGELSLIM: Final = "AngelSlim (Tencent/AngelSlim): eleven sets with DocVQA, OCRBench, ChartQA"

FIGURES: Final[tuple[Published, ...]] = (
    Published("SIEVE", 33.3, 99.7, SIEVE),
    Published("HoloV", 33.3, 98.5, SIEVE),
    Published("FastV", 33.3, 97.5, SIEVE),
    Published("MFPruner", 33.3, 95.4, MFPRUNER),
    Published("VisionZip", 33.3, 94.4, MFPRUNER),
    Published("DART", 33.3, 87.7, MFPRUNER),
    Published("IDPruner", 25.0, 95.2, ANGELSLIM, trained=True),
    Published("SCOPE", 25.0, 92.5, ANGELSLIM),
    Published("DivPrune", 25.0, 89.3, ANGELSLIM),
    Published("VisionZip", 25.0, 87.6, ANGELSLIM),
    Published("SIEVE", 22.2, 98.9, SIEVE),
    Published("HoloV", 22.2, 97.2, SIEVE),
    Published("FastV", 22.2, 95.0, SIEVE),
    Published("MFPruner", 22.2, 91.0, MFPRUNER),
    Published("VisionZip", 22.2, 89.0, MFPRUNER),
    Published("DART", 22.2, 81.5, MFPRUNER),
    Published("DivPrune+Cen", 20.0, 94.5, CEN_PRUNE),
    Published("DivPrune", 20.0, 92.1, CEN_PRUNE),
    Published("CDPruner", 20.0, 87.1, CEN_PRUNE),
    Published("FSR", 20.0, 91.9, FSR),
    Published("HoloV", 20.0, 88.6, FSR),
    Published("TOPS", 19.8, 96.3, TOPS),
    Published("DivPrune", 19.8, 94.1, TOPS),
    Published("EADP", 19.8, 88.5, EADP),
    Published("DivPrune", 19.8, 87.6, EADP),
    Published("CDPruner", 19.8, 77.4, EADP),
    Published("SIEVE", 10.0, 96.7, SIEVE),
    Published("HoloV", 10.0, 94.4, SIEVE),
    Published("DivPrune+Cen", 10.0, 88.9, CEN_PRUNE),
    Published("DivPrune", 10.0, 85.1, CEN_PRUNE),
    Published("FSR", 10.0, 84.0, FSR),
    Published("TOPS", 10.0, 92.9, TOPS),
    Published("EADP", 9.9, 81.4, EADP),
    Published("SCOPE", 10.0, 79.4, ANGELSLIM),
    Published("DivPrune", 10.0, 76.1, ANGELSLIM),
)
"""Kept shares near 10 and 11 % stand as 10 where a table's own notes give either."""
