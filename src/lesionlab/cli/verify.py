"""`lesionlab verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lesionlab.cli.common import answer, json_option, path_argument, path_option
from lesionlab.errors import counted

EXAMPLE = """\b
Examples:
  lesionlab verify bundles/ham
  lesionlab verify bundles/ham --key clinic.pub.pem
"""


@click.command(epilog=EXAMPLE)
@path_argument("bundle")
@path_option("--key", help="Public key (PEM, Ed25519) that must have signed it.")
@json_option
def command(bundle: Path, key: Path | None, as_json: bool) -> None:
    """Check that BUNDLE is intact and predicts as it did when exported, and who signed it."""
    from lesionlab.api.verify import verify

    result = verify(bundle, key=key)
    answer(result, as_json, lambda: _show(result))


def _show(result: dict[str, Any]) -> None:
    print(
        f"{result['name']}: {counted(result['files'], 'file is', 'files are')} intact; "
        f"identity {result['identity']}"
    )
    print(f"self-test: largest difference {result['self_test']:.2g}")
    if result["trusted"]:
        print(f"signed by the given key ({result['signer']})")
    elif result["signed"]:
        print(f"signed by {result['signer']}; give --key to check it against a key that you trust")
    else:
        print("not signed")
