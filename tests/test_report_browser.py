"""The report in a real browser: at three widths, light and dark, with and without its script, and on paper."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from browser import browser
from test_report import HOSTILE, made_followed, made_judged, planned

from churnlib.evaluation.profit.campaign import expected_gains, payoffs
from churnlib.evaluation.report.document import build_document
from churnlib.evaluation.report.page import SECTIONS, render
from churnlib.training.report_overall import overall
from churnlib.training.report_reasons import customers, explainer_of, explanation

pytestmark = pytest.mark.slow

WIDTHS = (360, 800, 1400)


@pytest.fixture(scope="module")
def judged():
    value = np.random.default_rng(1).gamma(4, 50, 400)
    return made_judged(400, value=value, currency="EUR", table=f"Customers {HOSTILE}", config={"seed": 0})


@pytest.fixture(scope="module")
def document(judged):
    explainer, _ = explainer_of(judged)
    parts = {
        "explanation": explanation(judged, explainer, sampled=120),
        "customers": customers(judged, explainer, listed=40),
    }
    parts["overall"] = overall(judged, explainer, parts["explanation"], rows=200)
    return build_document(made_followed(judged), {**parts, **planned(judged, budget=40)})


@pytest.fixture(scope="module")
def file(document, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render(document), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


def number(text: str) -> float:
    return float(re.sub(r"[^\d.−-]", "", text).replace("−", "-") or 0)


def enter(page, name: str, value: str) -> None:
    page.run(
        f"{{ const one = document.getElementById('{name}'); one.value = '{value}'; "
        "one.dispatchEvent(new Event('input', {bubbles: true})); }"
    )
    page.wait()


def slide(page, key: str, value: float) -> None:
    enter(page, f"s-{key}", str(value))


def text(page, name: str) -> str:
    return page.run(f"document.getElementById('{name}').textContent")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_fits_and_neither_complains_nor_asks_for_anything(page, file, document, width, dark):
    page.show(file, width=width, dark=dark)
    assert page.run("document.documentElement.scrollWidth") == width, "something is wider than the screen"
    assert len(page.picture(f"report-{width}-{'dark' if dark else 'light'}")) > 50_000
    assert not page.complaints and not page.requests
    paper = page.run("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(18, 21, 26)" if dark else "rgb(246, 245, 242)")
    shown = page.run("[...document.querySelectorAll('main section')].map(one => one.id)")
    assert shown == [section.key for section in SECTIONS if document.get(section.key)]


def test_markup_in_the_data_did_nothing(page, file):
    page.show(file)
    assert HOSTILE in page.run("document.querySelector('h1').textContent") and not page.complaints


def test_a_script_or_a_request_that_were_smuggled_in_would_be_refused(page, file, tmp_path):
    smuggled = "<script>document.title = 'owned'</script><img src='http://elsewhere.invalid/x.png'>"
    spoiled = tmp_path / "spoiled.html"
    spoiled.write_text(file.read_text().replace("</main>", f"{smuggled}</main>"), encoding="utf-8")
    page.show(spoiled)
    assert page.run("document.title") != "owned" and page.complaints
    assert not page.requests
    page.complaints.clear()


def test_the_simulator_starts_with_what_the_run_assumed(page, file, document):
    page.show(file)
    plan = document["simulator"]["campaign"]
    assert number(text(page, "r-profit")) == pytest.approx(plan["profit"], rel=0.02)
    assert number(text(page, "r-contacted")) == pytest.approx(plan["contacted"], rel=0.02)
    low, high = map(number, text(page, "r-band").split(" to "))
    assert low == pytest.approx(plan["low"], rel=0.1) and high == pytest.approx(plan["high"], rel=0.1)


ALL_MOVED = {"value": 2, "offer": 25, "contact": 5, "acceptance": 10}
ALL_CHANGED = {"times": 2.0, "offer_cost": 25.0, "contact_cost": 5.0, "acceptance": 0.1}


@pytest.mark.parametrize(
    ("moved", "changed"),
    [
        ({"acceptance": 60}, {"acceptance": 0.6}),
        ({"offer": 40}, {"offer_cost": 40.0}),
        ({"value": 0.5}, {"times": 0.5}),
        (ALL_MOVED, ALL_CHANGED),
    ],
)
def test_the_sliders_give_what_the_rows_themselves_would(page, file, judged, moved, changed):
    page.show(file)
    for key, value in moved.items():
        slide(page, key, value)
    value = judged.value * changed.get("times", 1.0)
    campaign = replace(judged.campaign, **{key: one for key, one in changed.items() if key != "times"})
    chosen = expected_gains(judged.probability, value, campaign) > 0
    earned = payoffs(judged.label, value, campaign)[chosen].sum()
    assert number(text(page, "r-profit")) == pytest.approx(earned, rel=0.04, abs=10)
    assert number(text(page, "r-contacted")) == pytest.approx(chosen.sum(), rel=0.04, abs=3)


def test_a_budget_ends_the_list_and_reset_brings_it_back(page, file):
    page.show(file)
    before, spent = text(page, "r-profit"), number(text(page, "r-spent"))
    slide(page, "budget", 120)
    budget = number(text(page, "o-budget"))
    assert 0 < budget < spent and number(text(page, "r-spent")) == pytest.approx(budget, rel=0.01)
    marked = page.run("document.querySelectorAll('#list tr.contact').length")
    assert 0 < marked < 40 and str(marked) in text(page, "list-told")
    page.run("document.querySelector('#campaign button').click()")
    page.run("new Promise(done => setTimeout(done, 200))")
    assert text(page, "r-profit") == before and text(page, "o-budget") == "no limit"


def test_a_larger_base_scales_every_amount(page, file):
    page.show(file)
    profit = number(text(page, "r-profit"))
    slide(page, "base", 400_000)
    assert number(text(page, "r-profit")) == pytest.approx(1000 * profit, rel=0.001)


def test_the_list_is_searched_and_shown_in_full(page, file, document):
    page.show(file)
    shown = "[...document.querySelectorAll('#list tbody tr')].filter(one => one.offsetParent).length"
    assert page.run(shown) == 20
    page.run("document.getElementById('list-more').click()")
    assert page.run(shown) == 40
    enter(page, "list-find", document["customers"][7]["customer_id"])
    assert page.run(shown) == 1


def test_the_keyboard_moves_a_slider(page, file):
    page.show(file)
    page.run("document.getElementById('s-acceptance').focus()")
    before = text(page, "o-acceptance")
    for kind in ("keyDown", "keyUp"):
        page.call("Input.dispatchKeyEvent", type=kind, key="ArrowRight", code="ArrowRight", windowsVirtualKeyCode=39)
    page.wait()
    assert number(text(page, "o-acceptance")) == number(before) + 1
    assert page.run("document.getElementById('s-acceptance').getAttribute('aria-valuetext')") == text(
        page, "o-acceptance"
    )


def test_without_its_script_the_page_shows_everything_but_the_simulator(page, file, document):
    page.show(file, width=800, scripts=False)
    page.picture("report-800-without-script")
    seen = "one => one.getBoundingClientRect().height > 0"
    assert page.run(f"[...document.querySelectorAll('main section')].every({seen})")
    assert not page.run("document.getElementById('campaign').getBoundingClientRect().height")
    assert page.run("[...document.querySelectorAll('#list tbody tr')].filter(one => one.offsetParent).length") == 40
    assert page.run("document.querySelector('noscript').textContent").strip()


def test_it_prints_whole_and_on_white(page, file):
    page.show(file, paper=True)
    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.run("[...document.querySelectorAll('#list tbody tr')].filter(one => one.offsetParent).length") == 40
    pdf = page.call("Page.printToPDF", printBackground=True)["data"]
    assert len(pdf) > 50_000 and io.BytesIO(pdf.encode()).read(6) == b"JVBERi"


FAINT = """(() => {
  const numbers = (text) => {
    const found = text.match(/[\\d.]+/g).map(Number);
    return found.length < 4 ? [...found, 1] : found;
  };
  const straight = (x) => (x / 255 <= .04045 ? x / 255 / 12.92 : ((x / 255 + .055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => .2126 * straight(r) + .7152 * straight(g) + .0722 * straight(b);
  const behind = (one) => {
    for (; one; one = one.parentElement) {
      const colour = numbers(getComputedStyle(one).backgroundColor);
      if (colour[3] > 0) return colour;
    }
    return [255, 255, 255, 1];
  };
  const faint = [];
  for (const one of document.querySelectorAll('main *, header *, footer *, nav *')) {
    const words = [...one.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    if (!words || !one.getBoundingClientRect().height) continue;
    const style = getComputedStyle(one), drawn = one instanceof SVGElement ? style.fill : style.color;
    let solid = 1;
    for (let up = one; up; up = up.parentElement) solid *= Number(getComputedStyle(up).opacity);
    const paper = behind(one), ink = numbers(drawn).map((x, i) => x * solid + paper[i] * (1 - solid));
    const [a, b] = [light(ink), light(paper)].sort((x, y) => y - x), ratio = (a + .05) / (b + .05);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.5 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) faint.push(one.tagName + '.' + one.className + ': ' + ratio.toFixed(2));
  }
  return [...new Set(faint)];
})()"""


@pytest.mark.parametrize("dark", [False, True])
def test_no_text_is_too_faint_to_read(page, file, dark):
    """Every text against the paper behind it: 4.5 to 1, large text 3 to 1 (WCAG 2.2, 1.4.3)."""
    page.show(file, dark=dark)
    slide(page, "budget", 120)  # some of the list are not in the plan, and fainter
    assert page.run("document.querySelectorAll('#list tr.skip-it').length") > 0
    assert not page.run(FAINT)
