import pytest
from builders import make_project

from labelkit.project.images import scan_images
from labelkit.store.label_store import LabelStore
from labelkit.workflows.help.doctor import doctor


def by_name(report):
    return {check.name: check for check in report.checks}


@pytest.fixture
def project(tmp_path):
    made = make_project(tmp_path)
    with LabelStore.open(made.store_url) as store:
        store.add_images(scan_images(made.images_root).images)
    return made


def test_outside_a_project_only_the_installation_is_checked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = doctor(None)
    checks = by_name(report)
    assert checks["python"].ok
    assert checks["torch"].ok
    assert checks["project"].ok is None
    assert "label store" not in checks
    assert report.exit_code == 0


def test_a_named_project_that_does_not_exist_is_a_failure(tmp_path):
    report = doctor(tmp_path)
    assert by_name(report)["project"].ok is False
    assert report.exit_code == 1


def test_a_sound_project_passes(trained):
    report = doctor(trained.project.root)
    checks = by_name(report)
    assert checks["label store"].detail == "24 entries, 24 instances"
    assert checks["images"].detail == "24 registered"
    assert checks["rounds"].detail == "000 complete"
    assert checks["skeleton"].detail == "lsp14, 14 keypoints"
    assert all(checks[name].ok for name in ("label store", "images", "rounds", "skeleton"))


def test_images_that_are_gone_are_a_failure(project):
    (project.images_root / "1.png").unlink()
    report = doctor(project.root)
    detail = by_name(report)["images"].detail
    for words in ("2 registered", "1 not found", "1.png", "labelkit images list"):
        assert words in detail
    assert report.exit_code == 1


def test_a_damaged_store_is_named_with_what_to_do(project):
    (project.root / "labels.db").write_bytes(b"no database at all" * 100)
    for extra in project.root.glob("labels.db-*"):
        extra.unlink()
    check = by_name(doctor(project.root))["label store"]
    assert check.ok is False
    assert "labels.db" in check.detail


def test_a_damaged_round_is_a_failure(project):
    (project.rounds_root / "000").mkdir(parents=True)
    (project.rounds_root / "000" / "round.json").write_text("{")
    check = by_name(doctor(project.root))["rounds"]
    assert check.ok is False
    assert "000" in check.detail


def test_a_missing_package_comes_with_the_command_that_installs_it(monkeypatch, tmp_path):
    from importlib import metadata

    def version(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("labelkit.workflows.help.doctor.version", version)
    monkeypatch.chdir(tmp_path)
    report = doctor(None)
    checks = by_name(report)
    assert (checks["torch"].ok, checks["fiftyone"].ok) == (False, None)
    assert "pip install 'labelkit-keypoints[review]'" in checks["fiftyone"].detail
    assert checks["scipy"].ok is False
    assert report.exit_code == 1


def test_the_address_of_the_database_is_not_shown(monkeypatch, tmp_path):
    monkeypatch.setenv("LABELKIT_DB", "postgresql://ann:secret@host/db")
    monkeypatch.chdir(tmp_path)
    report = doctor(None)
    assert "secret" not in report.text()
    assert by_name(report)["LABELKIT_DB"].detail == "set"


def test_the_label_studio_that_is_set_must_answer_and_accept_the_key(live, monkeypatch):
    monkeypatch.setenv("LABEL_STUDIO_URL", live.url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", live.log_in.api_key)
    assert by_name(doctor(None))["label studio"].ok
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "0" * 40)
    check = by_name(doctor(None))["label studio"]
    assert check.ok is False
    assert live.url in check.detail
    assert "LABEL_STUDIO_API_KEY" in check.detail
    monkeypatch.delenv("LABEL_STUDIO_URL")
    assert by_name(doctor(None))["label studio"].ok is None
