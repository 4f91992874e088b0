"""The report in a real browser: nothing is fetched, everything is drawn, and it fits."""

import json
import shutil
from collections.abc import Iterator

import pytest

from pipelines.report_page import write_report
from pipelines.run import Run

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]

HIDDEN = """() => [...document.querySelectorAll("svg")]
    .filter(svg => { const box = svg.getBoundingClientRect(); return !box.width || !box.height; })
    .length"""
UNDRAWN = """() => [...document.querySelectorAll("svg.plot")].filter(svg => {
    const inside = svg.getBoundingClientRect();
    return ![...svg.querySelectorAll("path")].some(path => {
        const box = path.getBoundingClientRect();
        return box.width > inside.width / 4 && getComputedStyle(path).stroke !== "none";
    });
}).length"""
OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
PAPER = "() => getComputedStyle(document.body).backgroundColor"
LINE = """() => getComputedStyle(document.querySelector("svg.plot path[style*='--series-1']"))
    .stroke"""


@pytest.fixture(scope="module")
def report(finished, tmp_path_factory):
    directory = tmp_path_factory.mktemp("report") / "run"
    shutil.copytree(finished[0], directory)
    run = Run.open(directory, None, ())
    path = run.students.metrics(3)
    measured = [
        {"step": s, "eval/fc1/spearman": s / 40, "eval/fc2/spearman": s / 50} for s in (10, 20)
    ]
    path.write_text(path.read_text() + "".join(json.dumps(line) + "\n" for line in measured))
    return write_report(run).path


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield opened
        opened.close()


def opened(browser, report, width, scheme="light"):
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url))
    page.goto(report.as_uri())
    return page, said


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_all_plots_are_drawn_and_nothing_is_fetched_or_complained_of(
    browser, report, width, scheme
):
    page, said = opened(browser, report, width, scheme)
    assert said == [report.as_uri()]
    assert page.locator("svg.plot").count() > 12
    assert page.evaluate(HIDDEN) == 0
    assert page.evaluate(UNDRAWN) == 0
    assert page.evaluate(OVERFLOW) == 0


def test_colours_follow_the_scheme_and_paper_is_white(browser, report):
    light, dark = (opened(browser, report, 800, scheme)[0] for scheme in ("light", "dark"))
    assert light.evaluate(PAPER) == "rgb(255, 255, 255)"
    assert dark.evaluate(PAPER) != light.evaluate(PAPER)
    assert dark.evaluate(LINE) != light.evaluate(LINE)
    dark.emulate_media(media="print")
    assert dark.evaluate(PAPER) == "rgb(255, 255, 255)"
    assert dark.evaluate(LINE) == light.evaluate(LINE)


def test_it_prints(browser, report):
    page, _ = opened(browser, report, 800)
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 720, "height": 1000})
    assert page.evaluate(OVERFLOW) == 0
