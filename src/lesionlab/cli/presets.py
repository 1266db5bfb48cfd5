"""`lesionlab presets`."""

from __future__ import annotations

from typing import Any

import click

from lesionlab.cli.common import answer, json_option


@click.command(epilog="Examples: lesionlab presets; lesionlab presets ham10000-resnet34")
@click.argument("name", required=False)
@json_option
def command(name: str | None, as_json: bool) -> None:
    """List the presets, or show one: its source, expected result and settings.

    NAME may also be your own TOML file. With `extends = "PRESET"` it holds only what differs.
    """
    from lesionlab.api.presets import presets

    result = presets(name)
    answer(result, as_json, lambda: show_list(result) if name is None else show_one(result))


def show_list(result: dict[str, Any]) -> None:
    """A row a preset."""
    width = 2 + max(len(row["name"]) for row in result["presets"])
    for row in result["presets"]:
        stages = ", ".join(row["stages"])
        print(f"{row['name']:<{width}}{row['network']} at {row['size']} px; epochs: {stages}")


def show_one(result: dict[str, Any]) -> None:
    """The story, then every setting that is not a table of stages."""
    print(f"{result['name']}\n\n{result['description'].strip()}\n")
    print(f"source: {result['source']}\nexpected: {result['expected'] or 'not stated'}\n")
    for key, value in result["settings"].items():
        if key != "stages":
            print(f"{key:<20} {value}")
    for number, stage in enumerate(result["settings"]["stages"]):
        print(f"{f'stages.{number}':<20} {stage}")
