"""What the README and the documentation tell a person to type is true."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from lesionlab.cli import main

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(text: str, kind: str) -> list[str]:
    """The fenced code blocks of one kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def commands(block: str) -> Iterator[list[str]]:
    """The `lesionlab ...` lines of a shell block, without comments and prompts, as words."""
    for line in re.sub(r"\\\n\s*", " ", block).splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        if words and words[0] == "lesionlab":
            yield words[1:]


def options_of(command: click.Command) -> set[str]:
    return {name for p in command.params for name in (*p.opts, *p.secondary_opts)} | {"--help"}


def command_of(words: list[str]) -> click.Command:
    """The command that a line calls, through groups such as `import`."""
    command: click.Command = main.app
    for word in words:
        if not isinstance(command, click.Group) or word.startswith("-"):
            break
        found = command.get_command(click.Context(command), word)
        assert found is not None, f"no verb '{word}' in: lesionlab {shlex.join(words)}"
        command = found
    return command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_in_the_documentation_exists(page: Path) -> None:
    for block in blocks(page.read_text(encoding="utf-8"), "(?:sh|bash|console)"):
        for words in commands(block):
            command = command_of(words)
            used = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
            unknown = used - options_of(command)
            assert not unknown, f"{page.name}: {unknown} in: lesionlab {shlex.join(words)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_two_commands_stand_there() -> None:
    assert "pip install uv && uv run lesionlab demo" in README
    assert "pip install uv && uv run pytest" in README
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "\nuv run pytest\n" in script
    assert "\nuv run lesionlab demo " in script


def test_it_says_what_it_is_not() -> None:
    assert "not a medical device" in README


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "docs/results-ham10000.md",
        "docs/benchmarks.md",
        "docs/reproductions.md",
        "docs/experiments.md",
        "docs/explanation.md",
        "docs/audit.md",
        "docs/deployment-figures.md",
    ],
)
def test_figures_of_ham10000_name_their_images_and_what_their_split_chose(page: str) -> None:
    text = " ".join((ROOT / page).read_text(encoding="utf-8").split())
    assert "256 px copies of the centre 450 x 450 of the 600 x 450 originals" in text
    assert re.search("chose the (best )?epoch|best epoch by the validation split, which", text)


@pytest.mark.slow
def test_the_users_path_runs_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (path,) = (block for block in blocks(README, "sh") if "import synthetic" in block)
    monkeypatch.chdir(tmp_path)
    for words in commands(path):
        assert main.run(words) == 0, f"lesionlab {shlex.join(words)}\n{capfd.readouterr().err}"
    assert (tmp_path / "runs" / "toy" / "report.html").is_file()
    assert (tmp_path / "out.csv").read_text().startswith("image")


@pytest.mark.slow
def test_the_python_example_runs_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (example,) = (block for block in blocks(README, "python") if "import_dataset" in block)
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec"), {})  # the README is ours


def section(page: Path, title: str) -> str:
    """A section of a page, down to the next title of its level."""
    (found,) = re.findall(
        rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)",
        page.read_text(encoding="utf-8"),
        flags=re.MULTILINE | re.DOTALL,
    )
    return str(found)


@pytest.mark.parametrize(
    ("page", "title", "examples"),
    [("README.md", "Evaluation only", 1), ("docs/evaluation.md", "From arrays", 2)],
)
def test_the_examples_of_arrays_run_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: str, title: str, examples: int
) -> None:
    found = blocks(section(ROOT / page, title), "python")
    assert len(found) == examples
    monkeypatch.chdir(tmp_path)
    for example in found:
        exec(compile(example, page, "exec"), {})
    assert (tmp_path / "report.html").is_file()
