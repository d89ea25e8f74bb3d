"""Runs the steps of a Dockerfile on a clean root, where no image can be built.

    sudo debootstrap --variant=minbase --include=python3,python3-venv,python3-pip,ca-certificates bookworm ROOT
    sudo python -m benchmarks.dockerfile_steps ROOT [--file Dockerfile] [--seconds 20]

The root stands for `python:3.11-slim-bookworm`: Debian's own Python 3.11 under the name `python`, allowed to install
packages. Stages share the root. At the end the image's command runs for a while as the image's user.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path, PurePosixPath
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PASSED_ON = (
    "PIP_DEFAULT_TIMEOUT",
    "PIP_FIND_LINKS",
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "http_proxy",
    "https_proxy",
)
LEFT_OUT = (".git", ".venv", "node_modules", "__pycache__", "*.egg-info", ".*_cache", ".hypothesis", "sessions")


def steps(dockerfile: Path) -> list[tuple[str, str]]:
    """Instructions, continued lines joined."""
    lines = [line for line in dockerfile.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(word, rest) for line in joined.splitlines() if line for word, _, rest in [line.partition(" ")]]


class CleanRoot:
    """A root directory that takes instructions."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder = "/"
        self._user = "0"
        self._environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": "/tmp",
            "PIP_BREAK_SYSTEM_PACKAGES": "1",
            "DEBIAN_FRONTEND": "noninteractive",
            **{name: os.environ[name] for name in PASSED_ON if name in os.environ},
        }
        (root / "usr/local/bin/python").unlink(missing_ok=True)
        (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
        for file in ("etc/resolv.conf", "etc/pip.conf", "etc/hosts"):
            if Path("/", file).exists():
                shutil.copy(Path("/", file), root / file)
        authorities = os.environ.get("PIP_CERT") or "/etc/ssl/certs/ca-certificates.crt"
        shutil.copy(authorities, root / "etc/authorities.pem")
        self._environment |= {"PIP_CERT": "/etc/authorities.pem", "SSL_CERT_FILE": "/etc/authorities.pem"}

    def take(self, word: str, rest: str) -> None:
        """One instruction.

        Raises:
            CalledProcessError: the step failed.
        """
        if word == "RUN":
            self.run(["sh", "-ec", rest])
        elif word == "WORKDIR":
            self._folder = rest
            (self._root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif word == "ENV":
            self._environment |= dict(pair.split("=", 1) for pair in shlex.split(rest))
        elif word == "USER":
            self._user = rest
        elif word == "FROM":
            self._folder, self._user = "/", "0"
        elif word == "COPY" and not rest.startswith("--from"):
            *sources, target = rest.split()
            inside = PurePosixPath(self._folder, target).relative_to("/")
            self._copy(sources, self._root / inside)

    def run(self, command: list[str], seconds: float | None = None) -> None:
        """A command inside; where `seconds` are given it is interrupted after them and has to end well."""
        patience = ["timeout", "--signal=INT", str(seconds)] if seconds else []
        user = ["--userspec", f"{self._user}:{self._user}"] if self._user != "0" else []
        inside = ["sh", "-c", f'cd {self._folder} && exec "$@"', "sh", *patience, *command]
        done = subprocess.run(["chroot", *user, str(self._root), *inside], env=self._environment, check=False)
        if done.returncode and not (seconds and done.returncode == 124):
            raise subprocess.CalledProcessError(done.returncode, command)

    def _copy(self, sources: list[str], target: Path) -> None:
        for source in sources:
            place = ROOT / source
            if place.is_dir():
                shutil.copytree(place, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
            else:
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy(place, target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--file", type=Path, default=ROOT / "Dockerfile")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--only-run", action="store_true", help="the root has taken the steps before")
    asked: Any = parser.parse_args()
    mounts = [("proc", "proc"), ("devtmpfs", "dev"), ("tmpfs", "dev/shm")]
    mounted = []
    try:
        for kind, place in mounts:
            (asked.root / place).mkdir(exist_ok=True)
            subprocess.run(["mount", "-t", kind, kind, str(asked.root / place)], check=True)
            mounted.append(asked.root / place)
        clean = CleanRoot(asked.root)
        words: dict[str, list[str]] = {}
        for word, rest in steps(asked.file):
            print(f"-- {word} {rest}", flush=True)
            if not asked.only_run or word in ("WORKDIR", "ENV", "USER"):
                clean.take(word, rest)
            if word in ("ENTRYPOINT", "CMD"):
                words[word] = json.loads(rest)
        clean.run([*words["ENTRYPOINT"], "doctor"])
        clean.run([*words["ENTRYPOINT"], *words["CMD"]], asked.seconds)
        tables = sorted((asked.root / "data" / "sessions").glob("*/scores.csv"))
        rows = sum(len(table.read_text().splitlines()) - 1 for table in tables)
        print(f"every step ran; the image's command wrote {rows} rows of scores", flush=True)
        if not rows:
            raise SystemExit(1)
    finally:
        for place in reversed(mounted):
            subprocess.run(["umount", str(place)], check=False)


if __name__ == "__main__":
    main()
