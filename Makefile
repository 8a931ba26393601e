# Two commands do everything on a fresh machine: `make demo` and `make test`. Both set up what they need.
SHELL := /bin/sh
OPUS := .venv/bin/opus
PY := .venv/bin/python

.PHONY: demo test lint bench image proto dashboards soak setup dev clean
.DEFAULT_GOAL := demo

setup:
	@scripts/setup

dev:
	@scripts/setup dev

demo: setup  ## the main job: 30 hosts in six regions, faults, a report (without root: in the simulator)
	@$(OPUS) run scenarios/quickstart.yaml

test: dev  ## every lane of tests this machine can run
	@$(PY) scripts/lanes.py

soak: dev  ## the long tests
	@$(PY) scripts/lanes.py soak

lint: dev
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports
	@$(PY) proto/generate.py --check
	@$(PY) -m opus_controller.observe.dashboards --check
	@$(PY) scripts/metrics_doc.py --check

bench: setup  ## speed and size, printed
	@$(OPUS) bench all

image: setup  ## the node's container image, for --runtime docker
	@$(PY) scripts/image.py

proto: dev  ## generated stubs from proto/**/*.proto
	@$(PY) proto/generate.py

dashboards: dev  ## Grafana's JSON from controller/opus_controller/observe/dashboards, and the table of metrics
	@$(PY) -m opus_controller.observe.dashboards
	@$(PY) scripts/metrics_doc.py

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
