"""Images without Docker: a Dockerfile's steps, and what it builds, in namespaces and a root folder of their own.

The base image is this machine: its system folders, mounted read-only, and the Python that runs the tests. All else is
as Docker does it, paths and users included; needs root on Linux, else the tests that ask for it are skipped.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import string
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path

import pytest

SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "usr", "etc", "dev")
PYTHON = Path(sys.base_prefix)

ENTER = """
root=$1 python=$2 read_only=$3 mounts=$4
shift 4
mount --bind "$root" "$root"
for folder in %(system)s; do
    [ -e "/$folder" ] || continue
    mkdir -p "$root/$folder"
    mount --rbind "/$folder" "$root/$folder"
    mount -o remount,bind,ro "$root/$folder"
done
mkdir -p "$root/proc" "$root/tmp" "$root/$python" "$root/base/bin"
mount -t proc proc "$root/proc"
mount --bind "$python" "$root/$python"
mount -o remount,bind,ro "$root/$python"
ln -sf "$python/bin/python3" "$root/base/bin/python"
for pair in $mounts; do
    mkdir -p "$root/${pair#*:}"
    mount --bind "${pair%%:*}" "$root/${pair#*:}"
    mount -o remount,bind,ro "$root/${pair#*:}"
done
if [ "$read_only" = yes ]; then
    mount -t tmpfs -o mode=1777,size=64m tmpfs "$root/tmp"
    mount -o remount,bind,ro "$root"
fi
exec chroot "$root" "$@"
"""


@dataclass(frozen=True)
class Instruction:
    """One instruction of a Dockerfile, its continued lines joined."""

    word: str
    value: str

    @property
    def words(self) -> list[str]:
        """The value as the words of a command: of an exec form, or of a shell's line."""
        return json.loads(self.value) if self.value.startswith("[") else shlex.split(self.value)


@dataclass(frozen=True)
class Image:
    """What a stage has built.

    Attributes:
        root: Folder with what it adds to this machine.
        env: Environment, and nothing else of the caller's.
        config: The words that say how it is run: ENTRYPOINT, CMD, HEALTHCHECK, USER, ...
    """

    root: Path
    env: Mapping[str, str] = field(default_factory=lambda: {"PATH": "/base/bin:/usr/local/bin:/usr/bin:/bin"})
    workdir: str = "/"
    config: Mapping[str, str] = field(default_factory=dict)

    def command(
        self,
        words: Sequence[str],
        *,
        user: str | None = None,
        env: Mapping[str, str] | None = None,
        read_only: bool = True,
        mounts: Mapping[Path, str] | None = None,
    ) -> list[str]:
        """Return what runs words inside: as process 1, without rights, on a read-only root with a /tmp of its own.

        Args:
            words: Program and arguments.
            user: ``uid:gid``; the image's own when left out.
            env: More of the environment.
            read_only: Whether the root folder is.
            mounts: Folders of this machine by the path that they have inside, read-only.
        """
        uid, gid = (user or self.config.get("USER", "0:0")).split(":")
        rights = ["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"] if uid != "0" else []
        pairs = " ".join(f"{folder}:{inside}" for folder, inside in (mounts or {}).items())
        values = [f"{name}={value}" for name, value in {**self.env, **(env or {})}.items()]
        return [
            "unshare", "--mount", "--pid", "--fork", "--propagation", "private",
            "sh", "-euc", ENTER % {"system": " ".join(SYSTEM)}, "enter",
            str(self.root), str(PYTHON), "yes" if read_only else "no", pairs,
            "/usr/bin/setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", *rights,
            "/usr/bin/env", "-i", "-C", self.workdir, *values, *words,
        ]  # fmt: skip

    def start(self, *words: str) -> list[str]:
        """Return the words that the image starts with: its entrypoint, and its own or other arguments."""
        entry = Instruction("ENTRYPOINT", self.config["ENTRYPOINT"]).words
        return [*entry, *(words or Instruction("CMD", self.config.get("CMD", "[]")).words)]


def instructions(path: Path) -> list[Instruction]:
    """Read a Dockerfile."""
    text = "\n".join(line for line in path.read_text().splitlines() if not line.lstrip().startswith("#"))
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [Instruction(*line.strip().split(maxsplit=1)) for line in lines if line.strip()]


def build(dockerfile: Path, context: Path, folder: Path, images: Mapping[str, Image]) -> Image:
    """Carry out a Dockerfile and return its last stage.

    Args:
        dockerfile: The file.
        context: Folder whose files it may copy.
        folder: For what is built.
        images: By the names that FROM and COPY --from may use; ``python`` begins every base.
    """
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("images are built as root, in Linux namespaces")
    arguments: dict[str, str] = {}
    stages = dict(images)
    image = Image(folder)
    for number, step in enumerate(instructions(dockerfile)):
        if step.word == "ARG":
            name, _, default = step.value.partition("=")
            arguments[name] = default
        elif step.word == "FROM":
            source, _, name = step.value.partition(" AS ")
            image = _stage(expand(source, arguments), stages, folder / str(number))
            stages[name or "last"] = image
        elif step.word == "RUN":
            _run(image, expand(step.value, {"PATH": "$PATH"}))
        elif step.word == "COPY":
            _copy(image, step.words, context, stages)
        elif step.word == "WORKDIR":
            image = replace(image, workdir=step.value)
            (image.root / step.value.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif step.word == "ENV":
            pairs = dict(word.split("=", 1) for word in step.words)
            image = replace(image, env={**image.env, **{n: expand(v, image.env) for n, v in pairs.items()}})
        else:
            image = replace(image, config={**image.config, step.word: step.value})
        stages = {name: image if stage.root == image.root else stage for name, stage in stages.items()}
    return image


def copied(dockerfile: Path) -> list[str]:
    """Return the files and folders of the context that a Dockerfile copies."""
    steps = [step.words for step in instructions(dockerfile) if step.word == "COPY"]
    return [word for words in steps if not _option(words, "from") for word in _plain(words)[:-1]]


def ignored(name: str, rules: Sequence[str]) -> bool:
    """Whether a .dockerignore keeps a path from the context: the last rule that it, or a folder above it, meets."""
    found = False
    parents = [name, *map(str, list(Path(name).parents)[:-1])]
    for rule in rules:
        keeps, pattern = rule.startswith("!"), rule.removeprefix("!")
        if any(fnmatch(each, pattern) or fnmatch(f"/{each}", pattern.replace("**", "*")) for each in parents):
            found = not keeps
    return found


def expand(text: str, values: Mapping[str, str]) -> str:
    """Put values in the places of ``$NAME`` and ``${NAME}``."""
    return string.Template(text).safe_substitute(values)


def _stage(source: str, stages: Mapping[str, Image], folder: Path) -> Image:
    """Begin a stage on this machine, or on what another image has."""
    folder.mkdir(parents=True)
    if source.startswith("python:") or source == "scratch":
        return Image(folder)
    shutil.copytree(stages[source].root, folder, symlinks=True, dirs_exist_ok=True, copy_function=_link)
    return replace(stages[source], root=folder)


def _run(image: Image, line: str) -> None:
    words = image.command(["sh", "-euc", line], env={"HOME": "/tmp", **_pip_settings()}, read_only=False)
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"RUN {line}\n{done.stdout}\n{done.stderr}"


def _pip_settings() -> dict[str, str]:
    """Return where this machine's pip finds packages, as the environment of another."""
    words = [sys.executable, "-m", "pip", "config", "list"]
    lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    pairs = [line.partition("=") for line in lines]
    return {
        f"PIP_{re.split('[.]', name)[-1].upper().replace('-', '_')}": shlex.split(value)[0] for name, _, value in pairs
    }


def _copy(image: Image, words: list[str], context: Path, stages: Mapping[str, Image]) -> None:
    origin = _option(words, "from")
    rules = [] if origin or not (context / ".dockerignore").exists() else _rules(context / ".dockerignore")
    base = stages[origin].root if origin else context
    *sources, target = _plain(words)
    place = image.root / Path("/", image.workdir, target).relative_to("/")
    for name in sources:
        assert not ignored(name, rules), f".dockerignore keeps {name} from the image"
        source = base / name.lstrip("/")
        if source.is_dir():
            skipped = shutil.ignore_patterns("__pycache__") if not origin else None
            copy = _link if origin and not _option(words, "chmod") else shutil.copy2
            shutil.copytree(source, place, symlinks=True, dirs_exist_ok=True, ignore=skipped, copy_function=copy)
        else:
            inside = place / Path(name).name if target.endswith("/") else place
            inside.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, inside)
        if mode := _option(words, "chmod"):
            for path in [place, *place.rglob("*")]:
                path.chmod(int(mode, 8))


def _link(source: str, target: str) -> None:
    """Share a file between stages, which are only added to: hundreds of megabytes each."""
    os.link(source, target, follow_symlinks=False)


def _rules(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line and not line.startswith("#")]


def _option(words: Sequence[str], name: str) -> str:
    return next((word.partition("=")[2] for word in words if word.startswith(f"--{name}=")), "")


def _plain(words: Sequence[str]) -> list[str]:
    return [word for word in words if not word.startswith("--")]
