"""Commands, recipes and code in the documents are ones that the project takes; nothing is run."""

import argparse
import ast
import importlib
import re
import sys
import tomllib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from docs.recipe_reference import sections
from pipelines.cli import cli
from pipelines.recipe import load_recipe
from student.evaluation.paraphrases import read_paraphrases
from tests.doc_pages import PAGES, ROOT, blocks, command_lines

BY_NAME = {"ids": lambda page: page.name}
ROOMS = ("data_prep", "teacher_cache", "student", "pipelines")


def parsed(words: list[str]) -> click.Context:
    """Parse a command line as `pipe` does, without doing anything."""
    context, command, words = click.Context(cli, info_name="pipe"), cli, words[1:]
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name, command, words = command.resolve_command(context, words)
        context = click.Context(command, info_name=name, parent=context)
    if isinstance(command, click.Group):
        return context
    return command.make_context(command.name, words, parent=context.parent)


@pytest.mark.parametrize("page", PAGES, **BY_NAME)
def test_every_pipe_command_is_one_that_pipe_takes(page, monkeypatch):
    # A path is one of the reader's machine.
    monkeypatch.setattr(click.Path, "convert", lambda self, value, param, ctx: value)
    for words in command_lines(page, "pipe"):
        given = parsed(words).params
        # A run's recipe is unknown here; what may be set is the same in all of them.
        recipe = given.get("recipe") or "laptop"
        load_recipe(recipe if recipe == "jasper" else "laptop", given.get("overrides") or ())


@pytest.mark.parametrize("page", PAGES, **BY_NAME)
def test_every_option_beside_a_command_is_one_of_it(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    for words in (found.split() for found in re.findall(r"`pipe ([^`]+)`", text)):
        command, path = cli, [word.partition("|")[0] for word in words]  # info|verify: the first
        while isinstance(command, click.Group) and path and re.fullmatch("[a-z]+", path[0]):
            command = command.get_command(click.Context(command), path.pop(0))
            assert command is not None, words
        known = {name for option in command.params for name in option.opts} | {"--help"}
        assert {word for word in path if word.startswith("--")} <= known, words


class OptionsReadError(Exception):
    """A benchmark has read its options."""


@pytest.mark.parametrize("page", PAGES, **BY_NAME)
def test_every_benchmark_takes_its_options(page, monkeypatch):
    parse = argparse.ArgumentParser.parse_args

    def stop(self, *arguments):
        parse(self, *arguments)
        raise OptionsReadError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    text = page.read_text()
    inline = re.findall(r"`(python\s+-m\s+benchmarks\.[^`]+)`", text)
    lines = [found.split() for found in inline] + list(command_lines(page, "python"))
    for words in lines:
        if words[1:2] != ["-m"] or not words[2].startswith("benchmarks."):
            continue
        monkeypatch.setattr(sys, "argv", [words[2], *words[3:]])
        with pytest.raises(OptionsReadError):
            importlib.import_module(words[2]).main()


@pytest.mark.parametrize("page", PAGES, **BY_NAME)
def test_every_make_target_exists(page):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for words in [
        *command_lines(page, "make"),
        *(found.split() for found in re.findall(r"`(make [^`]+)`", page.read_text())),
    ]:
        assert {word for word in words[1:] if "=" not in word} <= targets, words


@pytest.mark.parametrize("page", PAGES, **BY_NAME)
def test_every_key_in_a_recipe_is_known(page, tmp_path):
    known = {section.path: {key.name for key in section.keys} for section in sections()}

    def check(table: dict, path: str) -> None:
        for key, value in table.items():
            assert key in known[path], f"{path}.{key}"
            inner = f"{path}.{key}".lstrip(".")
            if inner in known:
                for part in value if isinstance(value, list) else [value]:
                    check(part, inner)

    for block in blocks(page, "toml"):
        table = tomllib.loads(block.code)
        if set(table) == {"instructions"}:
            (tmp_path / "own.toml").write_text(block.code)
            read_paraphrases(tmp_path / "own.toml")
        elif set(table) <= known[""]:
            check(table, "")
        else:  # the keys of one section, without its heading
            fitting = [path for path, keys in known.items() if set(table) <= keys]
            assert fitting, block.code


@pytest.mark.parametrize("page", PAGES, **BY_NAME)
def test_the_code_is_python(page):
    for block in blocks(page, "python"):
        compile(block.code, str(page), "exec")


def sentences() -> set[str]:
    """The fixed parts of every string in the project's code."""
    found = set()
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.add(node.value)
    return found


def test_every_quoted_error_is_one_of_the_project():
    known = "\n".join(sentences())
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    quoted = re.findall(r"^\| `([^`|]+)`", page, re.M)
    assert len(quoted) > 30
    for sentence in quoted:
        for part in sentence.replace("did you mean", "…").split("…"):
            assert part.strip(" ?()'") in known, sentence


def calculated(page, monkeypatch):
    """What the one calculation of a page leaves."""
    monkeypatch.syspath_prepend(str(ROOT))
    (block,) = blocks(page, "python")
    left = {}
    exec(compile(block.code, str(page), "exec"), left)
    return left


def test_the_two_ways_to_a_loss_in_the_docs_agree(monkeypatch):
    left = calculated(ROOT / "docs" / "losses.md", monkeypatch)
    assert float(left["counted"]) == pytest.approx(float(left["defined"]), abs=1e-6)
    assert left["counted"] > 0


def test_the_hours_in_the_docs_are_what_their_calculation_prints(capsys, monkeypatch):
    page = ROOT / "docs" / "paper-recipe.md"
    calculated(page, monkeypatch)
    mean, *lines = capsys.readouterr().out.splitlines()
    text = page.read_text()
    _, _, shown = text.partition("| A100 hours | H100 hours |\n|---|---|---|---|\n")
    printed = [re.fullmatch(r"(.+?) +(\S+) FLOP +(\S+) h A100 +(\S+) h H100", s) for s in lines]
    rows = [f"| {' | '.join(found.groups())} |".replace("e+", "e") for found in printed]
    assert len(rows) == 6
    assert shown.partition("\n\n")[0].splitlines() == rows
    assert f"(a mean of {mean.removesuffix(' a text')}," in text


def test_the_plan_of_the_papers_recipe_is_as_the_page_shows_it(tmp_path):
    directory = tmp_path / "none"
    done = CliRunner().invoke(cli, ["plan", "--recipe", "jasper", "--run", str(directory)])
    (shown,) = [
        b.code for b in blocks(ROOT / "docs" / "paper-recipe.md", "") if "corpus " in b.code
    ]
    for line in shown.splitlines():
        assert line.removesuffix("...") in done.output


def test_pages_are_those_of_the_site():
    nav = (ROOT / "mkdocs.yml").read_text()
    for page in (ROOT / "docs").rglob("*.md"):
        assert f" {Path(page).relative_to(ROOT / 'docs')}\n" in nav
