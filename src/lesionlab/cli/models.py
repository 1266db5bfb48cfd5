"""`lesionlab models`."""

from __future__ import annotations

from typing import Any

import click

from lesionlab.cli.common import Bar, answer, json_option


@click.command(
    epilog="Examples: lesionlab models; lesionlab models resnet34 --size 448 --head concat_pool "
    "--trainable head"
)
@click.argument("name", required=False)
@click.option(
    "--size",
    type=click.IntRange(16, 2048),
    help="Input side in pixels  [default: that of the network]",
)
@click.option(
    "--head",
    type=click.Choice(["linear", "concat_pool", "flatten_dense", "own"]),
    help="Head of the network.",
)
@click.option(
    "--trainable",
    type=click.Choice(["head", "last_block", "all"]),
    default="all",
    show_default=True,
    help="Trainable layers.",
)
@click.option(
    "--classes", type=click.IntRange(2), default=2, show_default=True, help="Number of classes."
)
@click.option(
    "--channels", type=click.Choice(["1", "3"]), help="Input channels: 1 (grey) or 3 (colour)."
)
@click.option(
    "--output",
    type=click.Choice(["softmax", "sigmoid"]),
    default="softmax",
    show_default=True,
    help="softmax, or sigmoid: one output for two classes.",
)
@click.option("--measure", is_flag=True, help="Measure milliseconds per image on this machine.")
@json_option
def command(
    name: str | None, as_json: bool, channels: str | None, measure: bool, **options: Any
) -> None:
    """List the networks, or show NAME layer by layer.

    Any classifier of timm can be named.
    """
    from lesionlab.api.models import describe_model, list_models

    if name is None:
        found = list_models(measure=measure, progress=Bar())
        answer({"schema_version": 1, "models": found}, as_json, lambda: show_list(found))
        return
    number = int(channels) if channels else None
    described = describe_model(name, channels=number, measure=measure, **options)
    answer(described, as_json, lambda: show_layers(described))


def show_list(found: list[dict[str, Any]]) -> None:
    """A row a network."""
    timed = any(m["ms_per_image"] is not None for m in found)
    head = f"{'name':<19}{'parameters':>12}{'MB':>7}  {'input':<19}"
    print(head + ("    ms" if timed else "") + "  weights (licence)")
    for m in found:
        shown = m["input"]
        seen = f"{shown['size']} {shown['interpolation']} {shown['crop']:g}"
        time = f"{m['ms_per_image']:>6.1f}" if timed else ""
        print(
            f"{m['name']:<19}{m['parameters']:>12,}{m['megabytes']:>7.0f}  {seen:<19}{time}"
            f"  {_whence(m)} ({m['weights_licence']})"
        )
    print("parameters: of the backbone, without a head")
    print("input: side in pixels, resize filter, proportion of the resized image that is kept")
    print("hub: must be downloaded first. Any other timm classifier works by its name")


def _whence(model: dict[str, Any]) -> str:
    place = model["weights_at_hand"]
    return "random start" if place == "none" else f"{place}: {model['weights']}"


def show_layers(described: dict[str, Any]) -> None:
    """A row a layer, then the block groups and the sums."""
    rows = described["layers"]
    width = 2 + max(len(f"{r['name']} ({r['kind']})") for r in rows)
    print(f"{'layer':<{width}}{'output':>18}{'parameters':>14}  trainable")
    for r in rows:
        shape = " x ".join(map(str, r["output"]))
        moves = ("yes" if r["trainable"] else "no") if r["parameters"] else ""
        named = f"{r['name']} ({r['kind']})"
        print(f"{named:<{width}}{shape:>18}{r['parameters']:>14,}  {moves}")
    print("block groups, stem to head: " + ", ".join(g["name"] for g in described["groups"]))
    frozen = described["parameters"] - described["trainable"]
    print(
        f"{described['parameters']:,} parameters, {described['trainable']:,} of them trainable, "
        f"{frozen:,} frozen; {described['statistics']:,} batch-norm statistics in addition"
    )
    if described["ms_per_image"] is not None:
        print(
            f"{described['ms_per_image']:.1f} ms an image: a forward pass in float32 at "
            f"{described['size']} px on this machine's processor"
        )
