# Every target does its own set-up; `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
BIN := .venv/bin
PY := $(BIN)/python
# Half of the time a test waits for a program: three files at once, each in one process for what its tests share.
BESIDE := -n 3 --dist loadfile
BENCHMARKS := exporter_ingest exporter_durable exporter_scrape attack envelope_scan webhook_latency receiver_storm receiver_many rule_evaluation dashboard_queries

.PHONY: help run demo history stack servers browser grafana-preview test test-slow test-e2e test-fast check fmt lint types rules rules-versions scrape dashboards config bench bench-compare soak clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  \033[1mmake %-15s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/ready: requirements-dev.lock deploy/local/environment.py
	@$(PYTHON) -m deploy.local.environment

stack: .venv/ready ## fetch Prometheus, Alertmanager and the exporters below .stack/ (no root, safe to run twice)
	@$(PY) -m deploy.local.stack --exporters

run: .venv/ready ## run exporter, receiver, Prometheus and Alertmanager on this machine (Ctrl-C stops all)
	@$(PY) -m deploy.local.run

demo: .venv/ready ## the same with a school's traffic, an outage, a page, an escalation and a resolve, in two minutes
	@$(PY) -m deploy.local.run --demo

history: stack ## simulate 125 days of a school in data/history, for a Prometheus to be started on
	@$(PY) -m deploy.simulation.history data/history

browser: .venv/ready ## find a Chromium for the browser tests, or fetch one below .stack/ (no root, safe to run twice)
	@$(PY) -m deploy.local.browser

grafana-preview: stack browser ## draw the dashboards for docs/ with Grafana's own components (fetches 440 MB once)
	@$(PY) -m grafana.preview
	@$(PY) -m grafana.preview overview oncall --at 2026-11-24T05:05:00Z --devices desktop --out docs/images/dashboards/outage

servers: .venv/ready ## find PostgreSQL, Redis and nginx for the tests, or fetch them below .stack/ (no root, safe to run twice)
	@$(PY) -m deploy.local.servers

test: stack servers browser ## the whole suite but its slowest tests, the main path on the real stack included
	@$(BIN)/pytest $(BESIDE) -m "not slow"
	@$(PY) -m rules.coverage
	@$(PY) -m rules.mutants

test-slow: stack servers browser ## the tests that take minutes: long fuzzing, a simulated week, all faults in real time
	@$(BIN)/pytest -m slow

test-fast: .venv/ready ## the tests that need no Prometheus and no Alertmanager
	@$(BIN)/pytest $(BESIDE) -m "not stack and not story and not browser and not slow"

test-e2e: stack servers browser ## the stories on the real stack and the tests in Chromium
	@$(BIN)/pytest $(BESIDE) -m "story or browser"

check: fmt-check lint types config rules dashboards test-fast ## format, lint, types, rule, dashboard and config checks, fast tests

fmt: .venv/ready ## format the code
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix-only .

fmt-check: .venv/ready
	@$(BIN)/ruff format --check .

lint: .venv/ready ## ruff, strict
	@$(BIN)/ruff check .

types: .venv/ready ## mypy, strict
	@$(BIN)/mypy

rules: stack ## write what is generated, lint, promtool and amtool over all; FILE=rules/critical.yml: that file in seconds
	@$(PY) -m rules.generate
ifdef FILE
	@$(PY) -m rules.check $(FILE) $(foreach name,$(ALERT),--only $(name))
else
	@$(PY) -m grafana.build
	@$(PY) -m grafana.links
	@$(PY) -m rules.lint
	@$(BIN)/pytest -q $(BESIDE) tests/rules
	@$(PY) -m rules.coverage
	@$(PY) -m rules.mutants
endif

rules-versions: .venv/ready ## the tests of the rules on the promtool of each Debian suite that `make stack` may fetch from
	@$(PY) -m deploy.local.rule_versions

scrape: stack ## ask the real exporters what they export, for the lint (rules/tables/exporters/)
	@$(PY) -m tests.rules.programs

dashboards: .venv/ready ## lint the dashboards, and where the alerts lead
	@$(PY) -m grafana.lint

config: .venv/ready ## check every example configuration
	@for f in deploy/config/exporter.yml deploy/local/exporter.yml; do $(PY) -m exporter check --config.file $$f || exit 1; done
	@for f in deploy/config/receiver.yml deploy/local/receiver.yml; do $(PY) -m receiver check --config.file $$f || exit 1; done

bench: stack ## benchmarks, side by side, as ratios and percentiles (SHORT=1: only whether each of them runs)
	@for b in $(BENCHMARKS); do echo "== $$b"; $(PY) -m bench.$$b $(if $(SHORT),--short) || exit 1; done

bench-compare: stack ## figures beside those of another revision: BASE=rev [ONLY="webhook_latency attack"] [PAIRS=10] [PATCH=file]
	@$(PY) -m bench.compare $(BASE) $(ONLY) $(if $(PAIRS),--pairs $(PAIRS)) $(if $(PATCH),--patch $(PATCH))

soak: .venv/ready ## an hour of load on an exporter of 40,000 series (MINUTES=5 for less)
	@$(PY) -m bench.soak $${MINUTES:-60}

clean: ## remove what the targets made here, the fetched programs included
	rm -rf .venv .stack data build .mypy_cache .pytest_cache .ruff_cache
