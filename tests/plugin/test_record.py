"""The account of a request that renders several prompts."""

from sppruner_server.request.record import RequestRecord

from sppruner_vllm.planning.accounting import VisualTokens


def test_a_batch_is_the_sum_of_its_conversations():
    record = RequestRecord(
        accounts=[VisualTokens(64, 32, 0.5, "uniform", None), VisualTokens(16, 8, 0.5, "uniform", None)]
    )
    assert record.visual_tokens == VisualTokens(80, 40, 0.5, "uniform", None)


def test_a_batch_has_the_scopes_of_all_its_images():
    one = VisualTokens(64, 32, 0.5, "focus_context", None, ("question",))
    record = RequestRecord(accounts=[one, VisualTokens(64, 32, 0.5, "focus_context", None, ("image",))])
    assert record.visual_tokens.focus_scope == "question,image"


def test_a_batch_under_a_budget_has_the_ratio_it_came_to():
    record = RequestRecord(
        accounts=[VisualTokens(64, 8, 0.125, "uniform", None), VisualTokens(16, 8, 0.5, "uniform", None)]
    )
    assert record.visual_tokens == VisualTokens(80, 16, 0.2, "uniform", None)


def test_a_batch_was_skipped_only_when_all_its_conversations_were():
    reduced, skipped = VisualTokens(64, 8, 0.1, "uniform", None), VisualTokens(2, 2, 0.1, "uniform", "image_too_small")
    assert RequestRecord(accounts=[skipped, reduced]).visual_tokens.skipped_reason is None
    assert RequestRecord(accounts=[skipped, skipped]).visual_tokens.skipped_reason == "image_too_small"
