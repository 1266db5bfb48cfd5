"""What holds for every verb: help with an example, one clear line for bad input, exit codes."""

from __future__ import annotations

import subprocess
import sys
import types

import click
import pytest

import lesionlab
from lesionlab.cli import main
from lesionlab.errors import BadInput

HEAVY = ("torch", "pandas", "sklearn", "scipy", "onnxruntime", "timm", "PIL")


@pytest.mark.parametrize("verb", main.VERBS)
def test_help_has_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([verb, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "xample" in shown
    assert f"lesionlab {verb}" in shown.split("xample", 1)[1]


@pytest.mark.parametrize("verb", main.VERBS)
def test_every_verb_takes_json(verb: str) -> None:
    command = main.app.get_command(click.Context(main.app), verb)
    assert command is not None
    commands = command.commands.values() if isinstance(command, click.Group) else [command]
    for each in commands:
        assert "--json" in {option for p in each.params for option in p.opts}, each.name


@pytest.mark.parametrize("verb", main.VERBS)
def test_unknown_option_is_one_line_and_exit_2(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run([verb, "--no-such-option"]) == 2
    stderr = capsys.readouterr().err
    assert "--no-such-option" in stderr
    assert stderr.count("\n") == 1


@pytest.mark.parametrize("verb", main.VERBS)
def test_the_package_has_a_function_for_each_verb(verb: str) -> None:
    function = getattr(
        lesionlab,
        {"import": "import_dataset", "models": "list_models"}.get(verb, verb.replace("-", "_")),
    )
    assert function.__doc__
    assert function.__module__.startswith("lesionlab.api.")


def test_the_package_lists_its_functions() -> None:
    assert {"demo", "import_dataset", "split", "__version__"} <= set(dir(lesionlab))
    with pytest.raises(AttributeError, match="no attribute 'splt'"):
        _ = lesionlab.splt


def test_unknown_verb_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["predit"]) == 2
    shown = capsys.readouterr()
    assert "did you mean 'predict'?" in shown.err
    assert shown.err.count("\n") == 1
    assert not shown.out


def test_no_verb_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([]) == 2
    stderr = capsys.readouterr().err
    assert "Verbs:\n  demo" in stderr
    assert "Not a medical device" in stderr


def test_the_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--help"]) == 0
    shown = capsys.readouterr().out
    for verb in main.VERBS:
        assert f"\n  {verb} " in shown


def verb_that_raises(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Put a verb `boom` into the table."""

    @click.command
    def command() -> None:
        raise error

    module = types.ModuleType("lesionlab.cli.boom")
    module.command = command  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lesionlab.cli.boom", module)
    monkeypatch.setitem(main.VERBS, "boom", ("boom", "Raise."))


@pytest.mark.parametrize(
    ("error", "code", "shown"),
    [
        (BadInput("is no image", where="a.jpg", remedy="remove it"), 2, "lesionlab: a.jpg: is no"),
        (BadInput("two\nlines"), 2, "lesionlab: two\\nlines"),
        (ZeroDivisionError("oh"), 1, "a bug in lesionlab"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (BrokenPipeError(), 0, ""),
    ],
)
def test_exit_codes(
    error: BaseException,
    code: int,
    shown: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    verb_that_raises(monkeypatch, error)
    assert main.run(["boom"]) == code
    stderr = capsys.readouterr().err
    assert shown in stderr
    assert ("Traceback" in stderr) == (code == 1)
    assert code != 2 or stderr.count("\n") == 1


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def test_help_loads_nothing_heavy() -> None:
    """What keeps `lesionlab --help` under half a second, and each verb's help near it."""
    code = (
        "import contextlib, io, sys\n"
        "from lesionlab.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        "    codes = [main.run(['--help'])]\n"
        "    codes += [main.run([verb, '--help']) for verb in main.VERBS]\n"
        f"print(sum(codes), [m for m in {HEAVY!r} if m in sys.modules])"
    )
    assert run_python(code).strip() == "0 []"


def test_the_module_runs_like_the_command() -> None:
    command = [sys.executable, "-m", "lesionlab", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith("lesionlab, version ")
