"""What the command lines of this package read alike."""

from __future__ import annotations

import argparse


def count(text: str) -> int:
    """A whole number of at least 1; argparse says what is wrong with anything else."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value
