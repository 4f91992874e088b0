"""Instructions and paraphrases: the built-in ones are whole, a user's come before them."""

import pytest

from data_prep.errors import UsageError
from student.evaluation.benchmarks import find_benchmark
from student.evaluation.paraphrases import built_in_paraphrases, read_paraphrases, require_known
from student.evaluation.published_robustness import PAPER_MEANS, PAPER_SCORES

BUILT_IN = built_in_paraphrases()


def test_every_task_of_the_paper_has_its_own_entry():
    assert len(PAPER_SCORES) == 53
    assert set(BUILT_IN.tasks) == set(PAPER_SCORES)
    # Table 2 has 32 instructions.
    assert sum(bool(wording.tasks) for wording in BUILT_IN.wordings) == 32
    for column, mean in enumerate(PAPER_MEANS):
        scores = [pair[column] for pair in PAPER_SCORES.values()]
        assert sum(scores) / len(scores) == pytest.approx(mean, abs=0.05)


def test_no_two_texts_are_the_same():
    texts = [
        text.lower().rstrip(".")
        for wording in BUILT_IN.wordings
        for text in (wording.instruction, *wording.paraphrases)
    ]
    assert len(set(texts)) == len(texts)


def test_every_task_of_the_papers_benchmark_has_an_instruction():
    tasks = find_benchmark("MTEB(eng, v1)").kinds | find_benchmark("MTEB(eng, v2)").kinds
    for name, kind in tasks.items():
        assert BUILT_IN.find(name, kind), name
    # The paper's tasks under mteb's own names; of CQADupstack the parts stand in the paper.
    known = set(find_benchmark("MTEB(eng, v1)").kinds)
    assert {task for task in PAPER_SCORES if not task.startswith("CQA")} <= known


def test_a_later_version_of_a_task_and_other_tasks_of_a_type():
    own = BUILT_IN.tasks["BiorxivClusteringP2P"]
    assert BUILT_IN.find("BiorxivClusteringP2P.v2", "Clustering") is own
    assert BUILT_IN.find("somebody's", "STS") is BUILT_IN.tasks["STS12"]
    assert BUILT_IN.find("somebody's", "Classification").tasks == ()
    assert BUILT_IN.find("somebody's", "BitextMining") is None


def write(path, text):
    path.write_text(text)
    return path


def test_a_users_entries_come_first(tmp_path):
    text = """
[[instructions]]
instruction = "Find it."
paraphrases = ["Look it up.", "Search."]
tasks = ["mine", "STS12"]
kinds = ["Retrieval"]
"""
    path = write(tmp_path / "own.toml", text)
    found = read_paraphrases(path)
    assert found.find("mine", "STS").paraphrases == ("Look it up.", "Search.")
    assert found.find("STS12", "STS").instruction == "Find it."
    assert found.find("SciFact", "Retrieval").instruction == "Find it."
    assert found.find("STS13", "STS") == BUILT_IN.tasks["STS13"]
    require_known(found, path, {"mine", "STS12"}, {"Retrieval"})
    with pytest.raises(UsageError, match=r"found the task 'mine'.* the nearest is mines"):
        require_known(found, path, {"mines", "STS12"}, {"Retrieval"})
    with pytest.raises(UsageError, match=r"found the kind 'Retrieval'.* the nearest is Retreival"):
        require_known(found, path, {"mine", "STS12"}, {"Retreival"})


ENTRY = '[[instructions]]\ninstruction = "Find it."\n'


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[[instructions", "is not valid TOML"),
        ("", "the file has no 'instructions'; expected"),
        ("[tasks]\n", "the file has no 'instructions'; expected"),
        (ENTRY, "entry 1 of instructions has no 'paraphrases'; expected"),
        (ENTRY + 'paraphrase = "b"\nparaphrases = ["b"]', "has the unknown key 'paraphrase'"),
        (ENTRY + 'paraphrases = "b"', "entry 1 of instructions: paraphrases is 'b'"),
        (ENTRY + 'paraphrases = [""]', "entry 1 of instructions: paraphrases.0 is ''"),
        (ENTRY + 'paraphrases = []\ntasks = ["a"]', "paraphrases is []"),
        (ENTRY + 'paraphrases = ["b"]', "has neither tasks nor kinds"),
        (ENTRY + 'paraphrases = ["find  it"]\ntasks = ["a"]', "has itself as a paraphrase"),
        (ENTRY + 'paraphrases = ["b", "B."]\ntasks = ["a"]', "has a paraphrase twice"),
        (ENTRY + 'paraphrases = ["b"]\ntasks = ["a", "a"]', "found 'a' under 'Find it.' and"),
    ],
)
def test_a_malformed_file_is_told_in_a_sentence(tmp_path, text, sentence):
    with pytest.raises(UsageError) as refused:
        read_paraphrases(write(tmp_path / "own.toml", text))
    assert sentence in str(refused.value)
    assert "own.toml" in str(refused.value)


def test_a_file_that_is_no_text(tmp_path):
    path = tmp_path / "own.toml"
    path.write_bytes(b"\xff")
    with pytest.raises(UsageError, match=r"own.toml cannot be read .* in UTF-8"):
        read_paraphrases(path)
