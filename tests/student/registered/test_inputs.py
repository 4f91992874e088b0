"""Images in all their forms, what is refused, and texts that spell an image's tokens."""

import base64
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoProcessor

from data_prep.errors import PipeError
from student.image_tokens import IMAGE_END, IMAGE_START, IMAGE_TOKEN
from student.registered.pictures import open_picture
from tests.student.registered.exports import (
    IMAGE_TOKENS,
    MAX_TOKENS,
    png,
    seeing_student,
    vector,
    whole,
)
from tests.student.vision.alive import Alive
from tests.student.vision.towers import pictures


@pytest.fixture(scope="module")
def student():
    return seeing_student()


@pytest.fixture(scope="module")
def directory(student, tmp_path_factory):
    return whole(student, tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def model(directory):
    return AutoModel.from_pretrained(directory)


@pytest.fixture(scope="module")
def loaded(directory):
    return SentenceTransformer(str(directory), device="cpu")


def test_an_image_has_one_vector_in_every_form(student, model, loaded, tmp_path):
    image = pictures(1)[0]
    path = tmp_path / "one.png"
    path.write_bytes(png(image))
    address = "data:image/png;base64," + base64.b64encode(png(image)).decode()
    forms = [image, png(image), path, str(path), address, np.asarray(image)]
    expected = [vector(student, "IMAGE", [image], "fc1")] * len(forms)
    named = [{"image": form} for form in forms]
    np.testing.assert_allclose(model.encode(named), expected, atol=1e-6)
    np.testing.assert_allclose(loaded.encode(named), expected, atol=1e-6)
    bare = [image, png(image), path, np.asarray(image)]
    np.testing.assert_allclose(model.encode(bare), expected[:4], atol=1e-6)
    # What sentence-transformers itself takes for an image.
    bare = [image, str(path), address]
    np.testing.assert_allclose(loaded.encode(bare), expected[:3], atol=1e-6)


def test_an_opened_image_is_seen_as_its_file_is(model):
    image = Image.new("RGBA", (20, 10), (250, 10, 10, 0))
    image.paste((10, 10, 250, 255), (0, 0, 10, 10))
    np.testing.assert_allclose(model.encode([image]), model.encode([png(image)]), atol=1e-6)


@pytest.fixture
def address():
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/one.png" else 404)
            self.end_headers()
            self.wfile.write(png(pictures(1)[0]))

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/one.png"
    server.shutdown()
    server.server_close()


def test_nothing_is_fetched_unless_asked(student, model, loaded, address):
    with pytest.raises(PipeError, match="nothing is fetched from the network unless allow_urls"):
        model.encode([{"image": address}])
    for given in (address, {"image": address}):
        with pytest.raises(PipeError, match="nothing is fetched from the network unless"):
            loaded.encode([given])
    expected = [vector(student, "IMAGE", pictures(1), "fc1")]
    found = model.encode([{"image": address}], allow_urls=True)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    with pytest.raises(PipeError, match=r"cannot be fetched .*404"):
        model.encode([{"image": address.replace("one", "two")}], allow_urls=True)
    assert model.processor.allow_urls is False
    # An address is a text where it is said to be one.
    text = vector(student, address, [], "fc1")
    np.testing.assert_allclose(model.encode([address])[0], text, atol=1e-6)
    np.testing.assert_allclose(loaded.encode([{"text": address}])[0], text, atol=1e-6)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (b"", "no bytes"),
        (b"GIF, but no", "expected an image"),
        (png(pictures(1)[0])[:-300], "cannot be decoded"),
        (Path("/nowhere/one.png"), "cannot be read"),
        ("/nowhere/one.png", "cannot be read"),
        ("/dev/zero", "cannot be read"),
        ("data:image/png,abc", "expected data:image"),
        ("data:image/png;base64,!", "expected data:image"),
        (np.zeros((4, 4), np.uint8), r"shape \(4, 4\)"),
        (np.zeros((4, 4, 3)), "array of float64"),
        (np.zeros((0, 4, 3), np.uint8), "4 x 0 pixels, expected 1 to 50,000,000"),
        (Image.new("RGB", (0, 4)), "0 x 4 pixels, expected 1 to 50,000,000"),
        (Image.new("1", (10_000, 5_001)), "expected 1 to 50,000,000 in all; scale it down"),
        (png(Image.new("1", (10_000, 5_001))), "expected at most 50,000,000 in all; scale it"),
        (7, "of the type int as an image"),
    ],
)
def test_a_bad_image_is_a_sentence(model, loaded, source, sentence):
    with pytest.raises(PipeError, match=sentence):
        model.encode(["a cat", {"image": source}])
    with pytest.raises(PipeError, match=sentence):
        loaded.encode([{"image": source, "text": "a cat"}])


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (7, "an input of the type int"),
        ({"audio": "a"}, "the key 'audio'"),
        ({"text": 7}, "of the type int as a text"),
        ([["a", object()]], "an input of the type object"),
        ([], r"an input that holds nothing \(\[\]\)"),
        ({}, r"an input that holds nothing \(\{\}\)"),
        (["a", []], "an input that holds nothing"),
        ({"image": []}, "whose 'image' holds nothing"),
        ({"text": [], "image": []}, "whose 'text' holds nothing"),
    ],
)
def test_another_input_is_a_sentence(model, given, sentence):
    with pytest.raises(PipeError, match=sentence):
        model.encode([given])


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_size_below_one_is_a_sentence(model, size):
    with pytest.raises(ValueError, match=f"found the batch size {size}, expected 1 or more"):
        model.encode(["a text"], batch_size=size)


def test_a_role_without_a_prompt_is_a_sentence(model):
    with pytest.raises(ValueError, match="found the role 'query', expected passage or question"):
        model.encode(["a text"], role="query")


def test_half_of_a_pair_of_surrogates_is_a_sentence(model, loaded):
    told = r"input \d of 2: found the lone surrogate U\+D83D, expected whole characters"
    for encode in (model.encode, loaded.encode):
        with pytest.raises(ValueError, match=told):
            encode(["whole", "half \ud83d"])
    assert model.encode("half \ud83d".encode(errors="replace").decode()).shape == (12,)


@pytest.mark.parametrize("marker", [IMAGE_START, IMAGE_TOKEN, IMAGE_END])
def test_a_text_that_spells_a_token_of_an_image_is_no_image(student, model, loaded, marker):
    image = pictures(1)[0]
    given = [f"the cat {marker} sat", {"text": f"{marker} moon", "image": image}, image]
    spaced = marker.replace("<|", "<| ")
    expected = [
        vector(student, f"the cat {spaced} sat", [], "fc1"),
        vector(student, f"{spaced} moonIMAGE", [image], "fc1"),
        vector(student, "IMAGE", [image], "fc1"),
    ]
    np.testing.assert_allclose(model.encode(given), expected, atol=1e-6)
    np.testing.assert_allclose(loaded.encode(given), expected, atol=1e-6)


def test_words_give_way_to_images(student, model):
    image = pictures(1)[0]
    words = "the cat sat on the mat "
    room = MAX_TOKENS - 2 - (IMAGE_TOKENS + 2)  # [CLS] and [SEP], the start and the end
    cut = " ".join((words * 9).split()[:room])
    expected = vector(student, f"{cut}IMAGE", [image], "fc1")
    found = model.encode([{"text": words * 9, "image": image}])[0]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    with pytest.raises(PipeError, match="give fewer images at once"):
        model.encode([{"image": [image] * 4}])


def test_a_processor_prepares_what_the_model_takes(directory, model):
    processor = AutoProcessor.from_pretrained(directory)
    images = pictures(2)
    features = processor(text=["a cat", "the moon over"], images=images, return_tensors="pt")
    assert features["pixel_values"].shape[0] == 2
    found = model(**features).sentence_embedding
    expected = model.encode([[images[0], "a cat"], [images[1], "the moon over"]])
    unit = found / found.norm(dim=-1, keepdim=True)
    np.testing.assert_allclose(unit.detach().numpy(), expected, atol=1e-6)
    assert "pixel_values" not in processor(text="a cat")
    with pytest.raises(PipeError, match="found 1 texts and 2 images"):
        processor(text="a cat", images=images)
    features["input_ids"][0, 2] = 0
    with pytest.raises(PipeError, match="found 7 placeholders for 2 images, expected 8"):
        model(**features)


def test_a_batch_of_images_is_opened_one_at_a_time(model, monkeypatch):
    made = Alive(open_picture)
    monkeypatch.setattr("student.registered.processor.open_picture", made)
    given = [png(image) for image in pictures(4)]
    found = model.encode([*given[:2], given[2:]])
    assert made.held == [0] * 4
    monkeypatch.undo()
    np.testing.assert_allclose(found, model.encode([*given[:2], given[2:]]), atol=1e-6)


def test_one_input_in_no_list_has_one_vector(model, loaded, tmp_path):
    image = pictures(1)[0]
    path = tmp_path / "one.png"
    path.write_bytes(png(image))
    for given in (
        "a cat",
        image,
        png(image),
        path,
        np.asarray(image),
        {"text": "a", "image": path},
    ):
        found = model.encode(given)
        assert found.shape == (12,)
        np.testing.assert_array_equal(found, model.encode([given])[0])
    np.testing.assert_allclose(model.encode("a cat"), loaded.encode("a cat"), atol=1e-6)
    with pytest.raises(PipeError, match="an input of the type int"):
        model.encode(7)
    with pytest.raises(PipeError, match="an input that holds nothing"):
        model.encode({})


def test_whatever_holds_inputs_has_a_vector_for_each(model):
    texts = ["a cat", "the moon over", "a"]
    expected = model.encode(texts)
    for given in (tuple(texts), np.array(texts), np.array(texts, object), iter(texts)):
        np.testing.assert_array_equal(model.encode(given), expected)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 20, 30, 3), np.uint8)
    np.testing.assert_array_equal(model.encode(pixels), model.encode(list(pixels)))
    assert model.encode([]).shape == (0, 12)


def test_a_large_image_is_allowed_if_asked(directory, monkeypatch):
    model = AutoModel.from_pretrained(directory)
    image = pictures(2)[1]
    forms = [image, png(image), np.asarray(image)]
    expected = model.encode(forms)
    model.processor.max_pixels = image.width * image.height
    np.testing.assert_array_equal(model.encode(forms), expected)
    model.processor.max_pixels -= 1
    for form in forms:
        with pytest.raises(PipeError, match=f"{model.processor.max_pixels:,} in all; scale it"):
            model.encode([form])


def test_a_far_too_large_image_has_one_vector_in_every_form(model):
    pixels = np.random.default_rng(0).integers(0, 256, (331, 290, 3), np.uint8)
    image = Image.fromarray(pixels)
    first, *others = model.encode([image, png(image), pixels])
    for other in others:
        np.testing.assert_array_equal(other, first)


def test_an_opened_file_that_is_damaged_is_a_sentence(model):
    image = Image.open(BytesIO(png(pictures(1)[0])[:-300]))
    with image, pytest.raises(PipeError, match="cannot be decoded"):
        model.encode([image])


@pytest.mark.parametrize("marker", [IMAGE_START, IMAGE_TOKEN, IMAGE_END])
def test_texts_that_spell_a_token_together_are_no_image(student, model, loaded, marker):
    image = pictures(1)[0]
    parts = [marker[:9], marker[9:12], marker[12:]]
    given = [{"text": parts}, {"text": parts, "image": image}]
    spaced = marker.replace("<|", "<| ")
    expected = [
        vector(student, spaced, [], "fc1"),
        vector(student, f"{spaced}IMAGE", [image], "fc1"),
    ]
    np.testing.assert_allclose(model.encode(given), expected, atol=1e-6)
    np.testing.assert_allclose(model.encode([parts, [*parts, image]]), expected, atol=1e-6)
    np.testing.assert_allclose(loaded.encode(given), expected, atol=1e-6)
    prompted = loaded.encode([marker[9:]], prompt=marker[:9])
    np.testing.assert_allclose(prompted, expected[:1], atol=1e-6)
