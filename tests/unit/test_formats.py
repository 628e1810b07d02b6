from pathlib import Path

from ovms.runtime.formats import model_file


def test_a_saved_model_is_read_by_its_folder(tmp_path: Path) -> None:
    file = tmp_path / "saved_model.pb"
    file.touch()
    assert model_file(tmp_path) == tmp_path
    assert model_file(file) == tmp_path


def test_any_other_file_is_read_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "frozen.pb"
    file.touch()
    assert model_file(tmp_path) == file
    assert model_file(file) == file
