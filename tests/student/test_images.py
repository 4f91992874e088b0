"""Images in the student: their tokens stand in a text's place, and nothing else moves."""

import numpy as np
import pytest
import torch

from data_prep.errors import PipeError
from student.crops import Crops
from student.encode import StudentEncoder
from student.image_tokens import IMAGE_TOKEN, image_text, without_image_tokens
from student.model import Student
from teacher_cache.config import Prompts
from tests.student.families import FAMILIES, save_family
from tests.student.test_model import tiny
from tests.student.vision.towers import add_vision, new_vision, pictures

TEXTS = ["the cat sat", "a dog ran over the mat and saw the cat", "cat"]


def states(student, texts):
    tokens = student.tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        return student.pooled(tokens["input_ids"], tokens["attention_mask"])


def image_states(student, images):
    ids = torch.tensor([student.image_ids()] * len(images))
    with torch.no_grad():
        return student.pooled(ids, torch.ones_like(ids), student.seeing().pixels(images))


@pytest.fixture
def seeing(tmp_path):
    student = tiny(tmp_path)
    add_vision(student, new_vision(tokens=6), seed=3)
    return student.eval()


def test_texts_keep_their_vectors_bit_by_bit(tmp_path):
    student = tiny(tmp_path).eval()
    weights = {name: value.clone() for name, value in student.state_dict().items()}
    before = states(student, TEXTS)
    add_vision(student, new_vision(), seed=3)
    assert torch.equal(states(student.eval(), TEXTS), before)
    after = student.state_dict()
    assert all(torch.equal(after[name][: len(value)], value) for name, value in weights.items())
    assert {name.split(".")[0] for name in after.keys() - weights.keys()} == {"vision"}


def test_an_image_is_what_its_tokens_are(seeing):
    """Oracle: embeddings put together by hand, without padding."""
    ids = list(seeing.image_ids())
    place = seeing.tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
    assert ids.count(place) == 6
    words = seeing.text.get_input_embeddings()
    for image, found in zip(pictures(3), image_states(seeing, pictures(3)), strict=True):
        with torch.no_grad():
            tokens = iter(seeing.vision(seeing.vision.pixels([image]))[0])
            by_hand = [next(tokens) if i == place else words(torch.tensor(i)) for i in ids]
            expected = seeing.text(inputs_embeds=torch.stack(by_hand)[None]).last_hidden_state
        torch.testing.assert_close(found, expected[0].mean(0))


def test_several_images_and_words_in_one_batch(seeing):
    one, two = pictures(2)
    alone = image_states(seeing, [one, two])
    both = seeing.tokenizer(
        [image_text(6), f"{image_text(6)} the cat {image_text(6)}", "the cat sat"],
        padding=True,
        return_tensors="pt",
    )
    pixels = seeing.vision.pixels([two, one, two])
    with torch.no_grad():
        found = seeing.pooled(both["input_ids"], both["attention_mask"], pixels)
        swapped = seeing.pooled(both["input_ids"], both["attention_mask"], pixels[[0, 2, 1]])
    torch.testing.assert_close(found[0], alone[1])
    torch.testing.assert_close(found[2], states(seeing, ["the cat sat"])[0])
    assert not torch.allclose(found[1], swapped[1])
    assert torch.equal(found[[0, 2]], swapped[[0, 2]])


def test_the_gradient_reaches_the_vision_encoder_alone(seeing):
    seeing.requires_grad_(False)
    seeing.vision.requires_grad_(True)
    ids = torch.tensor([seeing.image_ids()] * 2)
    seeing.pooled(ids, torch.ones_like(ids), seeing.vision.pixels(pictures())).sum().backward()
    for name, parameter in seeing.named_parameters():
        assert (parameter.grad is not None) == name.startswith("vision."), name
    assert any(p.grad.abs().max() > 0 for p in seeing.vision.parameters())


def test_saved_and_loaded_it_sees_the_same(seeing, tmp_path):
    seeing.save(tmp_path / "saved")
    loaded = Student.load(tmp_path / "saved")
    assert torch.equal(image_states(loaded, pictures()), image_states(seeing, pictures()))
    assert torch.equal(states(loaded, TEXTS), states(seeing, TEXTS))


def test_the_seed_decides_what_begins_with_random_weights(tmp_path):
    found = []
    for number, seed in enumerate((3, 3, 4)):
        student = tiny(tmp_path / str(number)).eval()
        torch.manual_seed(number)
        add_vision(student, new_vision("projection", 4), seed=seed)
        found.append(image_states(student.eval(), pictures()))
    assert torch.equal(found[0], found[1])
    assert not torch.allclose(found[0], found[2])


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_takes_images(family, tmp_path):
    """An image whose tokens are the embeddings of words is those words."""
    from student.backbone import load_backbone, load_tokenizer
    from student.image_tokens import place_images

    start = save_family(tmp_path / "start", family)
    text, tokenizer = load_backbone(start), load_tokenizer(start)
    ids = tokenizer(["the cat sat on the mat", "the cat"], padding=True, return_tensors="pt")
    mask = ids["attention_mask"]
    embeddings = text.get_input_embeddings()(ids["input_ids"]).detach()
    places = torch.zeros_like(mask, dtype=torch.bool)
    places[0, 1:3] = True
    mixed = place_images(
        torch.where(places[..., None], 0.0, embeddings), places, embeddings[:1, 1:3]
    )
    with torch.no_grad():
        expected = text(input_ids=ids["input_ids"], attention_mask=mask).last_hidden_state
        found = text(inputs_embeds=mixed, attention_mask=mask).last_hidden_state
    real = mask.bool()
    torch.testing.assert_close(found[real], expected[real])


def test_an_image_longer_than_a_text_may_be_is_refused(tmp_path):
    with pytest.raises(PipeError, match="tokens, its start, end"):
        add_vision(tiny(tmp_path), new_vision(tokens=500), seed=0)


def test_the_prompt_in_front_of_an_image_counts(tmp_path):
    student = tiny(tmp_path)
    student.prompts = Prompts(passage="the cat sat ")
    alone = len(student.tokenizer("")["input_ids"]) + 2
    fitting = student.max_tokens - alone - 3
    with pytest.raises(PipeError, match=rf"becomes {student.max_tokens + 1} tokens.* prompt"):
        add_vision(student, new_vision(tokens=fitting + 1), seed=0)
    other = tiny(tmp_path / "other")
    other.prompts = student.prompts
    add_vision(other, new_vision(tokens=fitting), seed=0)
    assert len(other.image_ids()) == other.max_tokens


def test_a_text_that_spells_a_marker_is_a_text(seeing):
    texts = ["the cat", f"the {image_text(1)} cat", "<|jasper_img_token|> sat", "<|other|>"]
    encoder = StudentEncoder(seeing)
    found = encoder(texts, ["passage"] * len(texts))
    spaced = [text.replace("<|jasper", "<| jasper") for text in texts]
    assert np.array_equal(found, encoder(spaced, ["passage"] * len(texts)))


def test_a_student_without_vision_says_so(tmp_path):
    with pytest.raises(PipeError, match="no vision encoder"):
        tiny(tmp_path).image_ids()


def test_what_a_user_writes_is_no_image(seeing):
    text = f"the {image_text(2)} cat"
    ids = seeing.tokenizer(without_image_tokens(text))["input_ids"]
    marked = seeing.tokenizer(image_text(1), add_special_tokens=False)["input_ids"]
    assert not set(ids) & set(marked)
    assert without_image_tokens("plain <|text|>") == "plain <|text|>"


def test_a_crop_follows_from_seed_step_and_row():
    image = pictures(3)[2]
    crops = Crops(0.5, seed=1)
    first = crops(image, 3, 7)
    assert np.array_equal(first, Crops(0.5, seed=1)(image, 3, 7))
    others = [crops(image, 4, 7), crops(image, 3, 8), Crops(0.5, seed=2)(image, 3, 7)]
    assert all(first.size != one.size or not np.array_equal(first, one) for one in others)
    for step in range(50):
        part = crops(image, step, 0)
        assert all(
            side / 2 - 1 < cut <= side for cut, side in zip(part.size, image.size, strict=True)
        )
    assert Crops(1.0, seed=1)(image, 3, 7) is image
