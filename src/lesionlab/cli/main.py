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
    "demo": ("demo", "The whole path on synthetic lesions, in about a minute."),
    "download": ("download", "Fetch a public data set, whole and under its licence."),
    "import": ("import_", "Make a dataset folder from an archive or a folder of images."),
    "show": ("show", "Samples of a data set by class, and its class counts by part."),
    "audit": ("audit", "What is wrong with a data set, in one page."),
    "split": ("split", "Deal the images into train, valid and test, so that no group crosses."),
    "merge": ("merge", "Unite data sets: one taxonomy, the same picture once."),
    "join": ("join", "Join a second table (reader votes, metadata) to a data set by id."),
    "models": ("models", "The networks by name, and the layer table of one."),
    "presets": ("presets", "The recipes by name: source, expected result, commands."),
    "inflation": ("inflation", "What a split by image would have claimed, by training both ways."),
    "train": ("train", "Train a classifier by a preset."),
    "resume": ("resume", "Go on with an interrupted run, exactly where it stopped."),
    "repeat": ("repeat", "A recipe over grouped folds and seeds: mean, spread, every run."),
    "tune": ("tune", "Better settings of a recipe, by trials on validation; never sees test."),
    "ensemble": ("ensemble", "Several runs as one: averaged, by rank, stacked; flips and turns."),
    "reproductions": ("reproductions", "What tutorials claimed beside what is true, a page."),
    "lr-find": ("lr_find", "A learning rate by the range test, with its figure."),
    "augmentations": ("augmentations", "A picture of what the network sees in training."),
    "evaluate": ("evaluate", "Measure a run or a predictions table, with intervals and a report."),
    "explain": ("explain", "What the network looks at, and whether the maps can be believed."),
    "compare": ("compare", "Which of several models is better, on the same images, in words."),
    "score": ("score", "Score a submission as its challenge does, with its refusals."),
    "submit": ("submit", "Write a challenge's submission, or check one before it is sent."),
    "figures": ("figures", "Every chart of the report as a file for a paper."),
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
    epilog="Research use only: not a medical device, no advice to a patient.",
)
@click.version_option(__version__, prog_name="lesionlab")
def app() -> None:
    """From a pile of lesion images to a classifier whose every number can be trusted."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; exit 0 on success, 2 for bad input, 1 for a bug of ours."""
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
        print("lesionlab: this is a bug of ours; please report the lines above", file=sys.stderr)
        return 1


if __name__ == "__main__":
    main()
