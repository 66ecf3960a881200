# One place for what a person types. `make help` lists it. Everything runs from .venv in this checkout.

PYTHON ?= python3
MODEL ?=
PORT ?= 8000
KEEP_RATIO ?=
ARGS ?=
URL ?=
DATASET ?=
OUT ?=
TESTS ?=
TOOL ?=
TARGET ?= cpu
HOURS ?=
REQUESTS ?=
VLLM ?= $(shell sed -n 's/^VERSION: Final = "\(.*\)"/\1/p' deploy/vllm_next_env.py)
BASE_IMAGE ?=

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

VENV := .venv/bin
SOURCES := sppruner_vllm server deploy loadtest tests
# Folders of tests without an engine. One thread each: they share the cores, and the first two mostly wait.
QUICK := load programs plugin pure deploy
# Two processes share the whole, for a test has one thread (tests/parallel.py), in the order of the folders, which has
# the long ones first.
SHARED := --numprocesses 2 --dist loadscope --no-loadscope-reorder
TYPED := sppruner_vllm server deploy loadtest

# Nothing here needs a network once the environment is made.
export HF_HUB_OFFLINE ?= $(if $(MODEL),,1)
export PYTHONUNBUFFERED := 1

.DEFAULT_GOAL := help
.PHONY: help setup prove test-prove test-shadow serve demo quick test parity test-v2 test-vllm test-stops test-browser conformance fuzz lint style types imports format eval exam misfit ablation train-demo train-wild train-llava bench bench-smoke bench-overhead bench-selection bench-gpu loadtest loadtest-stock loadtest-slide loadtest-agree soak capacity image image-test release clean

help: ## Show this list
	@grep -E '^[a-z0-9-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 18

setup: ## Make .venv with everything pinned (a second run takes no time)
	@$(PYTHON) deploy/setup_env.py

serve: setup ## Serve MODEL (default: the demo model) on 127.0.0.1:PORT; KEEP_RATIO: default ratio; ARGS: vLLM flags
	@$(VENV)/python -m sppruner_vllm.demo serve --port $(PORT) \
		$(if $(MODEL),--model $(MODEL)) $(if $(KEEP_RATIO),--keep-ratio $(KEEP_RATIO)) $(ARGS)

demo: setup ## Ask about one photograph at three keep ratios and print what each cost
	@$(VENV)/python -m sppruner_vllm.demo

quick: setup ## Run every check and all tests that need no engine, side by side: under a minute on two idle cores
	@$(MAKE) --no-print-directory --output-sync=target -j6 $(QUICK:%=quick-%) lint

quick-%: setup
	@OMP_NUM_THREADS=1 $(VENV)/python -m pytest -q tests/$*

test: $(if $(TESTS),setup,lint) ## Run every check and every test, or only TESTS: folders, files or FILE::TEST
	$(VENV)/python -m pytest $(or $(TESTS),$(SHARED)) $(ARGS)

test-vllm: setup ## Run all tests that touch vLLM on another release of it: VLLM (0.33.0); TESTS: only these; ARGS
	$(VENV)/python deploy/vllm_next_env.py $(VLLM)
	.cache/vllm-$(VLLM)/bin/python -m pytest $(or $(TESTS),tests/vllm_next/since_0_33.py tests/plugin tests/server tests/engine) $(ARGS)

PARITY := tests/engine/test_beds.py tests/engine/test_family_parity.py tests/engine/test_family_tensor_parallel.py \
	tests/engine/test_videos.py tests/server/test_http_tiles.py

# vLLM makes the groups of a process for its first model, and none for experts where that one has none.
parity: setup ## Run the list of what every model family owes, for each family and in full
	SPPRUNER_TEST_EVERY_FAMILY=1 $(VENV)/python -m pytest $(PARITY) -k "not moe" $(ARGS)
	SPPRUNER_TEST_EVERY_FAMILY=1 $(VENV)/python -m pytest $(PARITY) -k moe $(ARGS)

test-v2: setup ## Ask vLLM's model runner V2 what V1 is asked, on a CPU (a download of 0.3 GB the first time)
	$(VENV)/python -m pytest tests/runner_v2 --every-scenario

test-stops: setup ## End servers in every way there is: signals to all processes, each kind of process killed; four minutes
	SPPRUNER_TEST_EVERY_STOP=1 $(VENV)/python -m pytest tests/reliability/test_stopping.py $(ARGS)

test-browser: setup ## Try the playground in a real browser (a download of 110 MB the first time, where there is no Chromium)
	$(VENV)/python deploy/conformance_env.py node
	SPPRUNER_TEST_BROWSER=1 $(VENV)/python -m pytest tests/server/test_playground.py $(ARGS)

conformance: setup ## Try other people's clients, schemathesis, guidellm and vLLM's bench on the server; ARGS: pytest options
	$(VENV)/python -m pytest tests/conformance --everyone $(ARGS)

fuzz: setup ## Send the server 10,000 spoilt requests, some 5 minutes; URL: a server that runs; ARGS: --seed and others
	PYTHONPATH=tests $(VENV)/python tests/conformance/fuzz.py $(if $(URL),--url $(URL)) $(ARGS)

lint: style types imports ## Check style, types and import directions (as the pre-commit hooks do)

style: setup
	$(VENV)/ruff check $(SOURCES)
	$(VENV)/ruff format --check $(SOURCES)

types: setup
	$(VENV)/mypy $(TYPED)

imports: setup
	$(VENV)/lint-imports

format: setup ## Rewrite the sources in the project's style
	$(VENV)/ruff check --fix $(SOURCES)
	$(VENV)/ruff format $(SOURCES)

eval: setup ## Measure answers per method and keep ratio; URL: a server, or MODEL; DATASET: a JSONL; OUT: folder; ARGS
	@$(VENV)/python -m sppruner_vllm.evaluation run $(if $(URL),--url $(URL)) $(if $(MODEL),--model $(MODEL)) \
		$(if $(DATASET),--dataset $(DATASET)) $(if $(OUT),--out $(OUT)) $(ARGS)

prove: setup ## Ask the standard sets of MODEL (the demo's, local ones) by lmms-eval and report; a second call goes on; OUT; ARGS
	@$(VENV)/python -m sppruner_vllm.evaluation.proof $(if $(URL),--url $(URL)) $(if $(MODEL),--model $(MODEL)) \
		$(if $(OUT),--out $(OUT)) $(ARGS)

test-shadow: setup ## Ask requests again on a server that does so with all of them; a minute
	SPPRUNER_TEST_SHADOW=1 $(VENV)/python -m pytest tests/server/test_http_shadow.py $(ARGS)

test-prove: setup ## Run the proof kit offline on the demo model, killed on the way and resumed; some minutes
	SPPRUNER_TEST_PROVE=1 $(VENV)/python -m pytest tests/programs/test_prove.py $(ARGS)

exam: setup ## Ask the harder questions: small print, large pictures, second turns, two hops; MODEL, OUT: folder; ARGS
	@$(VENV)/python -m sppruner_vllm.evaluation run --bare --dataset hard --max-tokens 6 $(if $(MODEL),--model $(MODEL)) \
		--out $(or $(OUT),.cache/exam) $(ARGS)

misfit: setup ## Measure how far a model's visual tokens lie from the words for what they show; MODEL, OUT: folder; ARGS
	@$(VENV)/python -m sppruner_vllm.evaluation misfit $(if $(MODEL),--model $(MODEL)) $(if $(OUT),--out $(OUT)) $(ARGS)

ablation: setup ## Take every step of the selection out in turn and measure what it was worth; a second call goes on; OUT; ARGS
	@$(VENV)/python -m sppruner_vllm.evaluation.ablation $(if $(OUT),--out $(OUT)) $(ARGS)

train-demo: setup ## Train the demo model from nothing: some five hours on two cores; a second call goes on
	@$(VENV)/python -m sppruner_vllm.demo.training $(ARGS)

train-wild: setup ## Train the wild test bed: some twenty minutes of one core; a second call goes on; ARGS=--background
	@$(VENV)/python -m sppruner_vllm.demo.training --wild --threads 1 $(ARGS)

train-llava: setup ## Train the LLaVA test bed: some half an hour of one core; a second call goes on; ARGS=--background
	@$(VENV)/python -m sppruner_vllm.demo.training --llava --threads 1 $(ARGS)

bench: setup ## Measure speed against stock vLLM and against the ideal, some 20 minutes; ARGS: --quick and others; OUT
	@$(VENV)/python -m sppruner_vllm.evaluation.bench $(if $(OUT),--out $(OUT)) $(ARGS)

bench-smoke: setup ## The same in a minute, on a tiny model: shows that it runs
	@$(VENV)/python -m sppruner_vllm.evaluation.bench --smoke $(if $(OUT),--out $(OUT)) $(ARGS)

bench-overhead: setup ## Measure what the plugin costs at keep ratio 1, against vLLM without it
	@$(VENV)/python -m sppruner_vllm.evaluation.bench.overhead

bench-selection: setup ## Measure what choosing tokens costs by tokens, width, images of a step and method; ARGS
	@$(VENV)/python -m sppruner_vllm.evaluation.selection_cost $(ARGS)

bench-gpu: setup ## Time prefill in Qwen2.5-VL's shapes on this machine's GPU, with PyTorch and transformers alone; ARGS
	@$(VENV)/python -m sppruner_vllm.evaluation.gpu_prefill $(ARGS)

loadtest: setup ## Sweep keep ratios by concurrency on a server it starts, or URL; MODEL; OUT: folder; ARGS
	@$(VENV)/python -m loadtest.sweep $(if $(URL),--url $(URL)) $(if $(MODEL),--model $(MODEL)) \
		$(if $(OUT),--out $(OUT)) $(ARGS)

loadtest-slide: setup ## Put a spike of users on a default ratio that follows the load and on a fixed one; URL and ARGS; OUT
	@$(VENV)/python -m loadtest.slide $(if $(URL),--url $(URL)) $(if $(MODEL),--model $(MODEL)) \
		$(if $(OUT),--out $(OUT)) $(ARGS)

soak: setup ## Load a server for HOURS (1) and REQUESTS with pictures (5000), and see whether its memory grows; URL and ARGS
	@$(VENV)/python -m loadtest.soak --hours $(or $(HOURS),1) --requests $(or $(REQUESTS),5000) $(if $(URL),--url $(URL)) \
		$(if $(MODEL),--model $(MODEL)) $(if $(OUT),--out $(OUT)) $(ARGS)

loadtest-stock: setup ## Put this server beside stock vLLM, users waiting and not, some 30 minutes; URL and --stock-url, MODEL, OUT, ARGS
	@$(VENV)/python -m loadtest.against $(if $(URL),--url $(URL)) $(if $(MODEL),--model $(MODEL)) \
		$(if $(OUT),--out $(OUT)) $(ARGS)

loadtest-agree: setup ## Compare the load test's figures with `vllm bench serve` on one server; URL, MODEL, OUT, ARGS
	@$(VENV)/python -m loadtest.agree $(if $(URL),--url $(URL)) $(if $(MODEL),--model $(MODEL)) \
		$(if $(OUT),--out $(OUT)) $(ARGS)

capacity: setup ## Size a fleet from the load test's results in .cache/loadtest; ARGS, for instance --peak 100
	@$(VENV)/python -m sppruner_vllm.evaluation.capacity .cache/loadtest $(ARGS)

image: ## Build the image TARGET (cpu or gpu) with TOOL (docker)
	$(or $(TOOL),docker) build --target $(TARGET) --build-arg REVISION=$$(git rev-parse HEAD) --tag sppruner-vllm:$(VERSION)-$(TARGET) .

image-test: setup ## Build the CPU image and run the API's tests against it in a container; TOOL: docker or podman
	@TOOL=$(TOOL) BASE_IMAGE=$(BASE_IMAGE) sh deploy/image_test.sh

release: setup ## Make wheel, sdist, bill of materials and checksums in dist/
	@$(VENV)/python deploy/release/release.py $(ARGS)

clean: ## Remove .venv and everything built
	rm -rf .venv .cache build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
