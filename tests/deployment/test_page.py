"""The page in a headless Chromium: from the server, and as a static folder without one."""

from __future__ import annotations

import base64
import shutil
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from PIL import Image

from helpers import browsing
from helpers.colour_profiles import SRGB, WIDE, profile
from helpers.picture_files import TURNED_HEIC, multi_picture, noise, saved
from lesionlab.api.predict import predict
from lesionlab.data.images import Preprocessing, Reading, open_image, prepare
from lesionlab.deployment.bundle import read_bundle
from lesionlab.deployment.server_run import ServeSettings, build, configuration
from lesionlab.deployment.static_page import build_page
from lesionlab.errors import BadInput

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("chromium") or shutil.which("chromium-browser")),
        reason="no Chromium here",
    ),
]
READY = "body[data-ready]"
DONE = "#result:not([hidden])"


@pytest.fixture(scope="module")
def server(bundle_folder: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = ServeSettings(port=port, workers=1)
    app, _ = build([bundle_folder], settings)
    running = uvicorn.Server(configuration(app, settings))
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}/"
    running.should_exit = True
    thread.join(20)


@pytest.fixture(scope="module")
def static(bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if shutil.which("npm") is None:
        pytest.skip("npm is not here")
    folder = tmp_path_factory.mktemp("page") / "page"
    try:
        build_page(read_bundle(bundle_folder), folder)
    except BadInput as error:
        if "npm cannot fetch" in str(error):
            pytest.skip(str(error))
        raise
    with browsing.static_host(folder) as url:
        yield url


@pytest.fixture(params=["server", "static"])
def site(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


@pytest.fixture
def photo(tmp_path: Path, tiny: Any) -> Path:
    path = tmp_path / "<img src=x onerror=alert(1)>.png"
    tiny.picture("nv", np.random.default_rng(3), 40).save(path)
    return path


def opened(context: Any, url: str) -> tuple[Any, list[str], list[str]]:
    """A page that is ready, what it asked of other servers, and its errors."""
    page, foreign, errors = context.new_page(), [], []
    page.on("request", lambda r: foreign.append(r.url) if not r.url.startswith(url) else None)
    page.on("pageerror", lambda e: errors.append(str(e)))
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    page.goto(url)
    page.wait_for_selector(READY, timeout=60_000)
    return page, foreign, errors


def test_an_image_gets_its_answer(site: str, photo: Path, bundle_folder: Path) -> None:
    wanted = predict(bundle_folder, photo)["predictions"][0]
    with browsing.chromium(locale="en-GB") as context:
        page, foreign, errors = opened(context, site)
        page.set_input_files("#file", photo)
        page.wait_for_selector(DONE, timeout=60_000)
        bars = page.locator("#bars li").all_inner_texts()
        ranked = sorted(wanted["probabilities"], key=lambda c: -wanted["probabilities"][c])
        assert len(bars) == 3
        for name, bar in zip(ranked, bars, strict=True):
            assert name in bar
            assert f"{100 * wanted['probabilities'][name]:.1f}" in bar or "<" in bar or ">" in bar
        assert page.locator("#decision").inner_text().split(":")[0] in ("Positive", "Negative")
        assert "sensitivity was 90.0" in page.locator("#point").inner_text()
        assert page.locator("#set").inner_text().startswith("With 90")
        assert "×" in page.locator("#similar").inner_text()
        assert page.locator("#ood").is_hidden()
        assert page.locator("#figure canvas").is_visible()
        assert "Research use only" in page.locator("body").inner_text()
    assert [f for f in foreign if not f.startswith(("blob:", "data:"))] == []
    assert errors == []


def test_far_away_pictures_are_named_as_such(site: str, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (64, 64), (0, 255, 0)).save(tmp_path / "green.png")
    with browsing.chromium() as context:
        page, _, _ = opened(context, site)
        page.set_input_files("#file", tmp_path / "green.png")
        page.wait_for_selector(DONE, timeout=60_000)
        assert "unlike the training images" in page.locator("#ood").inner_text()
        assert page.locator("#decision").inner_text().startswith("No decision")


@pytest.mark.parametrize("content", [b"", b"text", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_is_no_image(site: str, tmp_path: Path, photo: Path, content: bytes) -> None:
    (tmp_path / "bad.jpg").write_bytes(content)
    with browsing.chromium() as context:
        page, _, _ = opened(context, site)
        page.set_input_files("#file", tmp_path / "bad.jpg")
        page.locator("#status", has_text="No result").wait_for(timeout=60_000)
        assert page.locator("#result").is_hidden()
        page.set_input_files("#file", photo)  # and the next one works
        page.wait_for_selector(DONE, timeout=60_000)


GIVE = """([b, event]) => {
  document.getElementById("result").hidden = true;
  const bytes = Uint8Array.from(atob(b), (c) => c.charCodeAt(0));
  const box = new DataTransfer();
  box.items.add(new File([bytes], "a.png", { type: "image/png" }));
  const common = { bubbles: true, cancelable: true };
  document.body.dispatchEvent(event === "paste"
    ? new ClipboardEvent("paste", { ...common, clipboardData: box })
    : new DragEvent("drop", { ...common, dataTransfer: box }));
}"""


def test_paste_and_drop(site: str, photo: Path) -> None:
    data = base64.b64encode(photo.read_bytes()).decode()
    with browsing.chromium() as context:
        page, _, _ = opened(context, site)
        for event in ("paste", "drop"):
            page.evaluate(GIVE, [data, event])
            page.wait_for_selector(DONE, timeout=60_000)


def test_the_heat_map_follows_the_slider(site: str, photo: Path) -> None:
    look = "document.getElementById('picture').toDataURL()"
    with browsing.chromium() as context:
        page, _, _ = opened(context, site)
        page.set_input_files("#file", photo)
        page.wait_for_selector(DONE, timeout=60_000)
        plain = page.evaluate(look)
        page.locator("#strength").focus()
        page.keyboard.press("End")
        shown = set()
        for n in range(3):  # a class that nothing speaks for shows nothing
            page.select_option("#map-class", index=n)
            shown.add(page.evaluate(look))
        assert len(shown - {plain}) >= 2
        page.locator("#strength").focus()
        page.keyboard.press("Home")
        assert page.evaluate(look) == plain


DRAWN = """async (how) => {
  const { drawPicture } = await import("./page/picture.js");
  const white = new OffscreenCanvas(300, 200);
  const context = white.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, 300, 200);
  const canvas = document.createElement("canvas");
  drawPicture(canvas, white.transferToImageBitmap(), [[1]], 1, how);
  const { data } = canvas.getContext("2d").getImageData(0, 0, 300, 200);
  const drawn = [];
  for (let i = 0; i < 300 * 200; i++) {
    if (data[4 * i + 1] < 250) drawn.push([i % 300, Math.floor(i / 300)]);
  }
  const [xs, ys] = [drawn.map(([x]) => x), drawn.map(([, y]) => y)];
  return [xs, ys].map((all) => [Math.min(...all), Math.max(...all)]);
}"""


@pytest.mark.parametrize(
    ("fit", "crop", "place"),
    [
        ("squash", 1.0, [[0, 299], [0, 199]]),
        ("crop", 1.0, [[50, 249], [0, 199]]),
        ("crop", 0.875, [[62, 237], [12, 187]]),
        ("squash", 0.875, [[18, 281], [12, 187]]),
    ],
)
def test_the_heat_map_covers_what_the_network_saw(
    site: str, fit: str, crop: float, place: list[list[int]]
) -> None:
    with browsing.chromium() as context:
        page, _, _ = opened(context, site)
        found = page.evaluate(DRAWN, {"size": 224, "fit": fit, "crop": crop})
    assert np.abs(np.array(found) - place).max() <= 1  # edges lie between two pixels


def test_languages_dark_mode_phone_and_keyboard(site: str, photo: Path) -> None:
    phone = {"width": 360, "height": 740}
    with browsing.chromium(locale="zh-CN", color_scheme="dark", viewport=phone) as context:
        page, _, errors = opened(context, site)
        assert "仅供研究使用" in page.locator("body").inner_text()
        assert page.evaluate("document.documentElement.lang") == "zh-Hans"
        page.set_input_files("#file", photo)
        page.wait_for_selector(DONE, timeout=60_000)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        back = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert back == "rgb(20, 24, 28)"
        page.locator("#language").focus()
        page.keyboard.press("Enter")
        assert "Research use only" in page.locator("body").inner_text()
        assert "likely" in page.locator("#bars li").first.inner_text()
        for selector in ("#file", "#photo", "#strength", "#map-class", "#language"):
            page.locator(selector).focus()
            assert page.evaluate("document.activeElement.id") == selector[1:]
            label = "document.activeElement.labels?.length || document.activeElement.textContent"
            assert page.evaluate(label), selector
    assert errors == []


def test_the_static_page_opens_without_a_network(static: str, photo: Path) -> None:
    with browsing.chromium() as context:
        page, _, _ = opened(context, static)
        page.evaluate("navigator.serviceWorker.ready.then(() => true)")
        context.set_offline(True)
        page.reload()
        page.wait_for_selector(READY, timeout=60_000)
        page.set_input_files("#file", photo)
        page.wait_for_selector(DONE, timeout=60_000)


def test_a_damaged_file_of_the_static_page_is_noticed(
    bundle_folder: Path, static: str, tmp_path: Path
) -> None:
    with browsing.chromium(service_workers="block") as context:
        page = context.new_page()

        def damage(route: Any) -> None:
            body = bytearray(route.fetch().body())
            body[len(body) // 2] ^= 1
            route.fulfill(body=bytes(body))

        page.route("**/model.onnx", damage)
        page.goto(static)
        page.locator("#status", has_text="damaged").wait_for(timeout=60_000)


PIXELS = """async ([b, how, depth]) => {
  const { decode } = await import("./page/decode.js");
  const { prepare } = await import("./page/prepare.js");
  const bytes = Uint8Array.from(atob(b), (c) => c.charCodeAt(0));
  const { image, orientation } = await decode(new File([bytes], "a.jpg"), depth);
  let text = "";
  for (const v of prepare(image, orientation, how)) text += String.fromCharCode(v);
  return btoa(text);
}"""


def pixels_in_browser(page: Any, data: bytes, how: Preprocessing, depth: int = 16) -> Any:
    found = page.evaluate(PIXELS, [base64.b64encode(data).decode(), asdict(how), depth])
    flat = np.frombuffer(base64.b64decode(found), np.uint8)
    return flat.reshape(how.size, how.size, how.channels)


@pytest.mark.real
def test_real_images_have_the_same_pixels(static: str, shared: Path) -> None:
    """Every pixel of 30 real images, as Python and as the browser show them to a network."""
    with (
        browsing.chromium() as context,
        zipfile.ZipFile(shared / "data" / "ham10000-fullsize-30.zip") as archive,
    ):
        page, _, _ = opened(context, static)
        names = [n for n in sorted(archive.namelist()) if n.endswith(".jpg")]
        assert len(names) == 30
        for n, name in enumerate(names):
            how = Preprocessing(224, "crop" if n % 3 == 0 else "squash")
            if n % 2:
                how = replace(how, interpolation="bicubic", crop=0.875)
            data = archive.read(name)
            wanted = prepare(open_image(data), how)
            assert np.array_equal(pixels_in_browser(page, data, how), wanted), name


def test_files_of_phones_and_detectors_have_the_same_pixels(static: str) -> None:
    """Multi-picture and motion photographs, wide gamuts, XMP after EXIF, greys of 16 bits."""
    small, exif = noise(5, (30, 20)), Image.Exif()
    exif[0x0112] = 6
    photo = small.resize((301, 203), Image.Resampling.BICUBIC)
    wide = {name: profile(*space, name) for name, space in WIDE.items()}
    p3 = wide["Display P3"]
    exact = {
        "multi-picture": multi_picture(photo),
        "motion": saved(photo) + b"\0\0\0\x18ftypmp42" + bytes(100_000),
        "XMP": saved(photo, exif=exif, xmp=b"<x:xmpmeta/>"),
        "sRGB": saved(photo, "PNG", icc_profile=profile(SRGB, 0.0, "sRGB")),
        "greys": saved(photo.convert("L"), icc_profile=p3),
    }
    near = {f"{name}, JPEG": saved(photo, icc_profile=data) for name, data in wide.items()}
    near |= {f"{name}, PNG": saved(photo, "PNG", icc_profile=data) for name, data in wide.items()}
    near["WebP"] = saved(photo, "WEBP", lossless=True, icc_profile=p3)
    how = Preprocessing(64)
    with browsing.chromium() as context:
        page, _, _ = opened(context, static)
        for bound, files in ((0, exact), (1, near)):
            for name, data in files.items():
                wanted = prepare(open_image(data), how).astype(int)
                seen = pixels_in_browser(page, data, how)
                assert np.abs(seen - wanted).max() <= bound, name


@pytest.mark.parametrize("depth", [8, 12, 16])
def test_greys_of_many_bits_have_the_same_pixels(static: str, depth: int) -> None:
    values = np.random.default_rng(depth).integers(0, 2**depth, (70, 90), np.uint16)
    values[:, 20:60] = np.arange(40) * 6  # a ramp: other filters of PNG than noise
    data, how = saved(Image.fromarray(values), "PNG"), Preprocessing(64)
    wanted = prepare(open_image(data, reading=Reading(depth)), how)
    with browsing.chromium() as context:
        page, _, _ = opened(context, static)
        assert np.array_equal(pixels_in_browser(page, data, how, depth), wanted)
        if depth > 8:
            with pytest.raises(Exception, match=f"need more than {depth - 2} bits"):
                pixels_in_browser(page, data, how, depth - 2)


@pytest.mark.parametrize("form", ["TIFF", "PPM", "AVIF", "HEIC"])
def test_the_page_names_what_it_cannot_read(static: str, form: str) -> None:
    data = TURNED_HEIC if form == "HEIC" else saved(noise(1), form)
    with browsing.chromium() as context:
        page, _, _ = opened(context, static)
        with pytest.raises(Exception, match=f"{form}: this page cannot read it; save it as PNG"):
            pixels_in_browser(page, data, Preprocessing(64))


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_drawn_jpegs_have_the_same_pixels(static: str, orientation: int) -> None:
    import io

    from PIL import Image

    rng = np.random.default_rng(orientation)
    hows = [Preprocessing(64), Preprocessing(64, "crop", interpolation="bicubic", crop=0.89)]
    with browsing.chromium() as context:
        page, _, _ = opened(context, static)
        for mode, quality, subsampling in (("RGB", 60, 2), ("RGB", 95, 0), ("L", 80, 0)):
            small = Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8))
            image = small.resize((301, 203), Image.Resampling.BICUBIC).convert(mode)
            exif, stream = Image.Exif(), io.BytesIO()
            exif[0x0112] = orientation
            options: dict[str, Any] = {"subsampling": subsampling} if mode == "RGB" else {}
            image.save(stream, "JPEG", quality=quality, exif=exif, **options)
            data = stream.getvalue()
            for how in hows:
                wanted = prepare(open_image(data), how)
                assert np.array_equal(pixels_in_browser(page, data, how), wanted), (mode, quality)
