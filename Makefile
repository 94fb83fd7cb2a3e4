# `make check` is what CI runs: bootstrap.py owns the list of checks and prepares what they need.
.POSIX:
.PHONY: check clean

check:
	python3 bootstrap.py test $(PYTEST)

clean:
	rm -rf .venv .venv.old .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
