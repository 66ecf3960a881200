"""Settings of the operator, read from the environment, which reaches every process vLLM starts.

Neither vLLM nor torch is loaded: the server and the tests import it freely.
"""

from __future__ import annotations

from functools import cache
from ipaddress import ip_network
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, FilePath, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from sppruner_vllm.reduction import DEFAULT_METHOD

FEWEST_TOKENS: Final = 2
"""Visual tokens that any image keeps: positions could not be recovered from fewer."""

FocusScope = Literal["question", "image", "auto"]
"""Whom a selection serves: its own question, all questions about the image, or the one that planning/scope.py finds."""

RankOn = Literal["rows", "patches"]
"""What tokens are compared with each other by."""

UrlFetching = Literal["listed", "any", "vllm"]


class Settings(BaseSettings):
    """What the operator decides. Each field is read from the environment as SPPRUNER_<NAME>.

    The environment reaches every process vLLM starts; flags of the server only set these variables.
    """

    model_config = SettingsConfigDict(env_prefix="SPPRUNER_", frozen=True)

    keep_ratio: float = Field(1.0, gt=0, le=1, description="Fraction of visual tokens kept when a request names none.")
    min_keep_ratio: float = Field(0.05, ge=0, le=1, description="Smallest keep ratio a request may ask for.")
    max_keep_ratio: float = Field(1.0, gt=0, le=1, description="Largest keep ratio a request may ask for.")
    min_tokens: int = Field(FEWEST_TOKENS, ge=FEWEST_TOKENS, description="Fewest visual tokens an image keeps.")
    method: str = Field(DEFAULT_METHOD, description="Reduction method when a request names none.")
    saliency_attention: bool = Field(
        False, description="Let methods see which patches the encoder's last full-attention block looks at."
    )
    rank_on: RankOn = Field(
        "rows",
        description="What methods compare the tokens of a picture by: the rows behind the encoder's merger, or the "
        "patches before it; the question is always compared with rows.",
    )
    encoder_cut: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="Visual tokens that go on inside the vision encoder, in times of those kept; 0 for all.",
    )
    encoder_cut_block: int | None = Field(
        None, ge=0, description="Block of the encoder behind which the others stop; none: as the model family says."
    )
    skip_repeats: bool = Field(
        False, description="Let tokens that equal another one near them, pixel for pixel, skip most of the encoder."
    )
    question_depth: float | None = Field(
        None,
        ge=0,
        lt=1,
        allow_inf_nan=False,
        description="Share of the language model's layers by which a question is read before it steers the selection, "
        "for every method; 0: only its word embeddings do; none: 0.3 for `focus_context`, beside the words, where the "
        "model allows it.",
    )
    state_table: FilePath | None = Field(
        None,
        description="File of a middle state for each token, in which questions are looked up; none: they are not.",
    )
    allow_method: bool = Field(False, description="Let requests choose `reduction_method`.")
    rows_cache_mib: int = Field(
        128,
        ge=0,
        description="MiB of encoder rows that a worker keeps for later questions about their pictures; 0: none.",
    )
    pixels_cache_mib: int = Field(
        128, ge=0, description="MiB of resized pictures that an API process keeps for later questions; 0: none."
    )
    heap_trim_seconds: float = Field(
        10.0,
        ge=0,
        allow_inf_nan=False,
        description="Seconds after which a process looks whether it has grown, and gives back what it holds free; "
        "0: it keeps it.",
    )
    focus_scope: FocusScope = Field(
        "question", description="Whom selections serve when a request does not say: question, image or auto."
    )
    shared_keep_ratio: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Fraction that a selection shared under `auto` keeps at least; none: what its request asks for.",
    )
    throughput_guard: bool = Field(
        True, description="Leave an image whole where reducing it to `keep_ratio` would take longer than it spares."
    )
    max_unreduced_tokens: int | None = Field(
        None,
        ge=1,
        description="Most tokens of a request's prompt before its images are reduced; none: as at keep ratio 1.",
    )
    max_unreduced_image_tokens: int | None = Field(
        None, ge=1, description="Most visual tokens of an image before it is reduced; none: as at keep ratio 1."
    )
    max_image_pixels: int = Field(
        2**25, ge=1, description="Most pixels of a picture, as its header says; beyond, it is not decoded."
    )
    max_request_pixels: int = Field(
        2**27,
        ge=1,
        description="Most pixels of all pictures of a request together, and of the frames of videos that are shown.",
    )
    max_video_pixels: int = Field(
        2**30,
        ge=1,
        description="Most pixels of all frames of a request's videos together, up to the last one that is shown.",
    )
    max_image_side: int = Field(2**14, ge=1, description="Most pixels along a side of a picture.")
    max_image_aspect: int = Field(
        200, ge=1, description="Most times that a side of a picture may be as long as the other."
    )
    max_image_frames: int = Field(
        1024, ge=1, description="Most frames or pages of a picture, of which the first is shown to the model."
    )
    shrink_large_images: bool = Field(
        False,
        description="Make a picture beyond the limits of pixels, sides and visual tokens smaller; else refuse it.",
    )
    auto_least_ratio: float = Field(
        0.15, gt=0, le=1, description="Keep ratio that `auto` comes to for a picture without any detail."
    )
    auto_reading_ratio: float = Field(
        0.6,
        gt=0,
        le=1,
        description="Keep ratio that `auto` comes to for a picture as full of detail as a page of print.",
    )
    auto_whole_tokens: int = Field(
        64, ge=0, description="Visual tokens up to which a picture stays whole under `auto`."
    )
    load_floor_ratio: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Keep ratio to which the default slides while requests wait; none: the default stays.",
    )
    load_begins: int = Field(
        8, ge=0, description="Requests that wait for their first token, up to which the default does not slide."
    )
    load_ends: int = Field(64, ge=1, description="The same, from which on `load_floor_ratio` is the default.")
    max_pixels: int = Field(
        0, ge=0, description="Most pixels that a picture is encoded with; a larger one is made smaller. 0: any number."
    )
    detail_low_pixels: int = Field(
        2**18, ge=0, description="Most pixels that a picture of `detail` low is encoded with; 0: any number."
    )
    detail_high_pixels: int = Field(
        0, ge=0, description="Most pixels that a picture of `detail` high is encoded with; 0: any number."
    )
    detail_auto_pixels: int = Field(
        0, ge=0, description="Most pixels that a picture of `detail` auto is encoded with; 0: any number."
    )
    max_query_tokens: int = Field(128, ge=1, description="Longest query, in tokens, that steers the selection.")
    url_fetching: UrlFetching | None = Field(
        None,
        description=(
            "Hosts that pictures are fetched from: `listed`, those of --allowed-media-domains; `any` on the public "
            "internet; `vllm`, as vLLM does, unchecked; none: `listed` in the server, `vllm` in an `LLM`."
        ),
    )
    fetch_networks: str = Field(
        "",
        description="Networks beside the public internet, with commas between, that fetched hosts may be in.",
    )
    fetch_hosts_file: FilePath | None = Field(
        None, description="File like /etc/hosts whose addresses count before those of DNS; none: DNS alone."
    )
    fetch_mib: int = Field(32, ge=1, description="Most MiB of a fetched picture.")

    # The server's door; plain vLLM with our endpoint plugin has it too.
    api_keys: SecretStr | None = Field(
        None,
        description="API keys, with commas between them. An environment variable alone: flags show in a process list.",
    )
    api_keys_file: Path | None = Field(
        None, description="TOML file of API keys, looked at again whenever it changes; none: no file."
    )
    open_metrics: bool = Field(False, description="Answer /metrics without a key, where keys are asked for.")
    open_routes: str = Field(
        "", description="Further paths of vLLM's to serve, with commas between them; `*` for all that it has."
    )
    max_body_mib: int = Field(32, ge=1, description="Longest body of a request, in MiB.")
    max_bodies_mib: int = Field(1024, ge=1, description="Bodies that an API process holds at a time, in MiB.")
    max_requests: int | None = Field(
        None,
        ge=0,
        description="Most requests in flight, waiting ones included, others get a 503; 0: any number; none: two "
        "batches of the engine, or one and 64 if that is more.",
    )
    header_timeout: float = Field(
        10.0, ge=0, allow_inf_nan=False, description="Seconds for the head of a request to come; 0: any time."
    )
    body_timeout: float = Field(
        30.0,
        ge=0,
        allow_inf_nan=False,
        description="Seconds for the body of a request to come, and one more for every 32 KiB of it; 0: any time.",
    )
    write_timeout: float = Field(
        60.0, ge=0, allow_inf_nan=False, description="Seconds for a client to take what waits for it; 0: any time."
    )
    shadow_share: float = Field(
        0.0, ge=0, le=1, description="Share of the reduced requests that is asked again with every visual token."
    )
    shadow_per_hour: int = Field(100, ge=0, description="Most requests that are asked again in an hour.")
    shadow_max_in_flight: int | None = Field(
        None,
        ge=0,
        description="Most requests in flight of an API process while one is asked again; none: half of its part of a "
        "batch.",
    )
    explain: bool = Field(
        False,
        description="Answer /v1/visual-tokens, and chats that include it, with which visual tokens were kept, and why.",
    )
    playground: bool = Field(
        False, description="Serve /playground, a page to try the server with; brings with it what `explain` does."
    )
    grafana_url: str = Field(
        "", description="Address of a Grafana with the dashboards, to which /playground links; empty: no link."
    )
    json_logs: bool = Field(False, description="Log in JSON, one line per request among others, never with its body.")

    @field_validator("api_keys_file", "load_floor_ratio", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("grafana_url")
    @classmethod
    def _is_web_address(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return value

    @field_validator("fetch_networks")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        for network in filter(None, value.split(",")):
            ip_network(network)
        return value

    @field_validator("encoder_cut")
    @classmethod
    def _leaves_what_is_kept(cls, value: float) -> float:
        if 0 < value < 1:
            raise ValueError("must be 0, or at least 1")
        return value

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Settings:
        if not self.min_keep_ratio <= self.keep_ratio <= self.max_keep_ratio:
            raise ValueError("settings must satisfy min_keep_ratio <= keep_ratio <= max_keep_ratio")
        if self.shared_keep_ratio is not None and self.shared_keep_ratio > self.max_keep_ratio:
            raise ValueError("settings must satisfy shared_keep_ratio <= max_keep_ratio")
        if self.auto_least_ratio > self.auto_reading_ratio:
            raise ValueError("settings must satisfy auto_least_ratio <= auto_reading_ratio")
        if self.load_floor_ratio is not None and not self.min_keep_ratio <= self.load_floor_ratio <= self.keep_ratio:
            raise ValueError("settings must satisfy min_keep_ratio <= load_floor_ratio <= keep_ratio")
        if self.load_begins >= self.load_ends:
            raise ValueError("settings must satisfy load_begins < load_ends")
        if self.shadow_share > 0 and self.max_keep_ratio < 1:
            raise ValueError("shadow_share asks at keep ratio 1, which max_keep_ratio forbids")
        if self.question_depth and self.state_table is not None:
            raise ValueError("question_depth and state_table exclude each other: a table has a depth of its own")
        return self

    @property
    def reads_questions(self) -> bool:
        """Whether layers read them, and what was read may be kept by a name."""
        return self.state_table is None and self.question_depth != 0

    @property
    def states_for_all(self) -> bool:
        """Whether methods that do not hear states beside words are to have them in place of these."""
        return self.state_table is not None or self.question_depth is not None

    @property
    def explains(self) -> bool:
        """Whether it is told which visual tokens were kept."""
        return self.explain or self.playground

    def with_default(self, ratio: float) -> Settings:
        """The settings with another default ratio, held to their bounds."""
        held = min(self.max_keep_ratio, max(self.min_keep_ratio, ratio))
        return self.model_copy(update={"keep_ratio": held})

    def narrowed(self, low: float, high: float) -> Settings:
        """The settings for one who may have ratios between `low` and `high` alone: its default is held to them.

        Raises:
            ValueError: no ratio is within these bounds and within the operator's.
        """
        low, high = max(low, self.min_keep_ratio), min(high, self.max_keep_ratio)
        if low > high:
            raise ValueError(
                f"no keep ratio is left within the server's own, {self.min_keep_ratio} to {self.max_keep_ratio}"
            )
        shared = None if self.shared_keep_ratio is None else min(high, self.shared_keep_ratio)
        default = min(high, max(low, self.keep_ratio))
        bounds = {"min_keep_ratio": low, "max_keep_ratio": high, "keep_ratio": default, "shared_keep_ratio": shared}
        return self.model_copy(update=bounds)


@cache
def settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()
