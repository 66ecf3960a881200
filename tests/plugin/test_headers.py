"""The response headers."""

from sppruner_server import headers

from sppruner_vllm.planning.accounting import VisualTokens


def test_a_reduced_request_has_four_headers_that_read_back_as_its_usage():
    tokens = VisualTokens(1296, 288, 288 / 1296, "uniform", None)
    sent = headers.headers_of(tokens)
    assert int(sent[headers.ORIGINAL]) == 1296
    assert int(sent[headers.RETAINED]) == 288
    assert float(sent[headers.KEEP_RATIO]) == 288 / 1296
    assert sent[headers.METHOD] == "uniform"
    assert headers.SKIPPED_REASON not in sent


def test_the_scope_is_told_where_a_question_could_steer():
    steered = VisualTokens(64, 16, 0.25, "focus_context", None, ("question", "image"))
    assert headers.headers_of(steered)[headers.FOCUS_SCOPE] == "question,image"
    many = VisualTokens(64, 16, 0.25, "focus_context", None, ("question", "image") * 500)
    assert headers.headers_of(many)[headers.FOCUS_SCOPE] == "question,image", "a header stays short"
    assert headers.FOCUS_SCOPE not in headers.headers_of(VisualTokens(64, 16, 0.25, "uniform", None, (None,)))


def test_a_request_that_was_not_reduced_says_why():
    sent = headers.headers_of(VisualTokens(64, 64, 1.0, "uniform", "keep_ratio_is_1"))
    assert sent[headers.SKIPPED_REASON] == "keep_ratio_is_1"
