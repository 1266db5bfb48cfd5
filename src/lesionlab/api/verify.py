"""`lesionlab.verify`: is a bundle whole, does it answer as at its export, and who signed it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lesionlab.deployment.bundle import SIGNATURE, read_bundle
from lesionlab.deployment.predictor import Predictor
from lesionlab.deployment.signing import check_signature, parse_signature
from lesionlab.errors import BadInput


def verify(bundle: str | Path, *, key: str | Path | None = None) -> dict[str, Any]:
    """Check every hash, the operators, the self-test and, where there is one, the signature.

    `key` is the public key (PEM) that must have signed it; without it a signature proves only
    that nothing was altered since somebody signed. Returns `{identity, files, self_test, signed,
    signer, trusted}`; raises `BadInput` for whatever does not hold.
    """
    path = Path(bundle)
    opened = read_bundle(path)
    difference = Predictor(opened).self_test()
    signer = None
    if opened.signature is not None:
        where = f"{path}/{SIGNATURE}"
        signature = parse_signature(opened.signature, where)
        trusted = None if key is None else Path(key)
        check_signature(opened.identity, signature, trusted, where)
        signer = signature.fingerprint
    elif key is not None:
        raise BadInput(
            "is not signed", where=str(path), remedy="get a signed bundle, or omit --key"
        )
    return {
        "schema_version": 1,
        "bundle": str(path),
        "name": opened.info.name,
        "identity": opened.identity,
        "files": len(opened.info.files),
        "self_test": difference,
        "signed": signer is not None,
        "signer": signer,
        "trusted": key is not None,
        "leaky": opened.info.leaky,
        "synthetic": opened.info.synthetic,
    }
