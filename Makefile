# make live: see it run.   make test: lint, types, tests; .ci/run adds the installed wheel.   make bench: the tables.
# make numpy1: the tests of what Kinect and Orbbec cameras need, on the NumPy and OpenCV that their wheels hold back.
# make soak SECONDS=3600: memory and latency over time.   make chaos ROUNDS=1000 SEED=1: kills and stalls at random.
# make kills ROUNDS=100: ends the writer of a session folder at that many points; every file must parse each time.
VENV := .venv
PYTHON ?= python3
PIP := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check
# Debian's names; the first two belong to OpenCV's wheel, a compiler builds the loops of motion, libusb belongs to the
# RealSense SDK, the rest to the overlays' tests.
LIVE_PACKAGES := libgl1 libglib2.0-0
BUILD_PACKAGES := gcc libc6-dev
TEST_PACKAGES := $(LIVE_PACKAGES) $(BUILD_PACKAGES) libusb-1.0-0 xvfb xdotool chromium chromium-driver libzmq3-dev iproute2 mesa-vulkan-drivers

KERNELS := $(wildcard capture/kernels/* stream/kernels/*)

# Real processes, sockets and windows share two cores with each other here: a test may fail once, and is named when it did.
AGAIN := --reruns 1 -rR
# A file's tests share what its fixtures make, so they stay in one process; in order of names the long files come first.
TOGETHER := -n 2 --dist loadfile --no-loadscope-reorder

# A session is several processes: without kept bytecode each of them compiles all sources again, half a second each time.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: live test tests-alone tests-together check coverage bench soak chaos kills numpy1 clean

live: $(VENV)/.live
	$(VENV)/bin/sfam-live --camera demo --overlay web $(ARGS)

test: $(VENV)/.test
	$(MAKE) --no-print-directory --jobs=3 --keep-going check tests-alone tests-together

tests-together:
	$(VENV)/bin/python -m pytest -m "not alone" $(TOGETHER) $(AGAIN) $(ARGS)

# They mostly wait, so they run beside the others, one after the other, and print when all of them have ended.
tests-alone:
	@log=$$(mktemp); code=0; $(VENV)/bin/python -m pytest -m alone $(AGAIN) $(ARGS) >$$log 2>&1 || code=$$?; \
	cat $$log; rm $$log; exit $$code

# Lines of the rooms that tests reach, those in processes of their own included; takes twice the time of the tests.
coverage: export COVERAGE_FILE = $(CURDIR)/.coverage
coverage: $(VENV)/.test
	$(VENV)/bin/python -m coverage erase
	$(VENV)/bin/python -m coverage run -m pytest -m alone
	$(VENV)/bin/python -m coverage run -m pytest -m "not alone" $(TOGETHER) $(ARGS)
	$(VENV)/bin/python -m coverage combine --quiet
	$(VENV)/bin/python -m coverage report --sort=cover --fail-under=90

check: $(VENV)/.test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

bench: $(VENV)/.test
	$(VENV)/bin/python -m benchmarks.machine_report

soak: $(VENV)/.test
	$(VENV)/bin/python -m benchmarks.soak --seconds $(or $(SECONDS),3600) $(ARGS)

chaos: $(VENV)/.test
	$(VENV)/bin/python -m benchmarks.chaos --rounds $(or $(ROUNDS),12) --seed $(or $(SEED),1) $(ARGS)

kills: $(VENV)/.test
	SFAM_KILLS=$(or $(ROUNDS),100) $(VENV)/bin/python -m pytest tests/sinks/test_session_folder.py -k killed_writer $(ARGS)

# Without torch, so without the tests of checkpoints and training.
numpy1: .venv-numpy1/.test
	.venv-numpy1/bin/python -m pytest -m "not alone" $(TOGETHER) $(or $(TESTS),tests/capture tests/stream tests/sinks tests/engine/test_spotting.py) $(ARGS)

.venv-numpy1/.test: pyproject.toml constraints-numpy1.txt
	./.ci/debian-packages $(TEST_PACKAGES)
	$(PYTHON) -m venv .venv-numpy1
	.venv-numpy1/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-numpy1.txt -e '.[dev,realsense,files,metrics]'
	touch $@

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip

$(VENV)/.live: pyproject.toml constraints.txt $(KERNELS) | $(VENV)/bin/python
	./.ci/debian-packages $(LIVE_PACKAGES) $(BUILD_PACKAGES)
	$(PIP) -c constraints.txt -e '.[web]'
	touch $@

# Most of these packages' modules are never imported: those that are compile then. Debian's come while torch does.
$(VENV)/.test: pyproject.toml constraints.txt Makefile $(KERNELS) | $(VENV)/bin/python
	./.ci/debian-packages $(TEST_PACKAGES) & debian=$$!; $(PIP) --no-compile torch==2.13.0 && wait $$debian
	$(PIP) --no-compile -c constraints.txt -e '.[dev,train,realsense,files,web,metrics,mediapipe,tensorrt-rtx,ray,lsl,rerun]'
	if command -v npm >/dev/null; then npm install --silent --no-audit --no-fund --prefix examples; fi
	touch $@ $(VENV)/.live

clean:
	rm -rf $(VENV) .venv-numpy1 build dist *.egg-info
