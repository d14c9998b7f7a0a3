# Hunch from a bare machine: needs Python 3.11, 3.12 or 3.13 and make; `make test` uses a real Kafka
# where there are Java 17 and Maven. Everything is installed into .venv, outside nothing changes but
# the caches of pip and of Kafka's jars.

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
RUNS := $(VENV)/.runs
TESTS := $(VENV)/.tests
LINTS := $(VENV)/.lints
CHAOS := SECONDS SEED MIX DELIVERY KILLS STOPS BROKER_RESTARTS SESSION_MS RATE
lower = $(shell echo $1 | tr A-Z a-z)
SOURCES := app tests deploy $(wildcard bench models)

.DEFAULT_GOAL := help
.PHONY: help demo test chaos mutants figures lint format kafka up down clean

help: ## says what there is
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

demo: $(RUNS) ## streams the bundled digits through the whole cascade (no Kafka, no Java needed)
	@$(BIN)/hunch demo

test: $(TESTS) ## runs all tests; ARGS='-k lanes' for some of them
ifdef ARGS
	@$(BIN)/pytest $(ARGS)
else  # what measures time on a real Kafka has the machine to itself
	@$(BIN)/pytest --numprocesses 2 -m "not kafka"
	@$(BIN)/pytest -m kafka
endif

chaos: $(TESTS) ## breaks a running cascade for ten minutes and checks it; SECONDS= SEED= MIX= KILLS= STOPS= BROKER_RESTARTS=
	@$(BIN)/python -m tests.chaos $(foreach name,$(CHAOS),$(if $($(name)),--$(subst _,-,$(call lower,$(name))) $($(name))))

mutants: $(TESTS) ## breaks rules of Hunch one at a time: chaos must see each
	@$(BIN)/python -m tests.chaos.mutants

figures: $(TESTS) ## sweeps over tau and delta and draws what the README shows; BANKING77=FOLDER for that pair, too
	@$(BIN)/python -m bench.figures $(if $(BANKING77),--banking77 $(BANKING77))

lint: $(LINTS) ## ruff and mypy
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/ruff format --check $(SOURCES)
	@$(BIN)/mypy

format: $(LINTS) ## puts the code into shape
	@$(BIN)/ruff check --fix-only $(SOURCES)
	@$(BIN)/ruff format $(SOURCES)

kafka: ## a real Kafka in the foreground, until Ctrl-C; PORT=9092 for a fixed port
	@deploy/local-kafka/kafka.sh $(if $(PORT),--port $(PORT))

up: ## everything in containers: Kafka, the stages, Jaeger, Prometheus, Grafana (needs Docker)
	@$(DOCKER)
	@docker compose up --build --detach
	@echo "Dashboard http://127.0.0.1:3000, alerts http://127.0.0.1:9090/alerts, traces http://127.0.0.1:16686, Kafka 127.0.0.1:9092."

down: ## ends them; what Kafka and Prometheus hold stays (docker compose down --volumes removes it)
	@$(DOCKER)
	@docker compose down

clean: ## removes what was installed and built here
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

define DOCKER
docker compose version >/dev/null 2>&1 || { \
	echo "This needs Docker with its compose plugin, and 'docker compose version' fails: install Docker Engine or Docker Desktop, or run Hunch without containers (make kafka PORT=9092, then hunch run)." >&2; exit 1; }
endef

$(RUNS): pyproject.toml
	@[ -n "$(PYTHON)" ] || { echo "Hunch needs Python 3.11, 3.12 or 3.13, and none is on the PATH: install one, or run make PYTHON=/path/to/python3.11." >&2; exit 1; }
	@echo "Installing Hunch into $(VENV) (a few minutes the first time)."
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[embedded]'
	@touch $@

$(TESTS): $(RUNS)
	@echo "Installing what the tests need."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group test
	@touch $@

$(LINTS): $(TESTS)
	@echo "Installing ruff and mypy."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group lint
	@touch $@
