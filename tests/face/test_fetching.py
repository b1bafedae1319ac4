"""ICT-FaceKit from a repository on this disk that has the published names."""

import subprocess

import pytest

from visemo.face import fetching
from visemo.face.fetching import fetch_ict, missing_files
from visemo.types import VisemoError


def git(folder, *words):
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, "-C", str(folder), *words], check=True, capture_output=True)


@pytest.fixture
def published(tmp_path):
    """A repository with a file of every name, and its address."""
    folder = tmp_path / "published"
    (folder / "FaceXModel").mkdir(parents=True)
    for name in missing_files(folder):
        (folder / name).write_text("v 0 0 0\n")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "one")
    return folder, folder.as_uri()


def test_the_model_is_cloned_whole_and_once(published, tmp_path, monkeypatch):
    _, address = published
    place = tmp_path / "cache" / "ICT-FaceKit"
    assert fetch_ict(place, address) == place
    assert not missing_files(place)
    assert [path.name for path in place.parent.iterdir()] == ["ICT-FaceKit"]  # nothing is left beside it
    monkeypatch.setattr(fetching, "_clone", lambda *_: pytest.fail("cloned twice"))
    assert fetch_ict(place, address) == place


def test_the_place_by_default_is_where_the_face_is_looked_for(published, tmp_path, monkeypatch):
    monkeypatch.setenv("VISEMO_CACHE", str(tmp_path / "cache"))
    assert fetch_ict(repository=published[1]) == tmp_path / "cache" / "ICT-FaceKit"


def test_what_is_not_the_model_leaves_nothing_behind(published, tmp_path):
    folder, address = published
    git(folder, "rm", "--quiet", "FaceXModel/jawOpen.obj")
    git(folder, "commit", "--quiet", "-m", "two")
    with pytest.raises(VisemoError, match=r"without FaceXModel/jawOpen\.obj \(1 files are missing\).*by hand"):
        fetch_ict(tmp_path / "cache" / "ict", address)
    assert not list((tmp_path / "cache").iterdir())


def test_no_network_no_git_and_no_room_are_said_in_one_line(tmp_path, monkeypatch):
    def refused(into, **words):
        with pytest.raises(VisemoError) as caught:
            fetch_ict(into, **words)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    nowhere = {"repository": (tmp_path / "nowhere").as_uri()}
    assert "git could not clone" in refused(tmp_path / "ict", **nowhere)
    assert "unpack it as" in refused(tmp_path / "ict", **nowhere)
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "notes.txt").write_text("mine")
    assert "choose another" in refused(tmp_path / "used", **nowhere)
    (tmp_path / "file").write_text("")
    assert "cannot write there" in refused(tmp_path / "file" / "ict", **nowhere)
    monkeypatch.setattr(fetching, "PATIENCE", 0)
    assert "git did not finish" in refused(tmp_path / "ict", **nowhere)
    monkeypatch.setattr(fetching.shutil, "which", lambda _: None)
    assert "got no git on this machine" in refused(tmp_path / "ict", **nowhere)
