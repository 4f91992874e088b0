"""Settings that change between two commands: refused where they matter, and only there."""

import json
import shutil


def test_a_mended_recipe_is_not_held_against_its_mistake(distill):
    assert distill('stages.0.trainable=["heads.fc9"]')[0] == 1
    assert distill("stages.0.batch_size=100000")[0] == 1
    assert distill()[0] == 0


def test_a_removed_stage_may_start_from_another_student(distill):
    assert distill()[0] == 0
    code, output = distill("student.layers=[1]")
    assert code == 1
    assert "layers" in output

    shutil.rmtree(distill.places.stage(1))
    code, output = distill("student.layers=[1]")
    assert code == 0, output
    config = json.loads((distill.places.final(1) / "backbone" / "config.json").read_text())
    assert config["num_hidden_layers"] == 1


def test_the_teachers_order_is_the_targets_columns(distill, taught):
    recipe, _ = taught
    assert distill()[0] == 0
    text = recipe.read_text()
    first, second = text.index("[[teachers]]"), text.rindex("[[teachers]]")
    end = text.index("[student]")
    swapped = text[:first] + text[second:end] + text[first:second] + text[end:]
    recipe.write_text(swapped)
    try:
        code, output = distill()
    finally:
        recipe.write_text(text)
    assert code == 1
    assert "teachers.0.name" in output


def test_settings_that_decide_nothing_may_change(distill):
    assert distill()[0] == 0
    changes = ["stages.0.name=other", "student.default_head=fc2", "training.keep_checkpoints=5"]
    assert distill(*changes, "student.heads.fc9=3", "stages.0.save_every=10")[0] == 0


def test_auto_keeps_what_the_stage_was_begun_with(distill):
    assert distill("training.precision=auto")[0] == 0
    record = json.loads(distill.places.identity(1).read_text())
    assert record["training"]["precision"] in ("bf16", "fp32")
    assert record["training"]["attention"] == "eager"
    record["training"]["attention"] = "sdpa"  # as a stage trained on a GPU would say
    distill.places.identity(1).write_text(json.dumps(record))
    assert distill("training.precision=auto")[0] == 0
    code, output = distill("training.precision=auto", "training.attention=eager")
    assert code == 1
    assert "training.attention" in output


def test_weights_without_their_record_are_refused(distill):
    assert distill()[0] == 0
    distill.places.identity(1).unlink()
    code, output = distill()
    assert code == 1
    assert "stage.json is missing" in output


def test_a_record_of_an_earlier_version_has_todays_defaults(distill):
    assert distill()[0] == 0
    record = json.loads(distill.places.identity(1).read_text())
    del record["stages"][0]["init"]
    distill.places.identity(1).write_text(json.dumps(record))
    assert distill()[0] == 0


def test_a_stage_that_would_move_nothing_is_refused(distill):
    assert distill()[0] == 0
    code, output = distill('stages.1.trainable=["heads.fc2"]', stage=2)
    assert code == 1
    assert "heads.fc2" in output


def test_a_text_longer_than_the_start_has_positions_is_refused(distill):
    code, output = distill("student.max_tokens=600")
    assert code == 1
    assert "512" in output


def test_a_closed_form_start_begins_lower_than_random_weights(distill):
    def first_loss():
        line = distill.places.metrics(1).read_text().splitlines()[0]
        return json.loads(line)["fc1/cosine"]

    assert distill("stages.0.init=least_squares", "stages.0.learning_rate=1e-5")[0] == 0
    fitted = first_loss()

    shutil.rmtree(distill.places.stage(1))
    assert distill("stages.0.learning_rate=1e-5")[0] == 0
    assert fitted < 0.9 * first_loss()


def test_a_reader_process_gives_the_same_training(distill):
    def losses():
        lines = distill.places.metrics(1).read_text().splitlines()
        return [json.loads(line)["loss"] for line in lines]

    assert distill()[0] == 0
    in_line = losses()

    shutil.rmtree(distill.places.stage(1))
    assert distill("training.readers=1")[0] == 0
    assert losses() == in_line
