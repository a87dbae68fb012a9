"""The inspector in Debian's Chromium, over a site with a C module, used as a developer does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from samples.packages import Published
from tests.conftest import INSTALLATION, ROOT
from tests.support import guests
from tests.support.chromium import Chromium, chromium
from tests.support.config import config, guest, module
from tests.support.development import Development, developing
from tests.system.foreign.toolchains import Toolchains

pytestmark = [
    pytest.mark.skipif(not shutil.which("chromium"), reason="Debian's chromium is not installed"),
    pytest.mark.timeout(INSTALLATION),
]

AXE = Published("axe-core@4.14.1", "axe.min.js", "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c")
"""Rules of accessibility, by Deque."""
PICTURES = Path(os.environ.get("WAGI_GATEWAY_TEST_PICTURES") or ROOT / ".cache/pictures")
"""Where screenshots are kept."""
MAIN_C = """\
#include <stdio.h>
#include <stdlib.h>

static int share(int total, int parts) {
    fprintf(stderr, "sharing %d between %d\\n", total, parts);
    return total / parts;
}

int main(void) {
    char *query = getenv("QUERY_STRING");
    if (query && *query) return share(12, atoi(query));
    puts("Content-Type: text/html; charset=utf-8\\n");
    puts("<h1>Hello from C</h1>");
}
"""
COMMAND = "python -m ziglang cc -target wasm32-wasi -g -fno-sanitize=undefined -o app.wasm app.c".split()
GIF = bytes.fromhex("47494638396101000100800000ff0000ffffff21f90400000000002c00000000010001000002024401003b")
SCRIPT = b'<script>top.seized = 1; new Image().src = "/seized"</script>'
MARKUP = SCRIPT + b'<img src=data: onerror=\'new Image().src = "/seized"\'><a href="javascript:seized=1">x</a>'
DRAWING = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9" onload="top.seized=1">' + SCRIPT + b"</svg>"
COOKIE = "session=abcdefgh"
WAIT = guests.sleeps(2 * 10**9, b"", guests.CONTENT_TYPE + b"late\n")


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory, cache: Path, toolchains: Toolchains) -> Iterator[Development]:
    directory = tmp_path_factory.mktemp("app")
    (directory / "app.c").write_text(MAIN_C)
    wats = {
        "wait": WAIT,
        "plain": guests.says(b"Hello, world\n"),
        "image": guests.says(b"content-type: image/gif\n\n" + GIF),
        "markup": guests.says(b"content-type: text/html\nx-own: " + SCRIPT + b"\n\n" + MARKUP, stderr=MARKUP + b"\n"),
        "drawing": guests.says(b"content-type: image/svg+xml\n\n" + DRAWING),
        "umlaut": guests.says(b"content-type: text/plain\nx-accel-redirect: /\n\nh\xc3\xa9llo\n", stderr=b"one line\n"),
    }
    for name, wat in wats.items():
        (directory / f"{name}.wat").write_text(wat)
    build = {"command": COMMAND, "watch": ["*.c"]}
    text = config(module("/app", "app.wasm", build=build), *(guest(f"/{name}", name) for name in wats))
    (directory / "modules.toml").write_text(text)
    # The first use of a compiler fills its cache, which takes longer than a server may take to start.
    subprocess.run(COMMAND, cwd=directory, env=toolchains(), check=True, timeout=300)
    with developing(directory, cache=cache, **toolchains()) as running:
        yield running


@pytest.fixture(scope="module")
def browser(dev: Development, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    PICTURES.mkdir(parents=True, exist_ok=True)
    with chromium(tmp_path_factory.mktemp("profile")) as one:
        one.size(1280)
        one.go(f"{dev.inspector}/#token={dev.token}")
        one.wait("document.querySelector('#link-text')?.innerText === 'live'")
        yield one
        strays = [url for url in one.requests() if not url.startswith((dev.inspector, "about:", "data:", "blob:"))]
        assert strays == []
        assert one.faults() == []


@pytest.fixture(scope="module")
def axe(toolchains: Toolchains) -> str:
    return AXE.fetch(toolchains).read_text()


ROW = "[...document.querySelectorAll('#rows tr')].some((row) => row.innerText.includes('/wait')"


def request(dev: Development, path: str, **options: object) -> int:
    """Sends a request and returns the number of its recording."""
    response = dev.get(path, **options)
    found = [one for one in dev.api("invocations").json()["invocations"] if one["path"] == path.partition("?")[0]]
    assert response.status_code == found[-1]["status"]
    return int(found[-1]["number"])


def show(browser: Chromium, view: str, text: str) -> None:
    """Opens a view and waits for a text in it."""
    browser.evaluate(f"location.hash = '#/{view}'")
    title = "Modules" if view == "modules" else f"#{view.partition('/')[0]} " if view else "Inspector"
    browser.wait(f"document.title.startsWith('{title}')")
    browser.wait_for_text(text)


def test_an_invocation_appears_while_it_runs(dev: Development, browser: Chromium) -> None:
    show(browser, "", "")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(httpx.get, f"{dev.site}/wait", timeout=60, trust_env=False)
        browser.wait(f"{ROW} && row.innerText.includes('runs'))")
        assert not answer.done()
        assert answer.result().text == "late\n"
    browser.wait(f"{ROW} && row.innerText.includes('exit 0'))")


def test_a_trap_shows_the_line_of_c(dev: Development, browser: Chromium) -> None:
    number = request(dev, "/app?0")
    show(browser, str(number), "What went wrong")
    browser.wait_for_text("app.c:6")
    assert "return total / parts" in browser.evaluate("document.querySelector('.source .at').innerText")
    assert "sharing 12 between 0" in browser.evaluate("document.querySelector('#part-stderr').innerText")


def test_a_cookie_is_masked_until_it_is_shown(dev: Development, browser: Chromium) -> None:
    number = request(dev, "/umlaut", headers={"cookie": COOKIE, "proxy": "x"})
    show(browser, str(number), "withheld")
    assert COOKIE.partition("=")[2] not in browser.evaluate("document.body.innerText")
    browser.click("show")
    browser.wait_for_text(COOKIE)


def test_what_the_gateway_made_of_the_output(dev: Development, browser: Chromium) -> None:
    number = request(dev, "/umlaut")
    show(browser, str(number), "Worth a look")
    text = browser.evaluate("document.querySelector('main').innerText")
    assert "[object" not in text
    for part in ("no charset", "nginx", "the header block ends here", "one line", "héllo"):
        assert part in text
    number = request(dev, "/plain")
    show(browser, str(number), "What went wrong")
    assert "Hello, world" in browser.evaluate("document.querySelector('#part-stdout .broken').innerText")


def test_a_request_is_edited_and_sent_again(dev: Development, browser: Chromium) -> None:
    number = request(dev, "/app")
    show(browser, str(number), "Edit and send")
    browser.click("Edit and send")
    browser.wait("!!document.querySelector('dialog[open]')")
    browser.evaluate("document.querySelector('#edit-target').value = '/umlaut?edited=1'")
    browser.evaluate("document.querySelector('#edit-client').value = '192.0.2.7'")
    browser.click("Send", "dialog .primary")
    browser.wait_for_text("?edited=1")
    browser.wait_for_text(f"repeats #{number}")
    browser.wait("document.querySelector('#part-environment').innerText.includes('192.0.2.7')")


def test_two_requests_are_compared(dev: Development, browser: Chromium) -> None:
    first, second = request(dev, "/umlaut?a=1"), request(dev, "/umlaut?a=2")
    show(browser, f"{second}/diff/{first}", "lines differ")
    assert "QUERY_STRING=a=2" in browser.evaluate(
        "[...document.querySelectorAll('.add')].map((one) => one.innerText).join()"
    )
    browser.screenshot(PICTURES / "diff-1280.png")


def test_a_copy_as_curl_runs(dev: Development, tmp_path: Path) -> None:
    number = request(dev, "/umlaut?it's", headers={"x-own": 'a "b" $c'})
    command = dev.api(f"invocations/{number}/copy/curl").text
    answer = subprocess.run(["sh", "-c", command], capture_output=True, timeout=30, cwd=tmp_path, check=True)
    assert "héllo".encode() in answer.stdout
    latest = dev.api("invocations").json()["invocations"][-1]["number"]
    fields = dict(dev.api(f"invocations/{latest}").json()["request"]["headers"])
    assert fields["x-own"] == 'a "b" $c'


def test_the_keyboard_is_enough(dev: Development, browser: Chromium) -> None:
    request(dev, "/umlaut?one")
    number = request(dev, "/umlaut?two")
    show(browser, "", "two")
    browser.evaluate("document.activeElement.blur()")
    browser.evaluate("document.querySelectorAll('.is-focus').forEach((row) => row.classList.remove('is-focus'))")
    for _ in range(300):
        browser.press("k")
    browser.press("Enter")
    browser.wait(f"location.hash === '#/{number}'")
    browser.wait_for_text("?two")
    browser.press("j")
    browser.wait(f"location.hash === '#/{number - 1}'")
    before = len(dev.api("invocations").json()["invocations"])
    browser.press("r")
    browser.wait_for_text(f"repeats #{number - 1}")
    assert len(dev.api("invocations").json()["invocations"]) == before + 1
    browser.press("Escape")
    browser.wait("location.hash === '#/'")
    browser.press("/")
    browser.wait("document.activeElement.id === 'filter'")
    browser.press("Escape")
    browser.press("m")
    browser.wait_for_text("Limits, and what was used")
    browser.press("Tab")
    assert browser.evaluate("document.activeElement.innerText") == "Rebuild all"
    browser.press("Enter")
    browser.wait_for_text("reloaded")


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("is_dark", [False, True], ids=["light", "dark"])
def test_pages_have_no_fault_of_accessibility(
    dev: Development, browser: Chromium, axe: str, width: int, is_dark: bool
) -> None:
    trap = request(dev, "/app?0", headers={"cookie": COOKIE})
    browser.size(width, is_dark=is_dark)
    try:
        for view, text in (("", "/app"), (str(trap), "What went wrong"), ("modules", "Rebuild all")):
            show(browser, view, text)
            name = "modules" if view == "modules" else "invocation" if view else "stream"
            browser.screenshot(PICTURES / f"{name}-{width}{'-dark' if is_dark else ''}.png")
            browser.evaluate(axe)
            found = browser.evaluate(
                "axe.run().then((all) => all.violations.map((one) => [one.id, one.nodes[0].html]))"
            )
            assert found == [], json.dumps(found, indent=1)
            assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
    finally:
        browser.size(1280)


def test_an_image_is_shown(dev: Development, browser: Chromium) -> None:
    show(browser, str(request(dev, "/image")), "As it was sent")
    browser.wait("document.querySelector('.preview img')?.naturalWidth === 1")


def test_what_a_guest_prints_is_never_executed(dev: Development, tmp_path: Path) -> None:
    with chromium(tmp_path) as other:
        other.size(1280)
        other.go(f"{dev.inspector}/#token={dev.token}")
        other.wait_for_text("live")
        field = {"x-own": SCRIPT.decode(), "cookie": f"a={SCRIPT.decode()}"}
        show(other, str(request(dev, "/markup?<script>", headers=field)), "As it was sent")
        other.click("Preview", "summary")
        other.wait("document.querySelector('iframe')?.srcdoc.includes('seized')")
        show(other, str(request(dev, "/drawing")), "As it was sent")
        other.wait("document.querySelector('.preview img')?.naturalWidth === 9")
        show(other, "", "/markup")
        assert other.evaluate("[typeof seized, document.querySelectorAll('body script').length]") == ["undefined", 0]
        assert [url for url in other.requests() if url.endswith("/seized")] == []


def test_a_guest_s_page_reads_and_changes_nothing(dev: Development, tmp_path: Path) -> None:
    before = dev.api("modules").json()["modules"][0]["build"]["began"]
    with chromium(tmp_path) as other:
        other.go(f"{dev.site}/umlaut")
        other.wait_for_text("h")
        headers = json.dumps({"x-inspector-token": dev.token})
        for path, method in (("invocations", "GET"), ("rebuild", "POST")):
            call = f"fetch('{dev.inspector}/api/{path}', {{method: '{method}', headers: {headers}}})"
            assert other.evaluate(f"{call}.then(() => 'answered', () => 'refused')") == "refused"
        other.evaluate(f"fetch('{dev.inspector}/api/rebuild', {{method: 'POST', mode: 'no-cors'}}).catch(() => null)")
    assert dev.api("modules").json()["modules"][0]["build"]["began"] == before


def test_a_page_loads_itself_anew(tmp_path: Path, cache: Path) -> None:
    pages = [guests.says(b"content-type: text/html\n\n<h1>%s</h1>" % text) for text in (b"first", b"second")]
    (tmp_path / "src.wat").write_text(pages[0])
    build = {"command": ["cp", "src.wat", "page.wat"], "watch": ["src.wat"]}
    (tmp_path / "modules.toml").write_text(config(module("/page", "page.wat", build=build)))
    with developing(tmp_path, "--live", cache=cache) as running, chromium(tmp_path / "profile") as other:
        other.go(f"{running.site}/page")
        other.wait_for_text("first")
        (tmp_path / "src.wat").write_text("(broken")
        other.wait_for_text("The configuration cannot be served")
        (tmp_path / "src.wat").write_text(pages[1])
        other.wait_for_text("second")


def test_a_page_without_token_shows_nothing(dev: Development, tmp_path: Path) -> None:
    with chromium(tmp_path) as other:
        other.go(dev.inspector)
        other.wait_for_text("needs its token")
        assert "/app" not in other.evaluate("document.body.innerText")
