"""The page: whole, self-contained, and what is worst stands first."""

import base64
import io
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from visemo.data.dataset import open_store
from visemo.evaluate.page import HEADLINES
from visemo.evaluate.report import evaluate

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
VOID = {"meta", "img", "br"}


class Outline(HTMLParser):
    """What a page points to, the text of it, and whether its elements are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.anchors: set[str] = set()
        self.cells: list[str] = []
        self.captions: list[str] = []
        self.tags: set[str] = set()
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "xlink:href", "srcset")]
        self.anchors |= {value for name, value in attrs if name == "id"}
        if tag not in VOID:
            self._open.append(tag)
        if tag in ("td", "figcaption"):
            (self.cells if tag == "td" else self.captions).append("")

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if "td" in self._open:
            self.cells[-1] += data
        if "figcaption" in self._open:
            self.captions[-1] += data


@pytest.fixture(scope="module")
def page(rows):
    return (rows[1] / "report.html").read_text()


def test_the_page_needs_nothing_but_itself(page):
    outline = Outline(page)
    links = [address for address in outline.addresses if not address.startswith("data:")]
    assert links and all(link.startswith("#") and link[1:] in outline.anchors for link in links)
    assert "script" not in outline.tags and "link" not in outline.tags and "url(" not in page and "@import" not in page
    assert "http" not in page.replace('lang="en"', "") and len(page) < 5_000_000
    assert "prefers-color-scheme: dark" in page


def test_every_row_is_on_the_page(page, rows):
    cells = Outline(page).cells
    for row in rows[0].values():
        assert row.name in cells
    assert all(text in page for text in ("Where the errors are", "Two takes", "Worst frames", "Terms", "Vertex sets"))


def test_headlines_are_rows(page, rows):
    table, _ = rows
    for key, (form, text) in HEADLINES.items():
        assert (text in page) == (key in table)
        if key in table:
            assert f"<b>{form.format(table[key].value)}</b>" in page
    assert sum(key in table for key in HEADLINES) >= 4


def test_pictures_are_pictures(page):
    pictures = [address for address in Outline(page).addresses if address.startswith("data:image/png;base64,")]
    assert len(pictures) == 3 + 3 * 4  # heat maps, and three of the worst frame of each take
    for picture in pictures:
        image = Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2])))
        assert image.format == "PNG" and image.size[0] > 100 and np.ptp(np.asarray(image), axis=(0, 1)).min() > 50


def test_the_worst_frame_comes_first(model, store, tmp_path):
    folder = tmp_path / "store"
    shutil.copytree(store, folder)
    opened = open_store(folder)
    take = [id for id in opened.split("faceformer")["test"] if opened.sequence(id).kind == "speech"][2]
    path = folder / "takes" / f"{take}.npy"
    motion = np.load(path)
    motion[30, model.face.regions["lips"]] += np.float16(0.03)
    np.save(path, motion)
    evaluate(model, [folder], tmp_path / "out", limit=4)
    frames = [text for text in Outline((tmp_path / "out" / "report.html").read_text()).captions if " s, /" in text]
    assert take in frames[0] and "1.00 s, /aa/" in frames[0]
    errors = [float(text.split(" mm")[0]) for text in frames]
    assert errors == sorted(errors, reverse=True) and errors[0] > 25 and len(frames) == 4


def test_a_browser_shows_it(rows, tmp_path):
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("no browser: install chromium to have the page opened")
    for mode in ("light", "dark"):
        picture = tmp_path / f"{mode}.png"
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=900,700"]
        options += [f"--user-data-dir={tmp_path}/{mode}", f"--screenshot={picture}"]
        options += ["--blink-settings=preferredColorScheme=0"] if mode == "dark" else []
        subprocess.run(
            [browser, *options, (rows[1] / "report.html").as_uri()], check=True, capture_output=True, timeout=120
        )
        shown = np.asarray(Image.open(picture).convert("L"), float)
        assert shown.shape == (700, 900) and shown.std() > 10
        assert shown.mean() > 200 if mode == "light" else shown.mean() < 80
