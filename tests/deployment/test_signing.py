"""A signature proves origin against a known key, and nothing else (facts: 32)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from lesionlab.api.verify import verify
from lesionlab.cli.main import run
from lesionlab.deployment.bundle import SIGNATURE, read_bundle
from lesionlab.deployment.signing import sign
from lesionlab.errors import BadInput

PEM = serialization.Encoding.PEM


def key_pair(folder: Path, name: str) -> tuple[Path, Path]:
    """What `openssl genpkey -algorithm ed25519` and `openssl pkey -pubout` write."""
    key = ed25519.Ed25519PrivateKey.generate()
    private, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    plain = serialization.NoEncryption()
    private.write_bytes(key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, plain))
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    public.write_bytes(key.public_key().public_bytes(PEM, kind))
    return private, public


@pytest.fixture
def signed(bundle_folder: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A signed bundle and the public key."""
    folder = Path(shutil.copytree(bundle_folder, tmp_path / "tiny"))
    private, public = key_pair(tmp_path, "ours")
    (folder / SIGNATURE).write_bytes(sign(read_bundle(folder).identity, private))
    return folder, public


def test_signed_by_the_key_we_know(signed: tuple[Path, Path]) -> None:
    result = verify(signed[0], key=signed[1])
    assert result["signed"]
    assert result["trusted"]
    assert result["self_test"] < 1e-3


def test_signed_by_somebody(signed: tuple[Path, Path]) -> None:
    result = verify(signed[0])
    assert result["signed"]
    assert not result["trusted"]


def test_another_key(signed: tuple[Path, Path], tmp_path: Path) -> None:
    _, other = key_pair(tmp_path, "other")
    with pytest.raises(BadInput, match="signed by another key"):
        verify(signed[0], key=other)


def test_an_altered_description(signed: tuple[Path, Path]) -> None:
    """Hashes alone would not notice a threshold that somebody moved."""
    raw = json.loads((signed[0] / "bundle.json").read_text())
    raw["operating_points"][0]["threshold"] = 0.99
    (signed[0] / "bundle.json").write_text(json.dumps(raw))
    read_bundle(signed[0])
    with pytest.raises(BadInput, match="the signature is not valid"):
        verify(signed[0])


def test_not_signed(bundle_folder: Path, signed: tuple[Path, Path]) -> None:
    assert verify(bundle_folder)["signed"] is False
    with pytest.raises(BadInput, match="is not signed"):
        verify(bundle_folder, key=signed[1])


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[]",
        '{"schema_version": 1, "algorithm": "none"}',
        '{"schema_version": 1, "algorithm": "ed25519", "public_key": "AA==", "signature": "!"}',
    ],
)
def test_a_signature_that_is_none(signed: tuple[Path, Path], content: str) -> None:
    (signed[0] / SIGNATURE).write_text(content)
    with pytest.raises(BadInput, match="not a signature"):
        verify(signed[0])


def test_keys_that_cannot_be_used(signed: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        sign("0", tmp_path / "absent")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(BadInput, match="not a private key"):
        sign("0", tmp_path / "text")
    with pytest.raises(BadInput, match="not a public key"):
        verify(signed[0], key=tmp_path / "text")
    curve = ec.generate_private_key(ec.SECP256R1())
    plain = serialization.NoEncryption()
    pem = curve.private_bytes(PEM, serialization.PrivateFormat.PKCS8, plain)
    (tmp_path / "curve.pem").write_bytes(pem)
    with pytest.raises(BadInput, match="not an Ed25519 key"):
        sign("0", tmp_path / "curve.pem")


def test_the_command_line(signed: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", str(signed[0]), "--key", str(signed[1]), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["trusted"] is True
    assert run(["verify", str(signed[0])]) == 0
    assert "give --key" in capsys.readouterr().out
    (signed[0] / "model.onnx").write_bytes(b"x")
    assert run(["verify", str(signed[0])]) == 2
