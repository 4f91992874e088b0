"""The whole export gives the student's own vectors, in transformers and sentence-transformers."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from transformers import AutoModel

from data_prep.errors import PipeError
from student.encode import StudentEncoder
from student.export import export
from student.export_whole import export_whole
from student.registered import JasperDistillModel
from teacher_cache.config import Prompts
from tests.student.registered.exports import RECORD, png, seeing_student, vector, whole
from tests.student.tiny_students import FAMILIES, TEXTS
from tests.student.tiny_students import student as blind_student
from tests.student.vision.towers import pictures

HEADS = ["fc1", "fc2", "fc3"]


def record_of(head):
    return replace(RECORD, head=head)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("pooler", ["adaptive", "projection"])
def test_every_head_of_texts_and_images(tmp_path, family, pooler):
    student = seeing_student(family, pooler)
    directory = whole(student, tmp_path)
    model = AutoModel.from_pretrained(directory)
    assert isinstance(model, JasperDistillModel)
    loaded = SentenceTransformer(str(directory), device="cpu", trust_remote_code=False)
    assert loaded.get_embedding_dimension() == 12
    images = pictures(3)
    for head in HEADS:
        texts = StudentEncoder(student, head).encode(TEXTS, ["passage"] * len(TEXTS))
        expected = [*texts, *(vector(student, "IMAGE", [image], head) for image in images)]
        mixed = [*TEXTS, *images]
        np.testing.assert_allclose(model.encode(mixed, head), expected, atol=1e-6)
        np.testing.assert_allclose(loaded.encode(mixed, task=head), expected, atol=1e-6)
        np.testing.assert_allclose(loaded.encode(images, task=head), expected[-3:], atol=1e-6)
        only_texts = export(student, tmp_path / head, "", record_of(head))
        plain = SentenceTransformer(str(only_texts), device="cpu").encode(TEXTS)
        np.testing.assert_allclose(loaded.encode(TEXTS, task=head), plain, atol=1e-6)
    np.testing.assert_allclose(loaded.encode(TEXTS), loaded.encode(TEXTS, task="fc1"))
    np.testing.assert_allclose(model.encode(TEXTS), model.encode(TEXTS, "fc1"))


def test_a_text_and_an_image_together(tmp_path):
    student = seeing_student()
    directory = whole(student, tmp_path)
    model = AutoModel.from_pretrained(directory)
    loaded = SentenceTransformer(str(directory), device="cpu")
    one, two = pictures(2)
    expected = [
        vector(student, "the red catIMAGE", [one], "fc1"),
        vector(student, "IMAGEthe red cat", [one], "fc1"),
        vector(student, "IMAGEIMAGEthe moon", [one, two], "fc1"),
        vector(student, "a dog", [], "fc1"),
    ]
    given = [
        {"text": "the red cat", "image": one},
        {"image": one, "text": "the red cat"},
        {"image": [one, two], "text": "the moon"},
        "a dog",
    ]
    np.testing.assert_allclose(model.encode(given), expected, atol=1e-6)
    np.testing.assert_allclose(loaded.encode(given), expected, atol=1e-6)
    lists = [["the red cat", one], [one, "the red cat"], (one, png(two), "the moon"), ["a dog"]]
    np.testing.assert_allclose(model.encode(lists), expected, atol=1e-6)
    assert not np.allclose(expected[0], expected[1], atol=1e-3)


def test_roles_become_prompts_for_images_too(tmp_path):
    student = seeing_student(prompts=Prompts(question="how far ", passage="a "))
    directory = whole(student, tmp_path)
    model = AutoModel.from_pretrained(directory)
    loaded = SentenceTransformer(str(directory), device="cpu")
    image = pictures(1)[0]
    asked = [vector(student, f"how far {one}", [image] * ("I" in one), "fc1")
             for one in ("the moon", "IMAGE")]  # fmt: skip
    told = [vector(student, f"a {one}", [image] * ("I" in one), "fc1")
            for one in ("the moon", "IMAGE")]  # fmt: skip
    given = ["the moon", image]
    np.testing.assert_allclose(model.encode(given, role="question"), asked, atol=1e-6)
    np.testing.assert_allclose(loaded.encode_query(given), asked, atol=1e-6)
    np.testing.assert_allclose(model.encode(given), told, atol=1e-6)
    np.testing.assert_allclose(loaded.encode_document(given), told, atol=1e-6)
    np.testing.assert_allclose(loaded.encode(given), told, atol=1e-6)


def in_a_fresh_process(code):
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout.splitlines()[-1])


def test_it_loads_in_a_fresh_process_after_the_import(tmp_path):
    student = seeing_student()
    directory = str(whole(student, tmp_path))
    file = tmp_path / "one.png"
    file.write_bytes(png(pictures(1)[0]))
    code = f"""
import json
import student.registered
from sentence_transformers import SentenceTransformer
from transformers import AutoModel
model = AutoModel.from_pretrained({directory!r})
loaded = SentenceTransformer({directory!r}, device="cpu")
given = ["the cat", {{"image": {str(file)!r}}}]
print(json.dumps([model.encode(given).tolist(), loaded.encode(given).tolist()]))
"""
    expected = [vector(student, "the cat", [], "fc1"), vector(student, "IMAGE", pictures(1), "fc1")]
    for found in in_a_fresh_process(code):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_it_can_be_saved_again_by_sentence_transformers(tmp_path):
    directory = whole(seeing_student(), tmp_path)
    loaded = SentenceTransformer(str(directory), device="cpu")
    loaded.save_pretrained(str(tmp_path / "again"), create_model_card=False)
    again = SentenceTransformer(str(tmp_path / "again"), device="cpu")
    given = ["the cat", *pictures(2)]
    for head in HEADS:
        np.testing.assert_array_equal(
            again.encode(given, task=head), loaded.encode(given, task=head)
        )


def test_an_export_holds_no_pickle_and_replaces_an_earlier_one(tmp_path):
    directory = whole(seeing_student(), tmp_path)
    (directory / "left-over").write_text("")
    export_whole(seeing_student(), directory, "second", RECORD)
    files = {path.name for path in directory.rglob("*") if path.is_file()}
    assert "left-over" not in files
    assert not {name for name in files if name.endswith((".bin", ".pt", ".pkl", ".py"))}
    assert (directory / "README.md").read_text() == "second"


def test_what_cannot_be_exported_is_a_sentence(tmp_path):
    with pytest.raises(PipeError, match="has no vision encoder to export"):
        whole(blind_student("bert"), tmp_path)
    with pytest.raises(PipeError, match="no head 'fc9' to export; its heads are fc1, fc2, fc3"):
        export_whole(seeing_student(), tmp_path / "whole", "", record_of("fc9"))
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(PipeError, match="choose another directory"):
        export_whole(seeing_student(), tmp_path, "", RECORD)


def test_a_head_that_is_not_there_is_a_sentence(tmp_path):
    directory = whole(seeing_student(), tmp_path)
    with pytest.raises(PipeError, match="no head 'fc9'; its heads are fc1, fc2, fc3"):
        AutoModel.from_pretrained(directory).encode(["a"], "fc9")
    with pytest.raises(PipeError, match="no head 'fc9'"):
        SentenceTransformer(str(directory), device="cpu").encode(["a"], task="fc9")
