"""`--web DIR`: the page as a folder for any static host, with everything inside the browser.

The two libraries come from npm when the folder is built, at the versions and hashes below; they
are never part of this repository or of the wheel.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lesionlab import files
from lesionlab.deployment import bundle as bundles
from lesionlab.deployment.bundle import Bundle
from lesionlab.deployment.web import static_files
from lesionlab.errors import BadInput

NPM_SECONDS = 600
POLICY = (
    '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
    "script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'\">"
)


@dataclass(frozen=True)
class Library:
    """An npm package: what is taken from it, and where it goes. `sha512` is npm's integrity."""

    name: str
    version: str
    sha512: str
    licence: str
    members: dict[str, str]


LIBRARIES = (
    Library(
        "onnxruntime-web",
        "1.30.0",
        "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
        "MIT",
        {
            f"package/dist/{name}": f"vendor/ort/{name}"
            for name in (
                "ort.wasm.min.mjs",
                "ort-wasm-simd-threaded.mjs",
                "ort-wasm-simd-threaded.wasm",
            )
        },
    ),
    Library(
        "@jsquash/jpeg",
        "1.6.0",
        "zwN46Awh1VM6gXlIcALwb5WzqK5H2e6+Awcs1QP8AvS8ohsK/sbE4esvmH4jhlhW7+CgiUUww66vg0aTnlSIMA==",
        "Apache-2.0 (mozjpeg: BSD-3-Clause, IJG)",
        {
            f"package/{name}": f"vendor/jpeg/{name}"
            for name in (
                "LICENSE",
                "decode.js",
                "utils.js",
                "meta.js",
                "codec/LICENSE.codec.md",
                "codec/dec/mozjpeg_dec.js",
                "codec/dec/mozjpeg_dec.wasm",
            )
        },
    ),
)


def build_page(bundle: Bundle, to: Path) -> Path:
    """Write the static page of a bundle to a new folder; whole or not at all.

    Raises `BadInput` where npm is absent or a library is not the pinned one.
    """
    files.refuse_existing(to)
    with tempfile.TemporaryDirectory() as room:
        vendor: dict[str, bytes] = {}
        for library in LIBRARIES:
            vendor |= fetch(library, Path(room))
    content = {**static_files(), **vendor, **_bundle_files(bundle)}
    content["index.html"] = content["index.html"].replace(b"<!-- policy -->", POLICY.encode())
    content["vendor/README.txt"] = _notice().encode()
    content["sw.js"] = _worker(content)
    with files.stage_folder(to) as aside:
        for name, data in content.items():
            path = aside / name
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write_bytes(path, data)
    return to


def _bundle_files(bundle: Bundle) -> dict[str, bytes]:
    """The bundle as it was read; its own hashes are checked again in the browser."""
    source = bundles.read_files(bundle.source)
    return {f"bundle/{name}": data for name, data in source.items()}


def fetch(library: Library, room: Path) -> dict[str, bytes]:
    """The members of an npm package, by where they go; the archive's hash is checked first."""
    npm = shutil.which("npm")
    if npm is None:
        raise BadInput("--web needs npm", remedy="install Node.js, which brings npm")
    wanted = f"{library.name}@{library.version}"
    data = _packed(npm, wanted, room)
    package_hash = base64.b64encode(hashlib.sha512(data).digest()).decode()
    if package_hash != library.sha512:
        raise BadInput(
            f"npm's {wanted} is not the pinned one (sha512 {package_hash[:16]}...)",
            remedy="do not use it; report this",
        )
    return _members(library, data)


def _packed(npm: str, wanted: str, room: Path) -> bytes:
    """The archive that npm fetches into `room`."""
    try:
        done = subprocess.run(
            [npm, "pack", wanted, "--silent", "--ignore-scripts", "--pack-destination", str(room)],
            capture_output=True,
            encoding="utf-8",
            timeout=NPM_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _unfetched(wanted, f"no answer within {NPM_SECONDS} s") from None
    name = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""
    if done.returncode or not (room / name).is_file():
        raise _unfetched(wanted, (done.stderr.strip().splitlines() or ["no answer"])[0])
    return (room / name).read_bytes()


def _unfetched(wanted: str, reason: str) -> BadInput:
    return BadInput(f"npm cannot fetch {wanted} ({reason})", remedy="check the network")


def _members(library: Library, data: bytes) -> dict[str, bytes]:
    taken: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        for member, place in library.members.items():
            try:
                stream = archive.extractfile(member)
            except KeyError:  # tarfile's word for a name that the archive has not
                stream = None
            if stream is None:  # a folder
                raise BadInput(f"no file '{member}' in {library.name} {library.version}")
            taken[place] = stream.read()
    return taken


def _notice() -> str:
    lines = ["Libraries of this page, unchanged, from npm:"]
    lines += [f"{one.name} {one.version}, licence {one.licence}" for one in LIBRARIES]
    return "\n".join(lines) + "\n"


def _worker(content: dict[str, bytes]) -> bytes:
    """The service worker, with the list of files and a version that changes with any of them."""
    names = sorted(set(content) - {"sw.js"})
    digest = hashlib.sha256(content["sw.js"])
    for name in names:
        digest.update(name.encode() + hashlib.sha256(content[name]).digest())
    kept = ["./", *(n for n in names if n != "index.html")]
    text = content["sw.js"].decode("utf-8")
    text = text.replace("__VERSION__", f"lesionlab-{digest.hexdigest()[:16]}")
    return text.replace("__FILES__", json.dumps(kept, indent=2)).encode()
