# CI runs `make check`; bootstrap.py owns the list of checks and installs their dependencies.
.POSIX:
.PHONY: bench check clean deb fleet-soak fuzz image onefile soak wheels

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

# An hour of random faults in a fleet of five machines: FLEET='--seconds 600 --seed 7', see --help.
fleet-soak:
	python3 bootstrap.py --version >/dev/null
	.venv/bin/python -m pip install --quiet -e '.[test]'
	.venv/bin/python -m benchmarks.fleet --seconds 3600 $(FLEET)

# The Debian package, for Debian 12 and 13, in dist/. Python 3.11 and 3.13, where installed with their
# headers and a C compiler, compile the data path for the release that has them.
deb:
	python3 bootstrap.py --version >/dev/null
	.venv/bin/python -m tools.deb $(DEB)

# One executable file that needs no Python: dist/tunnelctl.
onefile:
	python3 bootstrap.py --version >/dev/null
	.venv/bin/python -m tools.onefile

# sdist and wheels for manylinux, in dist/.
wheels:
	packaging/wheels

image:
	docker build --target tunnelctl --tag tunnelctl \
	    --build-arg VERSION="$$(sed -n 's/^__version__ = "\(.*\)"/\1/p' tunnelctl/__init__.py)" \
	    --build-arg REVISION="$$(git rev-parse HEAD)" \
	    --build-arg SOURCE_DATE_EPOCH="$$(git log -1 --format=%ct || date +%s)" .

clean:
	rm -rf .venv .venv.old .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .fuzz dist
