"""What PHP's scripts do with requests, forms, sessions, uploads and errors, and how they end."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import Server, running
from tests.support.config import config, module
from tests.support.php import BUILD

pytestmark = pytest.mark.timeout(BUILD)
SCRIPTS = {
    "site/index.php": '<?php header("X-Made-By: php"); echo "index of ", $_SERVER["DOCUMENT_ROOT"];',
    "site/hello.php": '<?php echo "hello";',
    "site/style.css": "a { color: red }",
    "site/form.php": """<?php echo json_encode([$_SERVER["REQUEST_METHOD"], $_GET, $_POST,
        $_SERVER["PATH_INFO"] ?? null, mb_strlen($_GET["name"] ?? ""), ctype_digit("7"),
        filter_var("a@b.example", FILTER_VALIDATE_EMAIL)]);""",
    "site/cookie.php": """<?php setcookie("b", "2 3", ["path" => "/", "httponly" => true]); setcookie("c", "4");
        echo $_COOKIE["a"];""",
    "site/session.php": '<?php session_start(); echo $_SESSION["n"] = ($_SESSION["n"] ?? 0) + 1;',
    "site/upload.php": """<?php $f = $_FILES["file"]; $to = "/data/" . basename($f["name"]);
        $is_moved = move_uploaded_file($f["tmp_name"], $to);
        echo $f["error"], " ", dirname($f["tmp_name"]), " ", $is_moved ? "moved" : "lost";""",
    "site/lock.php": '<?php echo file_put_contents("/data/log", "line\\n", FILE_APPEND | LOCK_EX);',
    "site/gone.php": '<?php http_response_code(404); echo str_repeat("own page ", 5000); exit(255);',
    "site/broken.php": '<?php http_response_code(500); echo "before "; throw new Exception("it is broken");',
    "site/syntax.php": "<?php this is no PHP",
    "site/thrown.php": '<?php throw new Exception("it is broken");',
    "site/loop.php": "<?php for (;;);",
    "site/memory.php": """<?php ini_set("memory_limit", "-1"); for ($a = [];;) $a[] = str_repeat("x", 1 << 20);""",
    "site/blocks.php": """<?php for ($i = 0; $i < 100000; $i++) $a[] = [$i, "x$i"];
        for ($i = 0; $i < 1000; $i++) { $b[] = str_repeat("y", 3500 + 20 * $i); if ($i % 3 == 0) unset($b[$i >> 1]); }
        $s = ""; for ($i = 0; $i < 3000; $i++) $s .= str_repeat(chr(65 + $i % 26), 3000);
        $c = [$s, substr($s, 0, 100)]; unset($b, $s); $c[] = str_repeat("z", 5000000);
        foreach ($a as $i => [$j, $x]) if ($i !== $j || $x !== "x$i") exit("corrupt");
        echo md5(implode($c));""",
    "site/temporary.php": """<?php $t = sys_get_temp_dir(); $before = count(scandir($t)) - 2;
        file_put_contents(tempnam($t, "t"), "kept?"); mkdir("$t/d");
        echo $before, " ", count(scandir($t)) - 2, " ", file_put_contents("/dev/null", "three");""",
    "site/unique.php": '<?php echo bin2hex(random_bytes(8)), " ", mt_rand(), " ", uniqid();',
    "front/index.php": '<?php echo implode(" ", [$_SERVER["REQUEST_URI"], $_SERVER["SCRIPT_NAME"], $_GET["a"] ?? ""]);',
    "front/logo.svg": "<svg/>",
    "settings/php.ini": "display_errors = 0\nlog_errors = 1\n",
}
VOLUMES = {"/sessions": {"temporary": "sessions"}, "/data": "data"}
CONFIG = config(
    module("/...", "php-cgi.wasm", document_root="site", volumes=VOLUMES, limits={"memory": "128MiB", "time": "60s"}),
    module("/brief/...", "php-cgi.wasm", document_root="site", limits={"time": "3s"}),
    module(
        "/production/...",
        "php-cgi.wasm",
        document_root="site",
        environment={"PHPRC": "/settings"},
        volumes={"/settings": {"path": "settings", "read_only": True}},
        limits={"memory": "128MiB"},
    ),
    module("/front/...", "php-cgi.wasm", document_root={"path": "front", "front_controller": "index.php"}),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, php_cgi: Path) -> Path:
    folder = tmp_path_factory.mktemp("site")
    (folder / "php-cgi.wasm").symlink_to(php_cgi)
    for name in ("site", "front", "data", "settings"):
        (folder / name).mkdir()
    for name, script in SCRIPTS.items():
        (folder / name).write_text(script)
    return folder


@pytest.fixture(scope="module")
def site(folder: Path, cache: Path) -> Iterator[Server]:
    with running(folder, CONFIG, cache=cache) as server:
        yield server


@pytest.mark.parametrize(
    ("path", "content", "content_type"),
    [
        ("/", "index of /app", "text/html; charset=UTF-8"),
        ("/hello.php", "hello", "text/html; charset=UTF-8"),
        ("/style.css", "a { color: red }", "text/css; charset=utf-8"),
        ("/front/logo.svg", "<svg/>", "image/svg+xml"),
        ("/front/shop/7?a=b", "/front/shop/7?a=b /front/index.php b", "text/html; charset=UTF-8"),
    ],
)
def test_scripts_and_files(site: Server, path: str, content: str, content_type: str) -> None:
    response = site.get(path)
    assert (response.status_code, response.text, response.headers["content-type"]) == (200, content, content_type)


def test_a_form(site: Server) -> None:
    response = site.client.post(f"{site.url}/form.php/more/x?name=%C3%A9t%C3%A9", data={"x": "1", "y[]": ["2", "3"]})
    expected = ["POST", {"name": "été"}, {"x": "1", "y": ["2", "3"]}, "/more/x", 3, True, "a@b.example"]
    assert response.json() == expected
    assert site.get("/form.php?x[a]=1").json()[:3] == ["GET", {"x": {"a": "1"}}, []]


def test_cookies(site: Server) -> None:
    response = site.get("/cookie.php", headers={"Cookie": "a=%C3%A9; b=1"})
    assert response.text == "é"
    assert response.headers.get_list("set-cookie") == ["b=2%203; path=/; HttpOnly", "c=4"]


def test_a_session_is_of_one_client(site: Server) -> None:
    with httpx.Client(trust_env=False, timeout=60) as one, httpx.Client(trust_env=False, timeout=60) as other:
        url = f"{site.url}/session.php"
        assert [client.get(url).text for client in (one, one, other, one)] == ["1", "2", "1", "3"]


def test_an_upload_is_moved(site: Server, folder: Path) -> None:
    content = bytes(range(256)) * 1024
    response = site.client.post(f"{site.url}/upload.php", files={"file": ("../a.bin", content)})
    assert response.text == "0 /tmp moved"
    assert (folder / "data/a.bin").read_bytes() == content


def test_a_file_is_locked(site: Server) -> None:
    assert site.get("/lock.php").text == "5"


@pytest.mark.parametrize(
    ("path", "status", "part"),
    [
        ("/gone.php", 404, "own page " * 5000),
        ("/broken.php", 500, "before "),
        ("/thrown.php", 200, "it is broken"),  # as PHP does it with display_errors
        ("/syntax.php", 200, "syntax error"),
        ("/production/broken.php", 500, "before "),
        ("/production/thrown.php", 500, ""),
    ],
)
def test_an_error_page_is_whole(site: Server, path: str, status: int, part: str) -> None:
    response = site.get(path)
    assert (response.status_code, response.headers["content-type"]) == (status, "text/html; charset=UTF-8")
    assert part in response.text


def test_errors_are_logged(site: Server) -> None:
    response = site.get("/production/thrown.php")
    assert response.content == b""
    site.wait_for_log(rf"PHP Fatal error:  Uncaught Exception: it is broken.*id={response.headers['x-request-id']}")


def test_a_missing_script(site: Server) -> None:
    assert site.get("/none.php").status_code == 404


def test_a_loop_ends_at_its_time(site: Server) -> None:
    assert site.get("/brief/loop.php").status_code == 504
    assert site.get("/hello.php").text == "hello"


def test_memory_ends_at_its_limit(site: Server) -> None:
    assert "Out of memory" in site.get("/memory.php").text
    assert site.get("/production/memory.php").status_code == 500
    assert site.get("/hello.php").text == "hello"


def test_memory_of_many_blocks(site: Server) -> None:
    long = b"".join(bytes([65 + number % 26]) * 3000 for number in range(3000))
    expected = hashlib.md5(long + long[:100] + b"z" * 5_000_000, usedforsecurity=False).hexdigest()
    assert site.get("/blocks.php").text == expected


def test_no_file_of_tmpdir_is_left(site: Server) -> None:
    assert [site.get("/temporary.php").text for _ in range(3)] == ["0 2 5"] * 3


def test_no_randomness_is_repeated(site: Server) -> None:
    first, second = (site.get("/unique.php").text.split() for _ in range(2))
    assert [a != b for a, b in zip(first, second, strict=True)] == [True] * 3
