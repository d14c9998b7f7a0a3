"""Where models are found, and how those that cannot be used are refused."""

import json

import pytest
from tests.inference import graphs

from hunch.errors import ChecksumMismatch, ModelError, ModelNotFound
from hunch.inference import repository


def test_highest_version_is_taken(tmp_path):
    """A folder of versions means the highest of them, as a number and not as text."""
    for version in ("2", "10", "9"):
        graphs.passes_through(tmp_path / "tiny" / version)

    assert tmp_path / "tiny" / "10" == repository.find(str(tmp_path / "tiny"))


def test_folder_with_a_model_is_taken_as_it_is(tmp_path):
    """Any folder that holds a model.onnx is a model."""
    folder = graphs.passes_through(tmp_path / "somewhere")

    assert folder == repository.find(str(folder))


@pytest.mark.parametrize("setting", ["digits-fast", "digits-fast/1"])
def test_bundled_models_have_a_name(setting, tmp_path, monkeypatch):
    """The bundled models are found by name from any working folder."""
    monkeypatch.chdir(tmp_path)

    assert "digits-fast@1" == repository.load(setting).model


def test_missing_model_is_named_with_what_there_is(tmp_path):
    """Where no model stands, the sentence names the place and the bundled models."""
    with pytest.raises(ModelNotFound, match=r"no model at .*/nowhere.*digits-fast, digits-slow"):
        repository.load(str(tmp_path / "nowhere"))


def test_changed_file_is_refused(tmp_path):
    """A model.onnx that is not the one described is refused."""
    folder = graphs.described(graphs.passes_through(tmp_path), sha256="0" * 64)

    with pytest.raises(ChecksumMismatch, match="its sha256 differs"):
        repository.load(str(folder))


def test_model_json_gives_name_and_version(tmp_path):
    """The name in decisions is that of the model.json, not that of the folder."""
    folder = graphs.described(graphs.passes_through(tmp_path))

    assert "tiny@3" == repository.load(str(folder)).model


def test_config_json_will_do(tmp_path):
    """Without a model.json, labels and temperature come from config.json, the name from folders."""
    folder = graphs.with_labels(graphs.passes_through(tmp_path / "own" / "7"), temperature=2)
    stored = repository.load(str(folder))

    assert ("own@7", ("no", "yes"), 2.0) == (stored.model, stored.labels, stored.temperature)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"colour": "blue"}, "colour: Extra inputs are not permitted"),
        ({"labels": ["no", "no"]}, "two labels are the same"),
        ({"labels": ["no"]}, "labels: "),
        ({"temperature": 0}, "temperature: "),
        ({"temperature": 1e-50}, "temperature: "),
        ({"inputs": None}, "give either inputs or text"),
        ({"text": {"field": "text"}}, "give either inputs or text"),
        ({"output": {"name": "logits", "kind": "scores"}}, "output.kind: "),
    ],
)
def test_wrong_description_is_refused(tmp_path, changes, says):
    """A model.json with a mistake is refused with the key that holds it."""
    folder = graphs.described(graphs.passes_through(tmp_path), **changes)

    with pytest.raises(ModelError, match=says):
        repository.load(str(folder))


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a JSON object"),
        ("{}", "names no labels"),
        (json.dumps({"id2label": {"0": "a", "2": "b"}}), "must count from 0 to 1"),
        (json.dumps({"id2label": {"0": "a", "1": "a"}}), "the same label"),
        (json.dumps({"id2label": {"0": "a", "1": "b"}, "temperature": "hot"}), "temperature in"),
        (json.dumps({"id2label": {"0": "a", "1": "b"}, "temperature": 1e-50}), "temperature in"),
    ],
)
def test_wrong_config_is_refused(tmp_path, config, says):
    """A config.json with a mistake is refused with a sentence about it."""
    folder = graphs.passes_through(tmp_path)
    (folder / "config.json").write_text(config)

    with pytest.raises(ModelError, match=says):
        repository.load(str(folder))


def test_model_without_labels_is_refused(tmp_path):
    """A bare model.onnx says nothing about its labels, so it cannot be used."""
    with pytest.raises(ModelError, match=r"labels of the model in .* are unknown"):
        repository.load(str(graphs.passes_through(tmp_path)))


def test_labels_match_by_name_in_any_order():
    """The same labels in another order match."""
    repository.match_labels(("a", "b", "c"), ("c", "a", "b"))


def test_label_mismatch_names_both_sides():
    """What each model lacks is named."""
    with pytest.raises(ModelError, match=r"the fast model lacks 'c' and the slow model lacks 'b'"):
        repository.match_labels(("a", "b"), ("a", "c"))


def test_label_mismatch_in_one_direction_is_refused():
    """A label that only the slow model knows is a mismatch too."""
    with pytest.raises(ModelError, match=r"match: the fast model lacks 'c'\. "):
        repository.match_labels(("a", "b"), ("a", "b", "c"))
