"""The command `lesionlab`: an explicit table of verbs, each loaded only when it is called."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Sequence

import click

from lesionlab import __version__, numerics
from lesionlab.errors import BadInput, Interrupted, nearest, one_line
from lesionlab.platforms import plain_streams

# verb -> (module under lesionlab.cli, one line of help). The order is the user's path.
VERBS: dict[str, tuple[str, str]] = {
    "demo": ("demo", "Run the whole workflow on synthetic lesions, in about a minute."),
    "download": ("download", "Download a public data set under its licence."),
    "import": ("import_", "Import an archive or a folder of images as a dataset folder."),
    "show": ("show", "Show samples of each class, and the class counts of each split."),
    "audit": ("audit", "Check a data set for leaks, duplicates, conflicts and shortcuts."),
    "split": ("split", "Split a data set into train, valid and test without leakage."),
    "merge": ("merge", "Merge data sets: one taxonomy, each duplicate once."),
    "subset": ("subset", "Copy a part of a data set: per class, a fraction, by a column's value."),
    "join": ("join", "Join a second table (reader votes, metadata) to a data set by id."),
    "models": ("models", "List the networks, or show the layers of one."),
    "presets": ("presets", "List the presets, or show one: source, expected result, settings."),
    "inflation": ("inflation", "Measure how much a leaky split by image inflates results."),
    "train": ("train", "Train a classifier from a preset."),
    "resume": ("resume", "Resume an interrupted run exactly where it stopped."),
    "repeat": ("repeat", "Train a preset over grouped folds and seeds: mean, SD, every run."),
    "tune": ("tune", "Search for better settings of a preset on the validation split."),
    "ensemble": ("ensemble", "Combine runs: mean, rank or stacking; test-time augmentation."),
    "reproductions": (
        "reproductions",
        "Write a page that compares published claims with our results.",
    ),
    "lr-find": ("lr_find", "Find a learning rate with a range test."),
    "augmentations": ("augmentations", "Show augmented training images."),
    "evaluate": ("evaluate", "Evaluate a run or a predictions table, and write a report."),
    "explain": ("explain", "Make attribution maps, and check whether they can be trusted."),
    "compare": ("compare", "Compare models on the same images, with paired tests."),
    "score": ("score", "Score a submission exactly as its challenge does."),
    "submit": ("submit", "Write a challenge submission, or check one."),
    "figures": ("figures", "Write every figure of the report as a file."),
    "export": ("export", "Write a bundle that needs no torch."),
    "predict": ("predict", "Classify images with a bundle."),
    "serve": ("serve", "Answer over HTTP, with a page for people."),
    "verify": ("verify", "Check that a bundle is whole, and who signed it."),
}


class Verbs(click.Group):
    """A group that imports a verb's module only when the verb is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"lesionlab.cli.{VERBS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in VERBS:
            raise click.UsageError(f"no verb '{args[0]}'; {nearest(args[0], VERBS)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(verb, line) for verb, (_, line) in VERBS.items()])


@click.group(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Research use only. Not a medical device. Nothing here is advice to a patient.",
)
@click.version_option(__version__, prog_name="lesionlab")
def app() -> None:
    """Train and evaluate image classifiers for lesions without data leakage."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; exit 0 on success, 2 for bad input, 1 for a bug."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Like `main`, but return the exit code."""
    numerics.ask_for_exact_numerics()  # before a verb loads anything that computes
    plain_streams()
    try:
        code = app.main(
            args=list(arguments) if arguments is not None else None, standalone_mode=False
        )
        return code if isinstance(code, int) else 0
    except BadInput as error:
        print(f"lesionlab: {error}", file=sys.stderr)
        return 2
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        return 2
    except click.UsageError as error:
        where = f" ({error.ctx.command_path} --help shows the options)" if error.ctx else ""
        print(f"lesionlab: {one_line(error.format_message())}{where}", file=sys.stderr)
        return 2
    except Interrupted as error:
        print(f"lesionlab: {error}", file=sys.stderr)
        return 130
    except (KeyboardInterrupt, click.Abort):
        print("lesionlab: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0
    except Exception:  # noqa: BLE001 (the last resort: a bug of ours, exit 1)
        traceback.print_exc()
        print(
            "lesionlab: this is a bug in lesionlab; please report the lines above", file=sys.stderr
        )
        return 1


if __name__ == "__main__":
    main()
