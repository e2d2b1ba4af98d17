# What a contributor types. Everything runs in .venv; nothing needs root.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Touched when .venv has what pyproject.toml asks for.
READY := $(VENV)/.ready
SERVERS := PYTHONPATH=tools $(BIN)/python -m servers

.DEFAULT_GOAL := help
.PHONY: help venv demo provision test lint typing docs generated bench clean topologies \
	docs-look test-brokers bench-brokers demo-rabbitmq demo-redis demo-nats

help:  ## Show this text.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

venv: $(READY)  ## Make .venv, with the tools for development.

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --group dev --editable '.[postgres,mysql]'
	touch $@

demo: $(READY)  ## Run the example application, and show what it sends.
	@$(BIN)/python examples/quickstart/demo.py

provision: $(READY)  ## Fetch the database servers that aren't installed.
	@$(SERVERS) provision

test: provision  ## Run every cell of the matrix that this machine can run.
	@$(SERVERS) matrix
	@echo 'NOT RUN: the cells of servers that stand together; "make topologies" runs them.'
	@echo 'NOT RUN: the cell docs-look; "make docs-look" runs it (in a browser of 100 MB).'
	@echo 'NOT RUN: the cells rabbitmq, redis and nats; "make test-brokers" runs them.'

lint: $(READY)  ## Check style and format.
	$(BIN)/tox run -e lint

typing: $(READY)  ## Check the types.
	$(BIN)/tox run -e typing

docs: $(READY)  ## Build the documentation and run its examples.
	$(BIN)/tox run -e docs

docs-look: $(READY)  ## Look at the documentation in a browser, and take screenshots.
	@$(SERVERS) provision chromium
	$(BIN)/tox run -e docs-look
	@echo 'The screenshots are in .tox/docs-look/tmp/look/screenshots.'

generated: $(READY)  ## Write docs/_generated anew, from the code and the last measurements.
	PYTHONPATH=tests $(BIN)/python -m support.anomalies
	PYTHONPATH=tests $(BIN)/python -m support.sql
	PYTHONPATH=tests $(BIN)/python -m conformance.reference
	$(BIN)/python -m pip install --quiet --group bench
	PYTHONPATH=tests:tools $(BIN)/python -m benchmarks --redraw > /dev/null

bench: $(READY) provision  ## Measure how fast signals are sent (40 minutes; BENCH=--quick: 16).
	$(BIN)/python -m pip install --quiet --group bench
	@# A target that is missed is no reason not to measure the rest.
	@export PYTHONPATH=tools; missed=0; \
	$(BIN)/python -m benchmarks $(BENCH) || missed=1; \
	for part in wakeups recording distance peers; do \
		$(BIN)/python -m benchmarks.$$part $(filter --quick,$(BENCH)) || missed=1; \
	done; exit $$missed

demo-rabbitmq:  ## Run the example with RabbitMQ, which is killed on the way.
demo-redis:  ## Run the example with Redis Streams.
demo-nats:  ## Run the example with NATS JetStream.
demo-rabbitmq demo-redis demo-nats: $(READY)
	@$(BIN)/python -m pip install --quiet --group brokers
	@PYTHONPATH=tools $(BIN)/python examples/broker_demo.py $(@:demo-%=%)

test-brokers: $(READY)  ## Test these examples; the brokers are stopped and killed.
	@$(SERVERS) provision postgresql rabbitmq redis nats
	$(BIN)/tox run -m brokers

bench-brokers: $(READY)  ## Measure how fast signals are sent over real brokers.
	$(BIN)/python -m pip install --quiet --group bench --group brokers
	PYTHONPATH=tools $(BIN)/python -m benchmarks.brokers

clean:  ## Remove what was built; fetched servers stay.
	rm -rf $(VENV) .tox .mypy_cache .pytest_cache .ruff_cache build dist

topologies: $(READY)  ## Test PgBouncer, failover, Galera and group replication (5 minutes).
	$(BIN)/tox run -m topologies
