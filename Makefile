# `make demo` and `make test` set everything up by themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
RUN := runs/resnet20-digits
EXPORT := exported/resnet20-digits

.PHONY: demo test test-slow parity exports lint docs benchmarks clean

$(READY): setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11 demo")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

# Trains on real images, exports, verifies, measures. Run again, it goes on where it
# was: a finished training is kept, the files are made anew.
demo: $(READY)
	$(BIN)/python -m keras_resnet.training --model resnet20 --data digits --out $(RUN) --resume
	$(BIN)/python -m export.savedmodel $(RUN) --out $(EXPORT)-savedmodel --preprocess normalize --force
	$(BIN)/python -m export.onnx $(RUN) --out $(EXPORT).onnx --preprocess normalize --force
	$(BIN)/python -m export.onnx $(RUN) --out $(EXPORT)-int8.onnx --preprocess normalize --precision int8 --force
	$(BIN)/python -m export.inspect $(EXPORT)-int8.onnx
	$(BIN)/python -m export.benchmark $(EXPORT).onnx $(EXPORT)-int8.onnx --out $(EXPORT)-latency --force
	$(BIN)/python benchmarks/latency.py $(RUN)/best.keras --batch-sizes 1 32 --out $(EXPORT)-side-by-side --force

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

# Minutes each; the JAX backend, Fashion-MNIST and the parity of every network.
test-slow: $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev,jax]'
	$(BIN)/python -m pytest -m slow --ignore tests/test_onnx_table.py

# The whole table against the references' golden answers: 45 minutes on 2 cores.
parity: $(READY)
	$(BIN)/python tests/golden/check_parity.py
	$(BIN)/python benchmarks/architectures.py

# Every architecture of the table as a verified ONNX file.
exports: $(READY)
	$(BIN)/python -m pytest -m slow tests/test_onnx_table.py --numprocesses 2

lint: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The documentation as a site, in site/; a warning is an error.
docs: $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# Side by side with peers; on a quiet machine, 22 minutes.
benchmarks: $(READY)
	$(BIN)/python benchmarks/build_time.py --force
	$(BIN)/python benchmarks/latency.py --force
	$(BIN)/python benchmarks/export_time.py --force
	$(BIN)/python benchmarks/onnx_speed.py --files exported/speed-files --force

clean:
	rm -rf $(VENV) build dist site *.egg-info
