"""The page of a report in Chromium: hostile names, widths, colours, keyboard, structure."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from chromium import DESKTOP, LOWEST_CONTRAST, PHONE, chromium, opened
from report_stores import CLASSES, cell_sample, pack
from zarrfeed_tools.report.collection import collect_facts
from zarrfeed_tools.report.page import write_page
from zarrfeed_tools.report.sampled import look_at_samples

BAD = (
    "<script>window.hacked=1</script>",
    "</style></script><script>window.hacked=2</script>",
    '"><img src=x onerror=window.hacked=3>',
    "' onfocus=window.hacked=4 autofocus x='",
    "javascript:window.hacked=5",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt; &amp;",
    "\u202egnp.exe\x1b[31m",
    "a" * 900,
    "data:image/png;base64,x onerror=window.hacked=6",
)


def report(store, out):
    facts = collect_facts(store)
    write_page(facts, look_at_samples(facts, store, lambda *step: None), out)
    return out


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A report with every section, whose names are all hostile."""
    folder = tmp_path_factory.mktemp("report")
    store = folder / "<img src=x onerror=window.hacked=7>.zarr"
    classes = [BAD[0], BAD[2], BAD[5]]
    samples = {name: cell_sample(number) for number, name in enumerate(BAD)}
    samples["again " + BAD[1]] = cell_sample(1)  # a duplicate
    samples["other " + BAD[2]] = cell_sample(2) | {"mask": np.full((48, 64), 1, np.uint8)}
    samples["black " + BAD[3]] = {
        "image": np.zeros((48, 64, 3), np.uint8),
        "mask": np.zeros((48, 64), np.uint8),
    }
    samples[BAD[3]]["mask"][40, 10] = 2  # an island
    pack(store, "train", samples, classes=classes)
    (store / "train").rename(store / "<b onclick=window.hacked=8>")
    val = {BAD[0]: cell_sample(0), BAD[4]: cell_sample(44)}
    pack(store, "val", val, classes=classes)
    return report(store, folder / "report.html")


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """A report of volumes in which nothing is suspicious."""
    folder = tmp_path_factory.mktemp("clean")
    cases = {f"case_{number}": cell_sample(number, (10 + number, 40, 44)) for number in range(5)}
    pack(folder / "ct.zarr", "train", cases, tile=(8, 16, 16), classes=list(CLASSES))
    return report(folder / "ct.zarr", folder / "report.html")


VIEWS = list(itertools.product([DESKTOP, PHONE], ["light", "dark"]))
IDS = [f"{size['width']} {scheme}" for size, scheme in VIEWS]


@pytest.mark.parametrize(("size", "scheme"), VIEWS, ids=IDS)
@pytest.mark.parametrize("which", ["hostile", "clean"])
def test_a_page_fits_is_legible_and_asks_for_nothing(which, size, scheme, browser, request):
    file = request.getfixturevalue(which)
    with opened(browser, file, size, scheme) as found:
        page = found.page
        page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        contrast, text = page.evaluate(LOWEST_CONTRAST)
        assert contrast >= 4.5, text
        broken = "[...document.images].filter((image) => !image.naturalWidth).length"
        assert page.evaluate(broken) == 0
        assert found.messages == []
        assert found.requested == [file.as_uri()]


def test_no_name_becomes_a_script_or_an_element(hostile, browser):
    with opened(browser, hostile, DESKTOP, "light") as found:
        page = found.page
        for button in page.query_selector_all("button, a, summary, th, .key"):
            button.dispatch_event("mouseover")
        assert page.evaluate("window.hacked") is None
        assert page.query_selector_all("[onclick], [onerror], [onfocus], [autofocus], b i") == []
        assert len(page.query_selector_all("script")) == 1
        text = page.inner_text("main")
        for name in (*BAD[:7], BAD[9]):
            assert name in text
        assert r"\u202egnp.exe\x1b[31m" in text
        assert "a" * 300 + "…" in text
        assert "49" not in page.inner_text("#classes")


def test_the_policy_lets_no_other_script_run(hostile, browser):
    with opened(browser, hostile, DESKTOP, "light") as found:
        found.page.evaluate(
            """() => {
              const script = document.createElement("script");
              script.textContent = "window.hacked = 9";
              document.body.append(script);
              const image = "<img src=x onerror='window.hacked=9'>";
              document.body.insertAdjacentHTML("beforeend", image);
            }"""
        )
        found.page.wait_for_timeout(100)
        assert found.page.evaluate("window.hacked") is None
        assert any("Content Security Policy" in message for message in found.messages)


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_everything_works_by_the_keyboard(size, hostile, browser):
    with opened(browser, hostile, size, "light") as found:
        page = found.page
        usable = "a[href], button, summary, [tabindex='0']"
        wanted = page.evaluate(
            f'[...document.querySelectorAll("{usable}")]'
            ".filter((each) => each.checkVisibility()).length"
        )
        reached = []
        for _ in range(wanted):
            page.keyboard.press("Tab")
            seen = page.evaluate(
                """() => {
                  const element = document.activeElement, style = getComputedStyle(element);
                  element.dataset.reached = "yes";
                  return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
                }"""
            )
            reached.append(seen)
        assert all(reached)
        assert len(page.query_selector_all("[data-reached]")) == wanted
        pressed = "[...document.querySelectorAll('button.thumb[aria-pressed=true]')].length"
        thumbs = page.evaluate(pressed)
        assert thumbs > 10
        page.focus("button.thumb")
        page.keyboard.press("Space")
        assert page.evaluate(pressed) == thumbs - 1
        assert not page.is_visible("button.thumb[aria-pressed=false] .mask")
        page.keyboard.press("Enter")
        assert page.evaluate(pressed) == thumbs
        page.focus("#all-masks")
        page.keyboard.press("Enter")
        assert page.evaluate(pressed) == 0
        assert page.get_attribute("#all-masks", "aria-pressed") == "false"
        page.click("button.thumb")
        assert page.get_attribute("#all-masks", "aria-pressed") == "true"


@pytest.mark.parametrize("which", ["hostile", "clean"])
def test_a_page_has_landmarks_headings_names_and_working_links(which, browser, request):
    with opened(browser, request.getfixturevalue(which), DESKTOP, "light") as found:
        page = found.page
        assert [len(page.query_selector_all(each)) for each in ("h1", "main", "nav", "header")] == [
            1, 1, 1, 1,
        ]  # fmt: skip
        levels = [int(each) for each in page.eval_on_selector_all(
            "h1, h2, h3, h4", "found => found.map((each) => each.tagName[1])"
        )]  # fmt: skip
        assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
        ids = page.eval_on_selector_all("[id]", "found => found.map((each) => each.id)")
        assert len(ids) == len(set(ids))
        links = page.eval_on_selector_all("a", "found => found.map((a) => a.getAttribute('href'))")
        assert {link.removeprefix("#") for link in links} <= set(ids)
        labelled = page.eval_on_selector_all(
            "[aria-labelledby]",
            "found => found.map((each) => each.getAttribute('aria-labelledby'))",
        )
        assert set(labelled) <= set(ids)
        assert page.query_selector_all("img:not([alt])") == []
        assert page.query_selector_all("section:not([aria-labelledby])") == []
        assert page.query_selector_all("svg:not([aria-hidden])") == []
        assert page.evaluate("document.documentElement.lang") == "en"
        assert page.title().endswith("zarrfeed report")


def test_a_page_says_what_was_found_or_that_nothing_was(hostile, clean, browser):
    with opened(browser, hostile, DESKTOP, "light") as found:
        look = found.page.inner_text("#look")
        for finding in ("Leakage", "exact duplicates", "several masks", "one value", "islands"):
            assert finding in look
        ids = set(found.page.eval_on_selector_all("section", "all => all.map((each) => each.id)"))
        assert {"leakage", "duplicates", "relabelled", "suspicious", "classes", "storage"} <= ids
    with opened(browser, clean, DESKTOP, "light") as found:
        look = found.page.inner_text("#look")
        assert "Nothing stands out" in look
        assert "exact duplicates" in look
        assert found.page.query_selector_all(".notices") == []
        assert "z = " in found.page.inner_text("#samples")
