"""Who made a bundle: an Ed25519 signature over the hash of `bundle.json`, which has all hashes.

The signature file is JSON: the public key and the signature, base64. A signature proves origin
only against a public key that came another way; without one, it is shown and not trusted.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lesionlab import extras
from lesionlab.errors import BadInput

PREFIX = b"lesionlab bundle 1\n"  # so that a signature cannot be taken for one of anything else
MAKE_ONE = "make one with: openssl genpkey -algorithm ed25519 -out key.pem"


@dataclass(frozen=True)
class Signature:
    """A signature as it stands in `bundle.sig`, not yet checked."""

    public_key: bytes  # 32 bytes
    signature: bytes  # 64 bytes

    @property
    def fingerprint(self) -> str:
        """What a person compares: SHA-256 of the public key, first 16 bytes in hex."""
        return hashlib.sha256(self.public_key).hexdigest()[:32]


def _ed25519() -> Any:
    extras.need("sign", "signing")
    from cryptography.hazmat.primitives.asymmetric import ed25519

    return ed25519


def sign(identity: str, private: Path) -> bytes:
    """The content of `bundle.sig`: `identity` (`Bundle.identity`) signed by the key in PEM."""
    ed25519 = _ed25519()
    from cryptography.hazmat.primitives import serialization

    try:
        key = serialization.load_pem_private_key(_read(private), password=None)
    except (ValueError, TypeError) as error:
        raise BadInput(f"not a private key in PEM ({_first(error)})", where=str(private)) from None
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise BadInput("not an Ed25519 key", where=str(private), remedy=MAKE_ONE)
    public = key.public_key().public_bytes_raw()
    content = {
        "schema_version": 1,
        "algorithm": "ed25519",
        "public_key": base64.b64encode(public).decode(),
        "signature": base64.b64encode(key.sign(PREFIX + identity.encode())).decode(),
    }
    return (json.dumps(content, indent=2) + "\n").encode()


def parse_signature(data: bytes, where: str) -> Signature:
    """Read `bundle.sig`; `BadInput` where it is none."""
    try:
        raw = json.loads(data)
        if raw["schema_version"] != 1 or raw["algorithm"] != "ed25519":
            raise ValueError("another version or algorithm")
        public = base64.b64decode(raw["public_key"], validate=True)
        signature = base64.b64decode(raw["signature"], validate=True)
        if (len(public), len(signature)) != (32, 64):
            raise ValueError("wrong lengths")
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as error:
        raise BadInput(f"not a signature ({_first(error)})", where=where) from None
    return Signature(public, signature)


def check_signature(identity: str, signature: Signature, trusted: Path | None, where: str) -> None:
    """Raise `BadInput` unless `signature` signs `identity`, by the key in `trusted` where given."""
    ed25519 = _ed25519()
    from cryptography.exceptions import InvalidSignature

    if trusted is not None and read_public_key(trusted) != signature.public_key:
        raise BadInput(
            f"signed by another key ({signature.fingerprint})",
            where=where,
            remedy="do not use it unless you know who signed it",
        )
    key = ed25519.Ed25519PublicKey.from_public_bytes(signature.public_key)
    try:
        key.verify(signature.signature, PREFIX + identity.encode())
    except InvalidSignature:
        raise BadInput(
            "the signature is not valid", where=where, remedy="do not use it: it was altered"
        ) from None


def read_public_key(path: Path) -> bytes:
    """The 32 bytes of an Ed25519 public key in PEM."""
    ed25519 = _ed25519()
    from cryptography.hazmat.primitives import serialization

    try:
        key = serialization.load_pem_public_key(_read(path))
    except ValueError as error:
        raise BadInput(f"not a public key in PEM ({_first(error)})", where=str(path)) from None
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise BadInput("not an Ed25519 key", where=str(path))
    return bytes(key.public_bytes_raw())


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"cannot be read ({error.strerror})", where=str(path)) from None


def _first(error: Exception) -> str:
    return str(error).split("\n", 1)[0][:80]
