"""A stage on images: the whole way, what may move, kill and resume, and what is refused."""

import json
import shutil
from io import BytesIO

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file

from data_prep.corpus import Corpus
from data_prep.pairs.corpus import PairCorpus
from pipelines import results
from pipelines.cli import cli
from pipelines.run import Run
from student.encode import StudentEncoder, head_vectors
from student.encode_images import image_states
from student.evaluation.recall import recall
from student.identity import recorded_identity
from student.model import Student
from teacher_cache.store import TeacherStore
from tests.killed import killed
from tests.pipelines.test_kill import kill_when, losses
from tests.pipelines.tiny_run import pipe, write_inputs
from tests.student.vision.towers import save_siglip
from tests.warm import WarmProcess

IMAGES = """
[student.vision]
pooler = "projection"
tokens = 4

[student.vision.new]
hidden_size = 16
layers = 1
heads = 2
intermediate_size = 24
image_size = 32
patch_size = 8

[pairs]
pairs = 200
held_out = 20
rows_per_shard = 64

[[pairs.sources]]
name = "shapes"
format = "shapes"
image_size = 32

[[stages]]
name = "images"
inputs = "images"
trainable = ["vision.*"]
heads.fc1 = ["cosine", "similarity", "relative_similarity"]
heads.fc2 = ["cosine", "similarity", "relative_similarity"]
batch_size = 20
learning_rate = 1e-3
steps = 20
log_every = 5
save_every = 5
evaluate_every = 10
"""


def call(directory, *arguments, recipe=None):
    command, *others = arguments
    given = [command, "--run", str(directory), *others]
    done = CliRunner().invoke(cli, [*given, *(["--recipe", str(recipe)] if recipe else [])])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


@pytest.fixture(scope="module")
def three_stages(tmp_path_factory):
    """A recipe with images, and a run of it whose stages on texts are done."""
    root = tmp_path_factory.mktemp("images")
    recipe = write_inputs(root / "inputs")
    recipe.write_text(recipe.read_text() + IMAGES)
    for command in (
        ("prep",),
        ("teach",),
        ("distill", "--stage", "1", "--stage", "2", "--stage", "3"),
    ):
        done = call(root / "run", *command, recipe=recipe)
        assert done.exit_code == 0, done.output
    return root / "run"


@pytest.fixture
def run(three_stages, tmp_path):
    return shutil.copytree(three_stages, tmp_path / "run")


@pytest.fixture(scope="module")
def finished(three_stages, tmp_path_factory):
    directory = shutil.copytree(three_stages, tmp_path_factory.mktemp("finished") / "run")
    done = call(directory, "distill", "--stage", "4")
    assert done.exit_code == 0, done.output
    return directory


def stage(directory, number):
    return directory / "student" / f"stage-{number}" / "final"


def test_nothing_but_the_vision_encoder_moves_by_a_bit(finished):
    """Compared in the files: new rows for the tokens of an image, and nothing else."""
    for name in ("backbone/model.safetensors", "heads.safetensors"):
        before, after = (load_file(stage(finished, number) / name) for number in (3, 4))
        assert before.keys() == after.keys()
        for key, value in before.items():
            assert (after[key][: len(value)] == value).all(), key
            grown = len(after[key]) - len(value)
            assert grown == (3 if "word_embeddings" in key else 0), key
    texts = Corpus.open(finished / "pairs" / "corpus").take(np.arange(30))
    before, after = (Student.load(stage(finished, number)) for number in (3, 4))
    for head in ("fc1", "fc2"):
        vectors = [StudentEncoder(student, head)(*texts) for student in (before, after)]
        assert (vectors[0] == vectors[1]).all()
    assert after.vision is not None and before.vision is None


def test_the_target_is_what_the_student_makes_of_the_captions(finished):
    run = Run.open(finished, None, ())
    pairs = PairCorpus.open(run.pairs)
    store = TeacherStore.open(run.pairs_store, pairs.captions)
    rows = np.arange(0, pairs.rows, 7)
    stored = store.read_states("student", rows)
    student = Student.load(stage(finished, 3))
    own = StudentEncoder(student, head=None, normalize=False)(*pairs.captions.take(rows))
    np.testing.assert_allclose(stored, own, rtol=2e-3, atol=2e-3)  # float16 on disk


def test_training_moves_the_loss_and_watches_the_held_out_pairs(finished):
    lines = (finished / "student/stage-4/metrics.jsonl").read_text().splitlines()
    metrics = [json.loads(line) for line in lines]
    found = [line["loss"] for line in metrics if "loss" in line]
    assert found[-1] < 0.9 * found[0]
    measured = [line for line in metrics if "eval/fc1/recall@10" in line]
    assert [line["step"] for line in measured] == [10, 20]
    student = Student.load(stage(finished, 4))
    pairs = PairCorpus.open(finished / "pairs" / "corpus")
    rows = np.arange(pairs.held_out_rows)
    images = head_vectors(student, image_states(student, pairs.images(rows)), "fc1")
    captions = StudentEncoder(student, "fc1")(*pairs.captions.take(rows))
    again = recall(images, captions)
    assert measured[-1]["eval/fc1/recall@10"] == pytest.approx(again.images[10])


def test_killed_and_resumed_it_is_the_same_bit_by_bit(run, finished):
    moment = "*/stage-4/checkpoints/checkpoint-10/complete.json"
    assert killed(moment, "pipelines", "distill", "--run", str(run), "--stage", "4")
    assert not stage(run, 4).exists()
    assert call(run, "distill", "--stage", "4").exit_code == 0
    assert losses(run, 4) == losses(finished, 4)
    for path in sorted(stage(finished, 4).rglob("*.safetensors")):
        other = stage(run, 4) / path.relative_to(stage(finished, 4))
        assert path.read_bytes() == other.read_bytes()


def siglip_instead(run, siglip):
    """Let a run's recipe begin with a checkpoint's vision encoder."""
    recipe = run / "recipe.toml"
    before, new, after = recipe.read_text().partition("[student.vision.new]\n")
    _, bracket, after = after.partition("[")
    assert new and bracket
    start = f'start = "{siglip}"\n'
    before = before.replace("[student.vision]\n", f"[student.vision]\n{start}")
    recipe.write_text(before + bracket + after)


def test_the_vision_encoder_is_kept_until_the_stage_is_done(run, tmp_path):
    """Whatever becomes of its directory, weights and image processor are those of the beginning."""
    siglip = save_siglip(tmp_path / "siglip")
    siglip_instead(run, siglip)
    other = shutil.copytree(run, tmp_path / "other")
    done = call(other, "distill", "--stage", "4")
    assert done.exit_code == 0, done.output
    fresh = shutil.copytree(run, tmp_path / "fresh")
    moment = "*/stage-4/vision-start.json"
    assert killed(moment, "pipelines", "distill", "--run", str(run), "--stage", "4")
    siglip.rename(tmp_path / "elsewhere")
    done = call(run, "distill", "--stage", "4")
    assert done.exit_code == 0, done.output
    assert losses(run, 4) == losses(other, 4)
    assert not list(stage(run, 4).parent.glob("vision-start*"))
    done = call(fresh, "distill", "--stage", "4")
    assert done.exit_code == 1
    assert "found no directory" in done.output and "student.vision.start" in done.output


def test_evaluation_states_chance_and_draws_what_was_found(finished):
    done = call(finished, "eval", "--json")
    assert done.exit_code == 0, done.output
    images = json.loads(done.stdout.splitlines()[-1])["images"]
    assert images["pairs"] == 20 and images["chance"] == {"1": 0.05, "5": 0.25, "10": 0.5}
    assert [head["head"] for head in images["heads"]] == ["fc1", "fc2"]
    assert images["heads"][0]["zero_shot"]["classes"] >= 2
    with Image.open(images["picture"]) as picture:
        assert picture.size[0] > 500
    assert "chance" in call(finished, "eval").stdout


def test_without_pairs_the_texts_are_evaluated_alone(finished, tmp_path):
    directory = shutil.copytree(finished, tmp_path / "run")
    shutil.rmtree(directory / "pairs" / "corpus")
    done = call(directory, "eval", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["students"] and "images" not in found
    assert "there are no image-caption pairs" in done.output


def test_other_pairs_than_those_trained_on_are_not_measured_and_not_named(
    finished, tmp_path, monkeypatch
):
    directory = shutil.copytree(finished, tmp_path / "run")
    monkeypatch.setattr("pipelines.evaluate.read_held_out", None)  # nothing is measured first
    opened = Run.open(directory, None, ())
    results.Results(results.subject(opened, 4, None), "", {}, {}).write(opened.results)
    assert results.current_results(opened) is not None
    shutil.rmtree(directory / "pairs" / "corpus")
    sources = ("--set", "pairs.sources.0.image_size=40")
    done = call(directory, "prep", *sources)
    assert done.exit_code == 0, done.output
    assert results.current_results(opened) is None
    done = call(directory, "eval", *sources)
    assert done.exit_code == 1
    assert "are not those that stage 4 was trained on" in done.output
    done = call(directory, "export", "--images", *sources)
    assert done.exit_code == 0, done.output
    assert "the card omits them" in done.output
    assert "the images of shapes" not in (directory / "export-images/README.md").read_text()


def test_the_record_names_pairs_and_captions(finished):
    places = Run.open(finished, None, ()).students
    third, fourth = recorded_identity(places, 3), recorded_identity(places, 4)
    assert [teacher.name for teacher in fourth.teachers] == ["student"]
    assert fourth.corpus == PairCorpus.open(finished / "pairs" / "corpus").fingerprint
    assert "vision" not in third.deciding()["student"]


def test_another_vision_encoder_stops_a_stage_that_was_begun(finished, tmp_path):
    directory = shutil.copytree(finished, tmp_path / "run")
    shutil.rmtree(stage(directory, 4))
    done = call(directory, "distill", "--stage", "4", "--set", "student.vision.tokens=9")
    assert done.exit_code == 1
    assert "under other settings" in done.output and "tokens" in done.output
    # The stages before it know nothing of images.
    done = call(directory, "distill", "--stage", "3", "--set", "student.vision.tokens=9")
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("teachers.0.weight=7.0", "teachers.0.weight changed from 3.0 to 7.0"),
        ("teachers.1.max_tokens=32", "teachers.1.fingerprint changed"),
        ("stages.1.steps=15", "stages.1.steps changed"),
    ],
)
def test_what_the_stages_on_texts_were_trained_under_still_counts(run, change, sentence):
    before = (run / "recipe.toml").read_bytes()
    done = call(run, "distill", "--stage", "4", "--set", change)
    assert done.exit_code == 1
    assert "was begun under other settings" in done.output, done.output
    assert sentence in done.output
    assert (run / "recipe.toml").read_bytes() == before


def test_without_corpus_and_store_a_stage_on_images_still_trains(run):
    """Of the teachers count the names and weights, and not where a machine keeps their models."""
    for name in ("corpus", "store"):
        shutil.rmtree(run / name)
    changed = ("--set", "teachers.1.max_tokens=32")
    done = call(run, "distill", "--stage", "4", "--set", "teachers.0.weight=7.0", *changed)
    assert done.exit_code == 1
    assert "changed from 3.0 to 7.0" in done.output
    done = call(run, "distill", "--stage", "4", "--set", "stages.3.evaluate_every=0", *changed)
    assert done.exit_code == 0, done.output
    assert stage(run, 4).is_dir()


def test_the_captions_can_be_taught_on_their_own(run):
    done = call(run, "teach", "--teacher", "student")
    assert done.exit_code == 0, done.output
    assert "student: shard 0 committed" in done.output
    assert "dummy" not in done.output
    trained = call(run, "distill", "--stage", "4").output
    assert "committed, " not in trained
    assert " images/s " in trained and "texts/s" not in trained


def test_without_stage_3_the_captions_cannot_be_encoded(run):
    shutil.rmtree(run / "student" / "stage-3")
    done = call(run, "distill", "--stage", "4")
    assert done.exit_code == 1
    assert f"run `pipe distill --stage 3 --run {run}` first" in done.output


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("stages.3.trainable=['heads.fc1']", "expected parts of vision alone"),
        ("stages.3.init=least_squares", "init is set"),
        ("stages.3.target=fc1", "target is set"),
        ("stages.3.inputs=texts", "by cosine with a target 32 wide"),
        ("student.vision.tokens=5", "expected a square number"),
        ("student.vision.tokens=100", "expected a square number up to 16"),
        ("student.vision.new.patch_size=5", "expected a whole number of patches"),
        ("student.vision.start=there", "both start and new"),
        ("teachers.0.name=student", "which is what encodes the captions"),
        ("pairs.held_out=1", "held_out changed from 20 to 1"),
    ],
)
def test_a_wrong_recipe_is_a_sentence(run, change, sentence):
    done = call(run, "distill", "--stage", "4", "--set", change)
    assert done.exit_code != 0
    assert sentence in " ".join(done.output.split()), done.output


def test_both_exports_give_the_same_vectors(finished):
    """The one of texts alone loads anywhere; the whole one after `import student.registered`."""
    from sentence_transformers import SentenceTransformer

    for options in ((), ("--images",)):
        done = call(finished, "export", *options)
        assert done.exit_code == 0, done.output
    texts = ["read a file", "day and night. the sea."]
    plain, whole = (SentenceTransformer(str(finished / n)) for n in ("export", "export-images"))
    np.testing.assert_allclose(plain.encode(texts), whole.encode(texts), atol=1e-6)
    student = Student.load(stage(finished, 4))
    files = PairCorpus.open(finished / "pairs" / "corpus").images(range(3))
    states = image_states(student, files)
    for head in ("fc1", "fc2"):
        images = whole.encode([Image.open(BytesIO(data)) for data in files], task=head)
        np.testing.assert_allclose(images, head_vectors(student, states, head), atol=1e-5)
    card = (finished / "export-images" / "README.md").read_text()
    assert "import student.registered" in card and "the images of shapes" in card
    assert "documents" in card  # the corpus that the text side was trained on is still known


def test_the_plan_counts_the_captions_shards(three_stages, finished):
    for directory, done in ((three_stages, 0), (finished, 4)):
        planned = call(directory, "plan")
        mark = ", done" if done else ", 0 of 4 shards done"
        line = f"teacher  student: encodes the captions when the stages on texts are done{mark}\n"
        assert line in planned.stdout
        data = json.loads(call(directory, "plan", "--json").stdout)
        assert data["captions"]["shards_left"] == 4 - done
        assert sum(line["what"].startswith("teacher student") for line in status_of(directory)) == 1


def status_of(directory):
    return json.loads(call(directory, "status", "--json").stdout)


def test_a_run_that_is_done_says_where_both_exports_are(finished, tmp_path):
    directory = shutil.copytree(finished, tmp_path / "run")
    done = call(directory, "run", "--json")
    assert done.exit_code == 0, done.output
    data = json.loads(done.stdout.splitlines()[-1])
    assert data["export"] == str(directory / "export")
    assert data["export_images"] == str(directory / "export-images")


def test_a_student_of_texts_has_no_images_to_export(run):
    done = call(run, "export", "--images")
    assert done.exit_code == 1
    assert "no vision encoder" in done.output


@pytest.mark.slow
def test_two_processes_give_the_numbers_of_one(run, finished):
    """ZeRO-2 in two processes, killed, on with one: the first loss and gradient are the same."""
    pytest.importorskip("deepspeed")
    two = ("--launcher", "torchrun", "--nproc", "2")
    checkpoints = run / "student" / "stage-4" / "checkpoints"
    process = WarmProcess("pipelines", "distill", "--run", str(run), "--stage", "4", *two)
    assert kill_when(process, (checkpoints / "checkpoint-10" / "complete.json").exists)
    assert pipe("distill", "--run", str(run), "--stage", "4").returncode == 0
    ours, theirs = losses(run, 4), losses(finished, 4)
    assert ours[0] == pytest.approx(theirs[0], rel=1e-5)
    assert [step for step, *_ in ours] == [step for step, *_ in theirs]
    assert ours[-1][1] == pytest.approx(theirs[-1][1], rel=1e-3)
