"""SQLite in PHP: a database that guests share, stopped guests, databases in memory and on read-only volumes."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import Server, running, wait_until
from tests.support.config import config, module
from tests.support.php import BUILD

pytestmark = pytest.mark.timeout(BUILD)
OPEN = '<?php $db = new PDO("sqlite:/data/{name}.db");'
SCRIPTS = {
    "guests.php": OPEN.format(name="guests")
    + """$db->exec("CREATE TABLE IF NOT EXISTS guest (name TEXT)");
        if (isset($_POST["name"])) {
          $db->prepare("INSERT INTO guest VALUES (?)")->execute([$_POST["name"]]);
          header("Location: guests.php", true, 303);
          exit;
        }
        foreach ($db->query("SELECT rowid, name FROM guest ORDER BY rowid") as [$id, $name])
          echo "<li>$id ", htmlspecialchars($name);""",
    "count.php": OPEN.format(name="count")
    + """$db->exec("CREATE TABLE IF NOT EXISTS count (n)");
        $db->beginTransaction();
        $n = $db->query("SELECT n FROM count")->fetchColumn();
        $db->exec($n === false ? "INSERT INTO count VALUES (1)" : "UPDATE count SET n = " . $n + 1);
        $db->commit();
        echo $n + 1;""",
    # Pages that do not fit into the cache are written before the end of the transaction.
    "begun.php": OPEN.format(name="begun")
    + """$db->exec("PRAGMA cache_size = 5; CREATE TABLE IF NOT EXISTS t (x)");
        $db->beginTransaction();
        $rows = "WITH RECURSIVE r (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 100) SELECT i FROM r";
        $db->exec("INSERT INTO t SELECT randomblob(3000) FROM ($rows)");
        ini_set("display_errors", "0");
        switch ($_GET["end"]) {
          case "exit": exit("exit");
          case "throw": throw new Exception("thrown");
          case "memory": str_repeat("x", 1 << 28);
          case "loop": file_put_contents("/data/looping", ""); for (;;);
          case "sleep": file_put_contents("/data/asleep", ""); sleep(6); // then it has to renew its name
        }
        try { $db->commit(); echo "committed"; } catch (PDOException $e) { echo $e->getMessage(); }""",
    "rows.php": OPEN.format(name="begun")
    + """$db->exec("PRAGMA busy_timeout = " . ($_GET["wait"] ?? 60000));
        try {
          echo $db->query("SELECT count(*) FROM t")->fetchColumn(), " ";
          echo $db->query("PRAGMA integrity_check")->fetchColumn();
        }
        catch (PDOException $e) { echo $e->getMessage(); }""",
    "connections.php": """<?php
        $one = new SQLite3("/data/connections.db"); $other = new SQLite3("/data/connections.db");
        $one->exec("CREATE TABLE IF NOT EXISTS t (x); DELETE FROM t; INSERT INTO t VALUES (1), (2)");
        $rows = $one->query("SELECT x FROM t"); $rows->fetchArray();
        echo $other->querySingle("SELECT sum(x) FROM t");
        $other->busyTimeout(1);
        echo @$other->exec("DELETE FROM t") ? " deleted" : " " . $other->lastErrorMsg();
        $rows->finalize(); echo $other->exec("DELETE FROM t") ? " deleted" : " " . $other->lastErrorMsg();""",
    "features.php": """<?php
        $db = new PDO($_GET["of"]);
        $db->exec("CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT); CREATE TEMP TABLE u AS SELECT 1 AS y");
        $db->sqliteCreateFunction("twice", fn($x) => 2 * $x);
        $db->prepare("INSERT INTO t (x) VALUES (json_object('a', ?))")->execute(["é"]);
        $row = $db->query("SELECT x ->> 'a', twice(id), y FROM t, u")->fetch(PDO::FETCH_NUM);
        echo json_encode([$row, $db->lastInsertId(),
          $db->query("PRAGMA journal_mode = WAL")->fetchColumn(), $db->exec("VACUUM") !== false]);""",
    "attach.php": """<?php
        $db = new SQLite3("/data/one.db");
        foreach (["MEMORY", "OFF"] as $mode) echo $db->querySingle("PRAGMA journal_mode = $mode"), " ";
        $db->exec("ATTACH '/data/other.db' AS other; PRAGMA synchronous = EXTRA");
        $db->exec("CREATE TABLE IF NOT EXISTS main.t (x); CREATE TABLE IF NOT EXISTS other.t (x)");
        $insert = "BEGIN; INSERT INTO main.t VALUES (1); INSERT INTO other.t VALUES (1); COMMIT";
        echo $db->exec($insert) ? "committed" : $db->lastErrorMsg(),
          $db->querySingle("SELECT count(*) FROM main.t"), $db->querySingle("SELECT count(*) FROM other.t");""",
    "wal.php": """<?php try { echo (new PDO("sqlite:/data/wal.db"))->query("SELECT x FROM t")->fetchColumn(); }
        catch (PDOException $e) { echo $e->getMessage(); }""",
    "fixed.php": """<?php $db = new PDO("sqlite:/fixed/fixed.db");
        try { echo $db->query("SELECT x FROM t")->fetchColumn(), " "; $db->exec("DELETE FROM t"); echo "deleted"; }
        catch (PDOException $e) { echo $e->getMessage(); }""",
}
VOLUMES = {"/data": "data", "/fixed": {"path": "fixed", "read_only": True}}
CONFIG = config(
    module("/...", "php-cgi.wasm", document_root="site", volumes=VOLUMES, limits={"time": "120s"}),
    module("/brief/...", "php-cgi.wasm", document_root="site", volumes=VOLUMES, limits={"time": "5s"}),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, php_cgi: Path) -> Path:
    folder = tmp_path_factory.mktemp("sqlite")
    (folder / "php-cgi.wasm").symlink_to(php_cgi)
    for name in ("site", "data", "fixed"):
        (folder / name).mkdir()
    for name, script in SCRIPTS.items():
        (folder / "site" / name).write_text(script)
    return folder / "data"


@pytest.fixture(scope="module")
def site(data: Path, cache: Path) -> Iterator[Server]:
    with running(data.parent, CONFIG, "--workers", "2", cache=cache) as server:
        yield server


def write(path: Path, *statements: str) -> None:
    """Executes statements by the host's SQLite."""
    with closing(sqlite3.connect(path)) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()


def name_of(database: Path) -> Path:
    """The file whose name says which guest has a database."""
    [name] = Path(f"{database}-lock").iterdir()
    return name


def expire(database: Path) -> None:
    """Sets the time in the name back, as if the guest had been stopped so long ago."""
    name = name_of(database)
    begin, _, guest = name.name.partition("-")
    name.rename(name.with_name(f"{int(begin) - 10_000}-{guest}"))


def rows(site: Server) -> str:
    return site.get("/rows.php").text


def test_a_page_with_a_form(site: Server) -> None:
    for name in ("<b>Ann", "Zoë"):
        assert site.client.post(f"{site.url}/guests.php", data={"name": name}).status_code == 303
    assert site.get("/guests.php").text == "<li>1 &lt;b&gt;Ann<li>2 Zoë"


@pytest.mark.parametrize("of", ["sqlite::memory:", "sqlite:", "sqlite:/data/features.db"])
def test_what_sqlite_has(site: Server, of: str) -> None:
    mode = "delete" if "/" in of else "memory"
    assert site.get("/features.php", params={"of": of}).json() == [["é", 2, 1], "1", mode, True]


def test_concurrent_guests_lose_no_increment(site: Server, data: Path) -> None:
    with ThreadPoolExecutor(12) as pool:
        counted = sorted(int(response.text) for response in pool.map(site.get, ["/count.php"] * 200))
    assert counted == list(range(1, 201))
    assert name_of(data / "count.db").name == "free"


def test_a_transaction_in_several_databases(site: Server, data: Path) -> None:
    assert site.get("/attach.php").text == "delete delete committed11"
    assert not list(data.glob("*-mj*"))


def test_connections_of_one_guest_share_a_database(site: Server) -> None:
    assert site.get("/connections.php").text == "3 database is locked deleted"


@pytest.mark.parametrize("end", ["exit", "throw", "memory"])
def test_a_script_that_ends_in_a_transaction_gives_the_database_back(site: Server, data: Path, end: str) -> None:
    site.get(f"/begun.php?end={end}")
    assert name_of(data / "begun.db").name == "free"
    assert rows(site).endswith("ok")


@pytest.mark.parametrize("reason", ["time", "disconnect"])
def test_a_stopped_guest_s_transaction_is_rolled_back(site: Server, data: Path, reason: str) -> None:
    site.get("/begun.php?end=commit")
    before = rows(site)
    if reason == "time":
        assert site.get("/brief/begun.php?end=loop").status_code == 504
    else:
        with site.connect() as client:
            client.sendall(b"GET /begun.php?end=loop HTTP/1.1\r\nHost: a.example\r\n\r\n")
            wait_until((data / "looping").exists)
    (data / "looping").unlink()
    assert (data / "begun.db-journal").stat().st_size > 0
    assert site.get("/rows.php?wait=1").text.endswith("database is locked")
    expire(data / "begun.db")
    assert (rows(site), site.get("/begun.php?end=commit").text) == (before, "committed")
    assert not (data / "begun.db-journal").exists()


def test_a_guest_that_has_lost_the_database_writes_nothing(site: Server, data: Path) -> None:
    site.get("/begun.php?end=commit")
    before = rows(site)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(site.get, "/begun.php?end=sleep")
        wait_until((data / "asleep").exists)
        expire(data / "begun.db")
        assert rows(site) == before
        assert slow.result().text.endswith("disk I/O error")
    assert rows(site) == before


def test_a_name_of_a_clock_that_was_set_back_expires(site: Server, data: Path) -> None:
    site.get("/begun.php?end=commit")
    name = name_of(data / "begun.db")
    name.rename(name.with_name(f"{int(time.time() * 1000) + 3_600_000}-0"))
    assert rows(site).endswith("ok")


def test_a_database_on_a_read_only_volume(site: Server, data: Path) -> None:
    fixed = data.parent / "fixed"
    write(fixed / "fixed.db", "CREATE TABLE t (x)", "INSERT INTO t VALUES (7)")
    assert site.get("/fixed.php").text.startswith("7 ")
    assert "attempt to write a readonly database" in site.get("/fixed.php").text
    assert [path.name for path in fixed.iterdir()] == ["fixed.db"]


def test_a_database_in_wal_mode_is_refused(site: Server, data: Path) -> None:
    write(data / "wal.db", "PRAGMA journal_mode = WAL", "CREATE TABLE t (x)", "INSERT INTO t VALUES (8)")
    assert site.get("/wal.php").text.endswith("file is not a database")
    site.wait_for_log(r"SQLite: /data/wal.db has journal_mode = WAL, which WASI cannot have")
    write(data / "wal.db", "PRAGMA journal_mode = DELETE")
    assert site.get("/wal.php").text == "8"
