# Everything a person does here, in one word each. Nothing but Python 3.11, git and make is needed:
# the rest is fetched into .tools/ and .venv/ on first use.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
PY := .venv/bin/python
READY := .venv/.ready

.PHONY: help demo test lint fix docs bench chaos clean

help: ## 显示帮助 | show this help
	@echo '群策 Qunce: make <目标 target> [ARGS="…"]'
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

demo: $(READY) ## 一条命令启动全平台演示 | the whole platform with a simulated province (ARGS='--help' shows options)
	@exec .venv/bin/qunce demo $(ARGS)

# Most of a test is waiting for real servers, so more of them run at once than there are cores. A database
# server of one's own (QUNCE_TEST_DSN) may take one connection only: there they run one after the other.
WORKERS := $(if $(QUNCE_TEST_DSN),,-n 3 --dist loadfile)

test: $(READY) ## 运行全部测试 | all tests: unit, integration, browser
	@$(PYTHON) deploy/programs.py
	@$(PY) -m pytest $(WORKERS) $(ARGS)

lint: $(READY) ## 静态检查 | ruff, mypy --strict, the rooms' import rules, generated docs
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@PYTHONWARNINGS=ignore .venv/bin/lint-imports --no-logo
	@$(PY) -m deploy.reference --check
	@$(PY) -m metrics.reference --check
	@$(PY) -m ingest.reference --check

fix: $(READY) ## 自动整理代码 | what ruff can mend by itself
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

docs: $(READY) ## 生成参考文档 | docs/settings.md, indicators.md, reasons.md, datasets.md from the program itself
	@$(PY) -m deploy.reference
	@$(PY) -m metrics.reference
	@$(PY) -m ingest.reference

bench: $(READY) ## 性能测试 | every way in against what the database itself can take (ARGS='freshness', 'soak', 'scale')
	@exec .venv/bin/qunce bench $(or $(ARGS),ingest)

ROUNDS ?= 50
SEED ?=
chaos: $(READY) ## 混沌测试 | kill and starve every part under load; nothing acknowledged may be lost or doubled (ROUNDS=50 SEED=7)
	@exec $(PY) -m tests.chaos --long --rounds $(ROUNDS) $(if $(SEED),--seed $(SEED)) $(ARGS)

clean: ## 删除虚拟环境和缓存 | the virtual environment, the tools and all caches
	@rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(READY): uv.lock pyproject.toml deploy/bootstrap.py
	@$(PYTHON) deploy/bootstrap.py
	@touch $@
