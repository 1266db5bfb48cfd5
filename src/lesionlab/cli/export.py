"""`lesionlab export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lesionlab.cli.common import Bar, answer, json_option, path_argument, path_option

EXAMPLE = """\b
Examples:
  lesionlab export runs/ham --to bundles/ham
  lesionlab export runs/ham --to ham.zip --sign key.pem --web page/
"""


@click.command(epilog=EXAMPLE)
@path_argument("run")
@path_option("--to", required=True, help="A new folder, or a file that ends in .zip.")
@path_option("--data", help="The run's dataset folder, if it has moved.")
@path_option("--sign", help="Sign it with this private key (PEM, Ed25519).")
@path_option("--web", help="Also build a static page that predicts inside the browser (needs npm).")
@click.option(
    "--int8",
    is_flag=True,
    help="Quantise to 8 bits. Refused unless the loss of AUC is shown to be small.",
)
@json_option
def command(
    run: Path,
    to: Path,
    data: Path | None,
    sign: Path | None,
    web: Path | None,
    int8: bool,
    as_json: bool,
) -> None:
    """Write the bundle of RUN: one ONNX file and everything needed to use it without torch.

    It is written only if its probabilities agree with the original network's within 1e-4.
    """
    from lesionlab.api.export import export

    result = export(run, to, data=data, sign=sign, web=web, int8=int8, progress=Bar())
    answer(result, as_json, lambda: _show(result))


def _show(result: dict[str, Any]) -> None:
    parity = result["parity"]
    print(f"{result['bundle']}: {result['bytes'] / 1e6:.1f} MB in {result['seconds']:.0f} s")
    print(
        f"agrees with the original network on {parity['images']} validation images: "
        f"probabilities differ by at most {parity['max_probability_difference']:.2g}"
    )
    if result["int8"]:
        cost = result["int8"]
        print(
            f"int8: AUC {cost['auc_float32']:.4f} before, {cost['auc_int8']:.4f} after; "
            f"the loss is at most {cost['upper']:.4f}"
        )
    for point in result["operating_points"]:
        print(f"operating point: {point['policy']}, threshold {point['threshold']:.4g}")
    if not result["operating_points"]:
        print(f"no operating point, so no decision: {result['no_operating_point']}")
    if result["leaky"]:
        print("LEAKY: training and test data overlap. The bundle is marked as leaky.")
    print("Research use only. Not a medical device.")
