"""Wheel and source archive are whole; Dockerfiles, compose, systemd and udev files fit the rest of the project."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

from sfam.app.doctor_software import DEBIAN_LIBRARIES
from sfam.app.doctor_system import UDEV_RULES, USB_VENDORS
from tests.app.command import BIN, environment, run

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("app", "capture", "engine", "sinks", "stream", "training")
DATA = ("capture/data/*", "engine/models/*/*", "sinks/schema/*.json", "sinks/page/*", "training/data/*", "*/py.typed")
"""What the program reads at run time, as patterns below the root."""
DOCKERFILES = ("Dockerfile", "Dockerfile.gpu")
INSTRUCTIONS = {"FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "VOLUME", "ENTRYPOINT", "CMD"}
UDEV_PART = re.compile(r'(?:(?:SUBSYSTEM|KERNEL|ATTRS\{\w+\})=="[^"]+"|(?:MODE|GROUP)="[^"]+"|TAG\+="[^"]+")(?:, |$)')


def project() -> dict[str, object]:
    content: dict[str, object] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return content


def makefile(variable: str) -> list[str]:
    found = re.search(rf"^{variable} := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert found, variable
    return found[1].split()


def needed() -> set[str]:
    """Files that the program reads, as names inside sfam/."""
    paths = [path for pattern in DATA for path in ROOT.glob(pattern) if path.is_file() and path.suffix != ".pyc"]
    return {path.relative_to(ROOT).as_posix() for path in paths if path.relative_to(ROOT).parts[0] in ROOMS}


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Source archive, and the wheel built from it."""
    folder = tmp_path_factory.mktemp("archives")
    left_out = shutil.ignore_patterns(".venv", ".git", ".*_cache", "__pycache__", "*.egg-info", "build", "dist",
                                      "node_modules", "sessions", ".hypothesis")  # fmt: skip
    shutil.copytree(ROOT, folder / "source", ignore=left_out)
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "dist"), str(folder / "source")],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    (source,), (wheel,) = (folder / "dist").glob("*.tar.gz"), (folder / "dist").glob("*.whl")
    return source, wheel


@pytest.mark.slow  # builds the source archive, and from it the wheel
def test_the_wheel_from_the_source_archive_holds_all_that_is_read_at_run_time(archives: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(archives[1]) as wheel:
        inside = {name.removeprefix("sfam/") for name in wheel.namelist() if name.startswith("sfam/")}
        metadata = next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))
        commands = wheel.read(metadata).decode()
    wanted = needed()
    assert {"engine/models/synthetic-4/model.onnx", "sinks/schema/event.schema.json"} <= wanted
    assert any(name.startswith("capture/data/") for name in wanted)
    assert {f"{room}/py.typed" for room in ROOMS} <= wanted
    assert wanted - inside == set()
    code = {path.relative_to(ROOT).as_posix() for room in ROOMS for path in (ROOT / room).glob("*.py")}
    assert code - inside == set()
    assert {name for name in inside if name.endswith((".so", ".pyd"))} == {
        "capture/_align.abi3.so",
        "stream/_kernels.abi3.so",
    }, "the compiled loops are missing or built for one Python only"
    assert not {name for name in inside if name.split("/")[0] not in ROOMS}
    assert {line.split(" = ")[0] for line in commands.splitlines() if "=" in line} == {"sfam", "sfam-live"}


@pytest.mark.slow  # shares the build of the test above
def test_the_source_archive_holds_the_whole_checkout(archives: tuple[Path, Path]) -> None:
    with tarfile.open(archives[0]) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("no git checkout to compare with")
    tracked = {name for name in listed.stdout.splitlines() if (ROOT / name).is_file()}
    assert tracked - inside == set()


def steps(name: str) -> list[tuple[str, str]]:
    """Instructions of a Dockerfile, continued lines joined."""
    lines = [line for line in (ROOT / name).read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(word, rest) for line in joined.splitlines() if line for word, _, rest in [line.partition(" ")]]


@pytest.mark.parametrize("name", DOCKERFILES)
def test_a_dockerfile_installs_what_the_makefile_does(name: str) -> None:
    runs = " && ".join(rest for word, rest in steps(name) if word == "RUN")
    building, running = re.findall(r"apt-get install -y --no-install-recommends ([^&]*)&&", runs)
    assert set(building.split()) == set(makefile("BUILD_PACKAGES"))
    assert set(running.split()) == {*makefile("LIVE_PACKAGES"), "libusb-1.0-0"}
    assert "libusb-1.0-0" in makefile("TEST_PACKAGES") or "libusb-1.0-0" in (ROOT / "Makefile").read_text()
    assert "-c /wheels/constraints.txt" in runs
    assert "-c constraints.txt" in (ROOT / "Makefile").read_text()
    extras = set(re.search(r'"\$\{wheel\}\[([\w,-]+)\]"', runs)[1].split(","))  # type: ignore[index]
    optional = project()["optional-dependencies"]
    assert isinstance(optional, dict)
    assert extras <= set(optional)
    live = re.search(r"-c constraints.txt -e '\.\[([\w,]+)\]'\n\ttouch \$@\n", (ROOT / "Makefile").read_text())
    assert live is not None
    assert set(live[1].split(",")) <= extras


@pytest.mark.parametrize("name", DOCKERFILES)
def test_a_dockerfile_is_well_formed_and_not_run_by_root(name: str) -> None:
    found = steps(name)
    assert {word for word, _ in found} <= INSTRUCTIONS
    for word, rest in found:
        if word == "FROM":
            assert re.fullmatch(r"python:3\.(\d+)-slim-\w+( AS \w+)?", rest)
            assert int(rest.split(".")[1].split("-")[0]) >= 11
        if word == "COPY" and not rest.startswith("--from"):
            assert all((ROOT / source).exists() for source in rest.split()[:-1])
        if word == "RUN" and "apt-get" in rest:
            assert "rm -rf /var/lib/apt/lists/*" in rest
        if word in ("ENTRYPOINT", "CMD"):
            assert isinstance(json.loads(rest), list)
    (user,) = [rest for word, rest in found if word == "USER"]
    assert any(f"useradd --uid {user} " in rest for word, rest in found if word == "RUN")


@pytest.mark.parametrize("name", DOCKERFILES)
def test_the_usual_linter_finds_nothing_in_a_dockerfile(name: str) -> None:
    done = subprocess.run([str(BIN / "hadolint"), str(ROOT / name)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


@pytest.mark.parametrize("name", DOCKERFILES)
def test_the_command_of_a_dockerfile_is_one_of_ours(name: str) -> None:
    words = {word: json.loads(rest) for word, rest in steps(name) if word in ("ENTRYPOINT", "CMD")}
    assert words["ENTRYPOINT"] == ["sfam"]
    done = run("sfam", *words["CMD"], "--dry-run")
    assert done.returncode == 0, done.stderr


def test_the_services_of_the_compose_file_run_commands_of_ours() -> None:
    services = yaml.safe_load((ROOT / "packaging" / "compose.yaml").read_text())["services"]
    live = run("sfam", *shlex.split(services["live"]["command"]), "--dry-run")
    assert live.returncode == 0, live.stderr
    settings = yaml.safe_load(live.stdout)
    assert settings["sinks"]["publish"] in services["logger"]["command"]
    name, *options = shlex.split(services["logger"]["command"])
    known = run("sfam", name, "--help").stdout
    assert all(option in known for option in options if option.startswith("--"))
    size = int(services["live"]["shm_size"].removesuffix("m"))
    assert size * 2**20 >= settings["app"]["ring_slots"] * 1280 * 720 * 5


def service() -> list[tuple[str, str]]:
    lines = (ROOT / "packaging" / "sfam-live.service").read_text().splitlines()
    return [(key, value) for line in lines if "=" in line and line[0] != "#" for key, _, value in [line.partition("=")]]


def test_the_systemd_unit_starts_commands_that_exist(tmp_path: Path) -> None:
    settings = tmp_path / "config.yaml"
    settings.write_text("app:\n  subject: s01\n")
    commands = {key: shlex.split(value.replace("/etc/sfam/config.yaml", str(settings))) for key, value in service()
                if key.startswith("Exec")}  # fmt: skip
    program, *options = commands["ExecStart"]
    done = run(Path(program).name, *options, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "subject: s01" in done.stdout
    program, command, *options = commands["ExecStartPre"]
    known = run(Path(program).name, command, "--help").stdout
    assert all(option in known for option in options if option.startswith("--"))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    text = (ROOT / "packaging" / "sfam-live.service").read_text().replace("/opt/sfam/bin", str(BIN))
    (tmp_path / "sfam-live.service").write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / "sfam-live.service")], capture_output=True, text=True, check=False
    )
    assert [line for line in done.stderr.splitlines() if "sfam-live" in line] == []


def test_the_udev_rules_are_well_formed_and_cover_the_cameras_that_doctor_knows() -> None:
    lines = (UDEV_RULES).read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    for rule in rules:
        assert "".join(match[0] for match in UDEV_PART.finditer(rule)) == rule, rule
        assert 'MODE="0660"' in rule
    vendors = set(re.findall(r'ATTRS\{idVendor\}=="(\w+)"', "\n".join(rules)))
    assert vendors == set(USB_VENDORS.values())


def test_doctor_names_the_debian_packages_of_the_makefile() -> None:
    assert set(DEBIAN_LIBRARIES.values()) == set(makefile("LIVE_PACKAGES"))


@pytest.mark.parametrize(
    ("typed", "offered"), [("sfam veri", "verify"), ("sfam rehe", "rehearse"), ("sfam doctor --js", "--json")]
)
def test_the_shell_completes_our_commands(typed: str, offered: str) -> None:
    asked = {"_SFAM_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    done = subprocess.run(
        [str(BIN / "sfam")], capture_output=True, text=True, env={**environment(), **asked}, check=False, timeout=30
    )
    assert offered in done.stdout.split()


def test_completion_scripts_are_offered_for_the_usual_shells() -> None:
    for shell in ("bash", "zsh", "fish"):
        done = subprocess.run(
            [str(BIN / "sfam")], capture_output=True, text=True, check=False, timeout=30,
            env={**os.environ, "_SFAM_COMPLETE": f"source_{shell}"},
        )  # fmt: skip
        assert "_SFAM_COMPLETE" in done.stdout, shell
