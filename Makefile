# CI runs `make check`; bootstrap.py owns the list of checks and installs their dependencies.
.POSIX:
.PHONY: bench check clean fuzz soak

check:
	python3 bootstrap.py test $(PYTEST)

# Compares with OpenSSH and others, in about 15 minutes: BENCH='--quick' and more, see --help.
bench:
	python3 bootstrap.py --version >/dev/null
	.venv/bin/python -m pip install --quiet -e '.[test,bench]'
	.venv/bin/python -m benchmarks $(BENCH)

# One minute for every target under libFuzzer: FUZZ='socks --seconds 600', see fuzz/README.md.
fuzz:
	python3 bootstrap.py --version >/dev/null
	.venv/bin/python -m pip install --quiet -e '.[test,fuzz]'
	.venv/bin/python -m fuzz $(FUZZ)

# Two minutes of traffic with random faults: SOAK='--seconds 3600 --json FILE', see --help.
soak:
	python3 bootstrap.py --version >/dev/null
	.venv/bin/python -m pip install --quiet -e '.[test]'
	.venv/bin/python -m benchmarks.soak $(SOAK)

clean:
	rm -rf .venv .venv.old .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .fuzz dist
