"""The playground as people meet it: in a headless Chromium, on an application without a model."""

import re
import shutil
import threading

import numpy as np
import pytest
from werkzeug.serving import WSGIRequestHandler, make_server

from serve.app import create_app, serving_of
from serve.playground import playground
from serve.settings import Settings
from tests.unit.serve.fakes import FakeTranslator

browsers = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
expect = browsers.expect

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
if CHROMIUM is None:
    pytest.skip(f"there is no browser on this machine; looked for {', '.join(NAMES)}", allow_module_level=True)

MARKUP = "<img/src=x/onerror=document.title='run'>"
REFUSED = re.compile("Failed to load resource")  # what Chromium itself says of an answer that is an error


class Silent(WSGIRequestHandler):
    def log(self, type, message, *args):
        pass


class Site:
    """The application at a port; its model is there once `release` is called."""

    def __init__(self):
        self.translator = FakeTranslator()
        self.loading = threading.Event()
        self.ready = threading.Event()
        app = create_app(self.load, Settings())
        self.service = serving_of(app).service
        if "playground" not in app.blueprints:
            app.register_blueprint(playground(lambda: self.service.translator))
        self.service.start(on_ready=self.ready.set, on_load_failure=print)
        self.server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Silent)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.port}/"

    def load(self):
        self.loading.wait(60)
        return self.translator

    def release(self):
        self.loading.set()
        assert self.ready.wait(10)
        return self

    def close(self):
        self.loading.set()
        self.translator.gate.set()
        self.server.shutdown()
        self.server.server_close()
        self.service.stop(timeout=5)


@pytest.fixture(scope="module")
def chromium():
    expect.set_options(timeout=15_000)  # a busy machine
    with browsers.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def new_site():
    sites = []

    def create():
        sites.append(Site())
        return sites[-1]

    yield create
    for site in sites:
        site.close()


@pytest.fixture
def site(new_site):
    return new_site().release()


@pytest.fixture
def open_page(chromium):
    """Opens pages that may complain of nothing but answers that are errors."""
    contexts, complaints = [], []

    def open_(url, **options):
        contexts.append(chromium.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(15_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text))
        page.goto(url)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert [text for text in complaints if not REFUSED.match(text)] == []


@pytest.fixture
def page(open_page, site):
    return open_page(site.url)


def translate(page, source):
    page.locator("#source").fill(source)
    page.locator("#source").press("Control+Enter")


def answer_with(page, **answer):
    page.route("**/invocations", lambda route: route.fulfill(json={"predictions": [answer]}))


def hypothesis(target, matrix, score=0.5, source="a b c d"):
    tokens = {"source_tokens": source.split()[: len(matrix[0])], "target_tokens": target.split()}
    return {"target": target, "score": score, "matrix": matrix, **tokens}


def texts(page, selector):
    return page.locator(selector).all_text_contents()


def point_at(page, row, column, act):
    """Moves to the middle of a cell."""
    frame = page.locator("svg .frame").bounding_box()
    x, y = frame["x"] + (column + 0.5) * 22, frame["y"] + (row + 0.5) * 22
    act(x, y)


# -- a translation


def test_a_translation_comes_with_the_other_hypotheses_their_scores_and_the_attention(page):
    translate(page, "a b Zürich")
    expect(page.locator("#translation")).to_have_text("Zürich b a")
    expect(page.locator("#standing")).to_contain_text("Done in")
    assert texts(page, ".hypothesis .score") == ["0.000", "1.000", "2.000"]
    assert texts(page, ".hypothesis .text") == ["Zürich b a"] * 3
    assert texts(page, "svg text") == ["a", "b", "Zürich", "Zürich", "b", "a"]  # above, then at the side
    expect(page.locator("svg .heat")).to_have_count(3)


def test_the_button_translates_as_well(page):
    page.fill("#source", "a")
    page.get_by_role("button", name="Translate").click()
    expect(page.locator("#translation")).to_have_text("a")


def test_the_options_of_the_model_are_shown_and_sent(page, site):
    assert [page.input_value(f"#{name}") for name in ("beam-size", "n-best", "length-penalty")] == ["3", "3", "1"]
    with page.expect_request("**/invocations") as sent:
        translate(page, "a")
    assert sent.value.post_data_json == {
        "instances": [
            {
                "data": "a",
                "configuration": {
                    "attention_matrix": True,
                    "tokens": True,
                    "scores": True,
                    "replace_unknown": False,
                    "beam_size": 3,
                    "n_best": 3,
                    "length_penalty_alpha": 1,
                },
            }
        ]
    }
    assert (sent.value.method, sent.value.headers["content-type"]) == ("POST", "application/json")


def test_changed_options_are_sent_and_empty_ones_left_to_the_model(page, site):
    page.get_by_label("Translations").fill("")
    page.get_by_label("Beam size").fill("2")
    page.get_by_label("Length penalty").fill("0.5")
    page.get_by_label("Unknown words").check()
    translate(page, "a unseen")
    expect(page.locator("#translation")).to_have_text("unseen a")
    expect(page.locator(".hypothesis")).to_have_count(1)
    expect(page.locator("#hypotheses")).to_be_hidden()
    [options] = site.translator.options_of_calls[-1]
    assert (options.beam_size, options.n_best, options.length_penalty_alpha) == (2, 1, 0.5)


def test_a_smaller_beam_lowers_the_number_of_translations(page):
    page.get_by_label("Beam size").fill("2")
    translate(page, "a")
    expect(page.locator(".hypothesis")).to_have_count(2)


def test_a_chosen_hypothesis_shows_its_own_attention(page):
    found = [hypothesis("x y", [[1, 0], [0, 1]]), hypothesis("z", [[0.25, 0.75]], score=None)]
    answer_with(page, **found[0], n_best=found)
    translate(page, "a b")
    expect(page.locator("svg text")).to_have_text(["a", "b", "x", "y"])
    page.locator(".hypothesis input").nth(0).focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("svg text")).to_have_text(["a", "b", "z"])
    assert texts(page, ".score") == ["0.500", "\u2013"]
    expect(page.locator("#translation")).to_have_text("x y")


def test_an_empty_source_has_an_empty_translation_and_no_attention(page):
    translate(page, " ")
    expect(page.locator("#translation")).to_have_text("(empty)")
    expect(page.locator("#attention")).to_be_hidden()


def test_a_model_whose_beam_is_one_has_one_translation(open_page, site):
    site.translator.options = type(site.translator.options)(beam_size=1)
    page = open_page(site.url)
    translate(page, "a b")
    expect(page.locator("#score")).to_have_text("Score 0.000; lower is better.")
    expect(page.locator("#hypotheses")).to_be_hidden()


# -- the heat map


@pytest.fixture
def heat_map(page):
    """Four target and three source tokens with the weights 0.01, 0.02, … in reading order."""
    answer_with(page, **hypothesis("w x y z", (np.arange(1, 13).reshape(4, 3) / 100).tolist()))
    translate(page, "a b c")
    expect(page.locator("svg")).to_be_visible()
    return page.locator("#weight")


def test_pointing_at_a_cell_reads_its_weight(page, heat_map):
    point_at(page, 0, 0, page.mouse.move)
    expect(heat_map).to_have_text("w ← a: 0.010")
    point_at(page, 3, 1, page.mouse.move)
    expect(heat_map).to_have_text("z ← b: 0.110")
    assert texts(page, "svg text.on") == ["b", "z"]


def test_tapping_a_cell_reads_its_weight(open_page, site):
    page = open_page(site.url, has_touch=True, viewport={"width": 375, "height": 700})
    answer_with(page, **hypothesis("x y", [[0.25, 0.75], [0.5, 0.5]]))
    translate(page, "a b")
    page.locator("svg").scroll_into_view_if_needed()
    point_at(page, 0, 1, page.touchscreen.tap)
    expect(page.locator("#weight")).to_have_text("x ← b: 0.750")


@pytest.mark.parametrize(
    ("keys", "read"),
    [
        ([], "w ← a: 0.010"),
        (["ArrowRight", "ArrowDown", "ArrowDown"], "y ← b: 0.080"),
        (["ArrowDown", "ArrowUp", "ArrowUp", "ArrowLeft"], "w ← a: 0.010"),
        (["End", "ArrowRight", "ArrowDown"], "x ← c: 0.060"),
        (["ArrowDown"] * 5 + ["End", "Home"], "z ← a: 0.100"),
    ],
)
def test_the_arrow_keys_read_the_weights_and_stay_in_the_picture(page, heat_map, keys, read):
    for _ in range(10):  # past the form
        page.keyboard.press("Tab")
        if page.locator("svg:focus").count():
            break
    for key in keys:
        page.keyboard.press(key)
    expect(heat_map).to_have_text(read)


def test_the_columns_are_the_tokens_that_the_server_finds(page):
    # Neither the byte order mark nor a zero-width blank separates tokens; a file separator and a no-break space do.
    source = "a\x1cb\ufeffb c\u200bc\u00a0d\u3000e"
    translate(page, source)
    expect(page.locator("svg .heat")).to_have_count(5)
    assert texts(page, "svg text")[:5] == source.split() == ["a", "b\ufeffb", "c\u200bc", "d", "e"]


def test_the_labels_are_the_tokens_that_the_server_tells(page):
    """Those of sub-words are not what the text has between blanks."""
    answer = hypothesis("\u2581to ken", [[0.5, 0.5], [0.1, 0.9]], source="\u2581wo rt")
    answer_with(page, **{**answer, "target": "token"})
    translate(page, "wort")
    expect(page.locator("#translation")).to_have_text("token")
    expect(page.locator("svg text")).to_have_text(["\u2581wo", "rt", "\u2581to", "ken"])


def test_of_a_long_pair_the_beginning_is_drawn(page):
    answer_with(page, **hypothesis(" ".join(["x"] * 90), [[0.0111] * 100] * 90, source="a " * 100))
    translate(page, " ".join(["a"] * 100))
    expect(page.locator("#cut")).to_have_text("Of 90 \u00d7 100 tokens the first 80 \u00d7 80 are drawn.")
    expect(page.locator("svg .heat")).to_have_count(6400)


# -- errors and waiting


def test_an_error_of_the_server_is_shown_and_the_next_translation_hides_it(page):
    page.get_by_label("Beam size").fill("70")
    translate(page, "a")
    expect(page.get_by_role("alert")).to_contain_text("Error 400 (bad_request)")
    expect(page.get_by_role("alert")).to_contain_text("beam_size: 70 is not in 1 … 7 (the target vocabulary has 8")
    expect(page.locator("#result")).to_be_hidden()
    page.get_by_label("Beam size").fill("3")
    translate(page, "a")
    expect(page.locator("#translation")).to_have_text("a")
    expect(page.locator("#problem")).to_be_hidden()


@pytest.mark.parametrize(
    ("body", "shown"),
    [("<h1>Bad gateway</h1>", "<h1>Bad gateway</h1>"), ('{"error": "odd"}', '{"error": "odd"}'), ("", "Bad Gateway")],
)
def test_an_error_of_somebody_else_is_shown_as_its_text(page, body, shown):
    page.route("**/invocations", lambda route: route.fulfill(status=502, body=body))
    translate(page, "a")
    expect(page.locator("#problem h2")).to_have_text("Error 502")
    expect(page.locator("#problem p")).to_have_text(shown)


def test_a_server_that_is_gone_is_told(page):
    page.route("**/invocations", lambda route: route.abort())
    translate(page, "a")
    expect(page.locator("#problem")).to_contain_text("The server cannot be reached; is it still running?")
    expect(page.get_by_role("button", name="Translate")).to_be_enabled()


def test_an_answer_that_is_no_translation_is_told_and_ends_the_waiting(page):
    page.route("**/invocations", lambda route: route.fulfill(body="<html>"))
    translate(page, "a")
    expect(page.locator("#problem h2")).to_have_text("Error")
    expect(page.get_by_role("button", name="Translate")).to_be_enabled()


def test_a_long_wait_shows_progress_and_can_be_stopped(page, site):
    site.translator.gate.clear()
    translate(page, "a b")
    expect(page.locator("#standing")).to_have_text(re.compile(r"^Translating for 1 s …$"))
    expect(page.locator("#progress")).to_be_visible()
    expect(page.get_by_role("button", name="Translate")).to_be_disabled()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#standing")).to_have_text(re.compile(r"^Stopped after \d+\.\d s$"))
    expect(page.locator("#progress")).to_be_hidden()
    expect(page.locator("#problem")).to_be_hidden()
    site.translator.gate.set()
    translate(page, "c")
    expect(page.locator("#translation")).to_have_text("c")
    expect(page.locator("#stop")).to_be_hidden()


def test_the_keys_begin_no_second_request_while_one_is_under_way(page, site):
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    site.translator.gate.clear()
    translate(page, "a")
    page.locator("#source").press("Control+Enter")
    site.translator.gate.set()
    expect(page.locator("#translation")).to_have_text("a")
    assert len(requests) == 1


def test_the_page_waits_for_the_model(open_page, new_site):
    site = new_site()
    page = open_page(site.url)
    expect(page.locator("#standing")).to_have_text("The model is still being loaded …")
    expect(page.locator("#source")).to_be_disabled()
    expect(page.locator("#progress")).to_be_visible()
    site.release()
    expect(page.locator("#source")).to_be_enabled()
    expect(page.locator("#progress")).to_be_hidden()
    translate(page, "a")
    expect(page.locator("#translation")).to_have_text("a")


# -- examples


def test_the_example_and_what_was_translated_can_be_gone_back_to(page):
    assert texts(page, "#examples button") == ["a b c Zürich"]
    for source in ("a", "b", "a"):
        translate(page, source)
        expect(page.locator("#translation")).to_have_text(source)
        expect(page.locator("#examples button").nth(1)).to_have_text(source)
    assert texts(page, "#examples button") == ["a b c Zürich", "a", "b"]
    page.get_by_role("button", name="Zürich").click()
    expect(page.locator("#translation")).to_have_text("Zürich c b a")
    expect(page.locator("#source")).to_have_value("a b c Zürich")
    assert texts(page, "#examples button") == ["a b c Zürich", "a", "b"]


# -- safety and looks


def test_markup_of_sources_translations_and_errors_stays_text(page):
    page.get_by_label("Unknown words").check()
    translate(page, f"a {MARKUP}")
    expect(page.locator("#translation")).to_have_text(f"{MARKUP} a")
    point_at(page, 0, 1, page.mouse.move)
    expect(page.locator("#weight")).to_have_text(f"{MARKUP} ← {MARKUP}: 1.000")
    expect(page.locator("#examples button").nth(1)).to_have_text(f"a {MARKUP}")
    error = {"error": {"code": MARKUP, "message": MARKUP, "location": MARKUP}}
    page.route("**/invocations", lambda route: route.fulfill(status=400, json=error))
    translate(page, "a")
    expect(page.locator("#problem p")).to_have_text(MARKUP)
    assert page.locator("img").count() == 0
    assert page.title() == "Playground"


def test_the_browser_lets_no_text_become_markup_or_code(chromium, site):
    page = chromium.new_page()  # it does complain
    page.goto(site.url)
    for attempt in ("document.body.innerHTML = '<b>b</b>'", "document.createElement('script').text = 'x'"):
        with pytest.raises(browsers.Error, match=r"Trusted(HTML|Script)"):
            page.evaluate(f"() => {{ {attempt} }}")
    page.close()


@pytest.mark.parametrize("width", [320, 375, 1180])
def test_nothing_is_wider_than_the_window(open_page, site, width):
    page = open_page(site.url, viewport={"width": width, "height": 700})
    page.get_by_label("Unknown words").check()
    for source in ("x" * 300 + " b " * 60, "a"):
        translate(page, source)
        expect(page.locator("#examples button").nth(1)).to_have_attribute("title", source)
        assert page.evaluate("document.documentElement.scrollWidth") == width
    page.route("**/invocations", lambda route: route.fulfill(status=400, body="x" * 400))
    translate(page, "a")
    expect(page.locator("#problem p")).to_have_text("x" * 400)
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_it_is_dark_where_the_system_is(open_page, site):
    shades = {
        scheme: open_page(site.url, color_scheme=scheme).evaluate("getComputedStyle(document.body).backgroundColor")
        for scheme in ("light", "dark")
    }
    assert shades == {"light": "rgb(246, 247, 249)", "dark": "rgb(15, 20, 27)"}
