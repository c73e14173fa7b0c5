.PHONY: up test bench faults system-test compose-test clean

# The cluster on this machine, with the model that is in the box. `make up ARGS="--port 9000 --cpu 2"`
up:
	@sh compose/bootstrap.sh run .venv/bin/tropilla up $(ARGS)

# ARGS may choose from one half of the tests only, which pytest calls an error (5).
NONE_CHOSEN = test $$? -eq 5 -a -n "$(ARGS)"

# Everything CI asks for, stopping at the first tool that objects. `make test ARGS="-k ports"`
test:
	@sh compose/bootstrap.sh test
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/pytest tests --ignore=tests/cluster --ignore=tests/system -n auto $(ARGS) || $(NONE_CHOSEN)
	.venv/bin/pytest tests/cluster -n 2 --dist loadfile --reruns 1 $(ARGS) || $(NONE_CHOSEN)

# Side by side with llama-server and llama_cpp.server: docs/benchmarks.md. `make bench ARGS="--models 135m-q8_0 --quick"`
bench:
	@sh compose/bootstrap.sh test
	.venv/bin/python -m bench $(ARGS)

# Takes processes away by the thousand and checks every word: docs/faults.md. `make faults ARGS="killed --quick"`
faults:
	@sh compose/bootstrap.sh test
	PYTHONPATH=tests .venv/bin/python -m faults $(ARGS)

# What needs Debian packages: Docker, nginx, Chromium... Each test says which one is missing. docs/compose.md.
system-test:
	@sh compose/bootstrap.sh test
	.venv/bin/pytest tests/system -v --capture=no $(ARGS)

# `docker compose up` for real, alone: builds the image if there is none (minutes), and leaves nothing but that.
compose-test:
	@sh compose/bootstrap.sh test
	.venv/bin/pytest tests/system/test_compose.py -v --capture=no $(ARGS)

clean:
	rm -rf .venv build dist tropilla.egg-info .mypy_cache .ruff_cache .pytest_cache
