# The everyday commands; `just --list` shows them.

test:
    .venv/bin/pytest -n 2 -m "not slow"

test-all:
    .venv/bin/pytest -n 2

lint:
    .venv/bin/ruff check
    .venv/bin/ruff format --check
    .venv/bin/pyright

docs:
    .venv/bin/python docs/render.py
    .venv/bin/mkdocs build --strict

bench:
    .venv/bin/python benchmarks/flow_vs_sgd.py

reproduce:
    .venv/bin/twolayer reproduce --quick
