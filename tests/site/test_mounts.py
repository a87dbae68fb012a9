"""Places of paths: symbolic links and `..` on the way, bind mounts, mounts over mounts."""

from __future__ import annotations

from pathlib import Path

import pytest

from wagi_gateway.site.mounts import Location, Mounts, places

MOUNTINFO = r"""
20 1 8:1 / / rw - ext4 /dev/sda1 rw
21 20 8:2 / /srv rw shared:1 - ext4 /dev/sda2 rw
22 21 8:1 /home/me/app /srv/app rw - ext4 /dev/sda1 rw
23 20 8:1 /etc/with\040space /mnt/with\040space rw - ext4 /dev/sda1 rw
24 20 8:3 / /over rw - tmpfs tmpfs rw
25 24 8:4 / /over/hidden rw - tmpfs tmpfs rw
26 24 8:5 / /over rw - tmpfs tmpfs rw
27 20 8:1 /etc/key.pem /run/key.pem rw - ext4 /dev/sda1 rw
""".strip()

LOCATIONS = {
    "/etc/x": ("8:1", "/etc/x"),
    "/srv/x": ("8:2", "/x"),
    "/srv/apple": ("8:2", "/apple"),
    "/srv/app": ("8:1", "/home/me/app"),
    "/srv/app/data/x": ("8:1", "/home/me/app/data/x"),
    "/mnt/with space/x": ("8:1", "/etc/with space/x"),
    "/over/x": ("8:5", "/x"),
    "/over/hidden/x": ("8:5", "/hidden/x"),
    "/run/key.pem": ("8:1", "/etc/key.pem"),
}


@pytest.mark.parametrize(("path", "location"), LOCATIONS.items(), ids=LOCATIONS)
def test_location(path: str, location: tuple[str, str]) -> None:
    assert Mounts(MOUNTINFO).location(Path(path)) == Location(location[0], Path(location[1]))


def test_what_is_mounted_inside_belongs_to_a_tree() -> None:
    trees = Mounts(MOUNTINFO).trees(Path("/srv"))
    assert trees == [Location("8:2", Path("/")), Location("8:1", Path("/home/me/app"))]


def test_paths_are_their_own_locations_without_a_known_mount() -> None:
    assert Mounts("").location(Path("/etc/x")) == Location("", Path("/etc/x"))


def test_the_mounts_of_this_process_are_read() -> None:
    assert all(Mounts().location(Path(path)).device for path in ("/", "/proc/self", "/tmp/x"))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/file", ["a/file"]),
        ("a/none/x", ["a/none/x"]),
        ("link", ["link", "a/file"]),
        ("to-link", ["to-link", "link", "a/file"]),
        ("dir/file", ["dir", "a/file"]),
        ("dir/../a/file", ["dir", "a", "a/file"]),
        ("a/b/../../a/file", ["a/b", "a", "a/file"]),
        ("absolute/file", ["absolute", "a/file"]),
        ("dangling", ["dangling", "nowhere/x"]),
    ],
)
def test_places(tmp_path: Path, path: str, expected: list[str]) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/file").touch()
    for name, target in (("link", "a/file"), ("to-link", "link"), ("dir", "a"), ("dangling", "nowhere/x")):
        (tmp_path / name).symlink_to(target)
    (tmp_path / "absolute").symlink_to(tmp_path / "a")
    assert places(tmp_path / path) == [tmp_path / name for name in expected]


def test_a_loop_of_links_has_an_end(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert tmp_path / "loop" in places(tmp_path / "loop")
