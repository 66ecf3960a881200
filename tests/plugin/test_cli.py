"""The command line, up to the point where vLLM takes over."""

from argparse import ArgumentParser

import pytest
from sppruner_server.cli import FLAGS, add_flags, parse
from vllm import envs

from sppruner_vllm.reduction import BrokenMethod
from sppruner_vllm.settings import Settings, settings


@pytest.fixture(autouse=True)
def no_settings_of_other_tests(monkeypatch):
    """Flags end up in the environment and in cached settings: both are cleared before and after."""
    for field in Settings.model_fields:
        monkeypatch.setenv(f"SPPRUNER_{field.upper()}", "")
        monkeypatch.delenv(f"SPPRUNER_{field.upper()}")
    yield
    monkeypatch.undo()
    settings.cache_clear()


def test_our_flags_become_settings_and_vllms_stay_vllms():
    args = parse(["some/model", "--keep-ratio", "0.5", "--min-keep-ratio=0.1", "--min_tokens", "4", "--port", "8123"])
    assert (args.model_tag, args.port) == ("some/model", 8123)
    assert (settings().keep_ratio, settings().min_keep_ratio, settings().min_tokens) == (0.5, 0.1, 4)
    assert not [name for name in vars(args) if name.startswith("sppruner_")]


def test_the_help_says_what_it_means_to_leave_a_flag_out():
    add_flags(parser := ArgumentParser())
    helps = {action.option_strings[0]: action.help or "" for action in parser._actions}
    for name, flag in FLAGS.items():
        default = Settings.model_fields[name].default
        assert f"Default: {'none' if default is None else default}." in helps[flag]
        assert ("; none: " in helps[flag]) == (default is None)


def test_the_longest_query_is_a_flag_too():
    parse(["some/model", "--max-query-tokens", "64"])
    assert settings().max_query_tokens == 64


def test_requests_may_choose_a_method_only_when_the_operator_says_so():
    parse(["some/model", "--reduction-method", "uniform", "--allow-reduction-method"])
    assert (settings().method, settings().allow_method) == ("uniform", True)


@pytest.mark.parametrize("method", ["downscale", "hybrid"])
def test_a_smaller_image_may_be_the_default_method(method):
    parse(["some/model", "--reduction-method", method])
    assert settings().method == method


def test_attention_is_shown_to_methods_only_when_the_operator_says_so():
    parse(["some/model"])
    assert not settings().saliency_attention
    parse(["some/model", "--saliency-attention"])
    assert settings().saliency_attention


def test_usage_details_are_on_unless_switched_off():
    assert parse(["some/model"]).enable_prompt_tokens_details
    assert not parse(["some/model", "--no-enable-prompt-tokens-details"]).enable_prompt_tokens_details


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--keep-ratio", "1.5"], "--keep-ratio: Input should be less than or equal to 1, got 1.5"),
        (["--keep-ratio", "nan"], "--keep-ratio: Input should be"),
        (["--keep-ratio", "half"], "--keep-ratio: Input should be a valid number"),
        (["--keep-ratio", "0.5", "--min-keep-ratio", "0.6"], "min_keep_ratio <= keep_ratio <= max_keep_ratio"),
        (["--min-tokens", "1"], "--min-tokens: Input should be greater than or equal to 2"),
        (["--reduction-method", "magic"], "--reduction-method: magic is not one of"),
        (["--grpc"], "--grpc replaces the HTTP server"),
    ],
)
def test_a_bad_start_is_refused_with_the_flag_to_change(flags, message, capsys):
    with pytest.raises(SystemExit) as caught:
        parse(["some/model", *flags])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_the_rust_frontend_is_refused(monkeypatch, capsys):
    envs.disable_envs_cache()  # an engine that an earlier test started in this process has turned it on
    monkeypatch.setenv("VLLM_USE_RUST_FRONTEND", "1")
    with pytest.raises(SystemExit):
        parse(["some/model"])
    assert "VLLM_USE_RUST_FRONTEND" in capsys.readouterr().err


def test_a_bad_environment_variable_is_refused_at_start(monkeypatch, capsys):
    monkeypatch.setenv("SPPRUNER_MAX_QUERY_TOKENS", "none")
    with pytest.raises(SystemExit):
        parse(["some/model"])
    assert "--max-query-tokens: Input should be a valid integer" in capsys.readouterr().err


def test_a_broken_method_of_another_package_is_named_not_a_traceback(monkeypatch, capsys):
    def broken():
        raise BrokenMethod("distribution 'third-party' offers a method that cannot be loaded")

    monkeypatch.setattr("sppruner_server.cli.request_methods", broken)
    with pytest.raises(SystemExit) as stopped:
        parse(["some/model"])
    assert stopped.value.code == 2
    assert "third-party" in capsys.readouterr().err
