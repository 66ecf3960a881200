"""What a free reduction behind a whole encoder would reach, from what the same round measured of stock vLLM.

E is the encoder's time, L(n) that of the language model for a prompt of n tokens, N and K the tokens of the prompt
before and after the reduction. Selection, image processing and everything else are free in the ideal, not in what is
compared with it. L(K) is stock's own L(N), times what a prompt of K tokens of text takes of the time of one of N.
"""

from __future__ import annotations


def new_picture(encoder: float, model: float, share: float) -> float:
    """How many times faster the first token of a new picture could come.

    Args:
        encoder, model: E and L(N), seconds.
        share: L(K) / L(N), in (0, 1].
    """
    return (encoder + model) / (encoder + share * model)


def later_question(stock: float, model: float, share: float) -> float:
    """Seconds to the first token of a later question about a picture, when its selection depends on the question.

    Args:
        stock: stock's own, whose prefix cache has the picture. model, share: as above, of the first question.
    """
    return stock + share * model


def under_load(request: float, model: float, share: float) -> float:
    """How many times more requests could be answered in a second.

    Args:
        request: seconds per request of stock under the same load. model: L(N) of one request.
    """
    return request / (request - (1 - share) * model)
