# Every target sets up what it needs; `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
BIN := .venv/bin
PY := $(BIN)/python
# Tests spend half their time waiting for programs, so four processes share two cores. A file stays in one process
# because its tests share fixtures.
BESIDE := -n 4 --dist loadfile --no-loadscope-reorder
SBOM := $(BIN)/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible --of JSON
BENCHMARKS := startup exporter_ingest exporter_durable exporter_scrape attack exporter_replicas envelope_scan webhook_latency alertmanager_path receiver_peers event_loops receiver_storm receiver_postgres fan_out growth receiver_many receiver_delays console_pages rule_evaluation dashboard_queries

# Thousands of short processes start faster with compiled modules, which __pycache__ keeps.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help python-check go-client peers compiled prepare run demo history alert-review stack servers browser axe grafana-preview test test-postgres test-slow test-e2e test-fast check fmt lint types rules rules-versions scrape dashboards pictures config bench bench-compare soak crash packages clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  \033[1mmake %-15s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/ready: requirements-dev.lock deploy/local/environment.py
	@$(PYTHON) -m deploy.local.environment

# Says so if Python is too old for the programs below.
python-check:
	@$(PYTHON) -c 'import deploy.local.environment'

stack: python-check ## fetch Prometheus, Alertmanager, the exporters and VictoriaMetrics into .stack/ (no root, safe to repeat)
	@$(PYTHON) -m deploy.local.stack --exporters
	@$(PYTHON) -m deploy.local.victoria_metrics

run: .venv/ready ## run exporter, receiver, Prometheus and Alertmanager on this machine (Ctrl-C stops them)
	@$(PY) -m deploy.local.run

demo: .venv/ready ## the same with traffic, an outage, a page, an escalation and a resolve, in two minutes
	@$(PY) -m deploy.local.run --demo

history: .venv/ready stack ## simulate 125 days of a school in data/history, a Prometheus data folder
	@$(PY) -m deploy.simulation.history data/history

alert-review: .venv/ready stack ## fail every part of a simulated school in a month and list what each alert did; fails if one was silent in its own outage or fired in health
	@$(PY) -m deploy.simulation.outages data/review --until 2026-11-25T00:00:00Z
	@$(PY) -m deploy.simulation.firings data/review --check

browser: python-check ## find Chromium for the browser tests, or fetch it into .stack/ (no root, safe to repeat)
	@$(PYTHON) -m deploy.local.browser

axe: .venv/ready ## fetch axe-core, which checks the console's pages in the browser tests, into .stack/ (safe to repeat)
	@$(PY) -m deploy.local.axe

grafana-preview: .venv/ready stack browser ## render the dashboards for docs/ with Grafana's own components (fetches 440 MB once)
	@$(PY) -m grafana.preview
	@$(PY) -m grafana.preview overview oncall --at 2026-11-24T05:10:00Z --devices desktop --out docs/images/dashboards/outage

servers: python-check ## find PostgreSQL, Redis and nginx for the tests, or fetch them into .stack/ (no root, safe to repeat)
	@$(PYTHON) -m deploy.local.servers

go-client: ## compile what the Go client needs into Go's own cache, where its test finds it (nothing without Go)
	@if command -v go >/dev/null; then GOTOOLCHAIN=local go build -o /dev/null exporter/client/heypeter.go; fi

# In a fresh checkout each of the four processes would compile them at the same time, which takes as long as reading
# them twice. Faults in them are for the tests to report.
compiled: .venv/ready ## compile the tests and what they import, once in a checkout
	@[ -d tests/__pycache__ ] || $(BIN)/pytest -q --collect-only >/dev/null 2>&1 || true

# Beside each other, because installing keeps one core busy and fetching waits for the network.
prepare: python-check ## set up all that the tests need
	@$(MAKE) --no-print-directory -j6 compiled stack servers browser axe go-client peers

test: prepare ## all tests except the slowest, including the stories on the real stack
	@$(BIN)/pytest $(BESIDE) -m "not slow"

test-slow: prepare ## tests that take minutes: long fuzzing, a simulated week, all faults in real time, all mutants of the rules
	@$(BIN)/pytest -m "slow or hypothesis" --hypothesis-profile=many
	@$(PY) -m rules.mutants

test-postgres: prepare ## the receiver's tests on a real PostgreSQL, but for those of SQLite's file, which say so; also failover
	@HEYPETER_TEST_STORE=postgres $(BIN)/pytest $(BESIDE) -m "(not slow or postgres) and not browser and not story" tests/receiver

test-fast: .venv/ready ## tests that need neither Prometheus nor Alertmanager
	@$(BIN)/pytest $(BESIDE) -m "not stack and not story and not browser and not slow"

test-e2e: prepare ## stories on the real stack and tests in Chromium
	@$(BIN)/pytest $(BESIDE) -m "story or browser"

check: fmt-check lint types config rules dashboards pictures test-fast ## format, lint, types, rule, dashboard and config checks, fast tests

fmt: .venv/ready ## format the code
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix-only .

fmt-check: .venv/ready
	@$(BIN)/ruff format --check .

lint: .venv/ready ## ruff, strict
	@$(BIN)/ruff check .

types: .venv/ready ## mypy, strict
	@$(BIN)/mypy

rules: .venv/ready stack ## generate, lint and test the rules; FILE=rules/critical.yml checks that file in seconds
	@$(PY) -m rules.generate
ifdef FILE
	@$(PY) -m rules.check $(FILE) $(foreach name,$(ALERT),--only $(name))
else
	@$(PY) -m grafana.build
	@$(PY) -m deploy.generate
	@$(PY) -m grafana.links
	@$(PY) -m rules.lint
	@$(BIN)/pytest -q $(BESIDE) tests/rules
	@$(PY) -m rules.coverage
	@$(PY) -m rules.mutants
endif

rules-versions: .venv/ready ## test the rules with the promtool of every Debian suite that `make stack` can use
	@$(PY) -m deploy.local.rule_versions

scrape: .venv/ready stack ## record what the real exporters export, for the lint (rules/tables/exporters/)
	@$(PY) -m tests.rules.programs

dashboards: .venv/ready ## lint the dashboards and the links from alerts to them
	@$(PY) -m grafana.lint

pictures: .venv/ready ## name the pictures of dashboards that are older than what they show
	@$(PY) -m grafana.preview --check

config: .venv/ready ## check every example configuration, and that what is generated from them is up to date
	@$(PY) -m deploy.generate --check
	@for f in deploy/config/exporter.yml deploy/local/exporter.yml; do $(PY) -m exporter check --config.file $$f || exit 1; done
	@for f in deploy/config/receiver.yml deploy/local/receiver.yml; do $(PY) -m receiver check --config.file $$f || exit 1; done

bench: .venv/ready stack servers peers ## run all benchmarks and write bench/RESULTS.md (QUICK=1: the main ones; SHORT=1: only check that each runs)
	@$(PY) -m bench.results $(if $(QUICK),--quick) $(if $(SHORT),--short)

peers: .venv/ready ## install Alerta and uvloop into .stack/peers, for `make bench` to compare with (safe to repeat)
	@$(PY) -m bench.peers

bench-compare: .venv/ready stack ## compare benchmarks with a revision: BASE=rev [ONLY="webhook_latency attack"] [PAIRS=10] [PATCH=file]
	@$(PY) -m bench.compare $(BASE) $(ONLY) $(if $(PAIRS),--pairs $(PAIRS)) $(if $(PATCH),--patch $(PATCH))

soak: .venv/ready ## load an exporter of 40,000 series for an hour (MINUTES=5 for less)
	@$(PY) -m bench.soak $${MINUTES:-60}

crash: .venv/ready ## kill the receiver 500 times in a storm, let all around it fail, check what is left, find five planted bugs: KILLS=100 SEED=18 STORE=sqlite INCIDENTS=10000 (only a flood)
	@$(PY) -m tests.crash $(if $(KILLS),--kills $(KILLS)) $(if $(INCIDENTS),--incidents $(INCIDENTS)) $(if $(SEED),--seed $(SEED)) $(if $(STORE),--store $(STORE))

packages: .venv/ready ## build the wheel, the sdist and the list of packages (SBOM, CycloneDX) into dist/
	@$(PY) -m build --no-isolation --outdir dist .
	@$(SBOM) -o dist/heypeter-monitoring.cdx.json requirements.lock

clean: ## remove everything the targets made or fetched
	rm -rf .venv .stack data build dist .mypy_cache .pytest_cache .ruff_cache
