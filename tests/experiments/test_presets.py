"""Presets: each one is whole, says where it comes from, and its commands exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from lesionlab.api.presets import presets
from lesionlab.cli.presets import command
from lesionlab.config import Settings, with_max_epochs, with_overrides
from lesionlab.errors import BadInput
from lesionlab.experiments.presets import load_preset, preset_names

SEEDS = (
    "isic2017-random", "isic2017-pretrained", "mias-patches-tutorial", "mias-patches-honest",
    "melanoma-baseline", "melanoma-augmented", "melanoma-xception", "melanoma-xception-finetuned",
    "isic2017-inception-frozen", "ham10000-resnet18", "ham10000-resnet34", "ham10000-resnet50",
    "ham10000-mobilenetv2-frozen", "ham10000-mobilenetv2-finetuned", "isic2019-unknown",
    "breastmnist-resnet18",
)  # fmt: skip
RESNETS = ("ham10000-resnet18", "ham10000-resnet34", "ham10000-resnet50")


def commands_of(settings: Settings) -> list[list[str]]:
    """The command lines of a description, as words."""
    text = settings.description.replace("\\\n", " ")
    lines = [line.split("#")[0] for line in text.splitlines() if line.startswith("  lesionlab ")]
    return [shlex.split(part.strip()) for line in lines for part in line.split("&&")]


def test_every_system_of_the_seeds_has_its_preset() -> None:
    assert set(SEEDS) <= set(preset_names())


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_carries_its_name_and_its_story(name: str) -> None:
    settings = load_preset(name)
    assert settings.name == name
    assert settings.description
    assert settings.source
    assert name == "demo" or settings.expected
    if settings.expected.startswith("HAM10000"):
        assert "256 px copies of centre crops" in settings.expected
        assert "validation, which chose the epoch" in settings.expected
    capped = with_max_epochs(settings, 1)
    assert all(stage.epochs == 1 for stage in capped.stages)


@pytest.mark.parametrize("name", preset_names())
def test_the_commands_of_a_description_have_these_options(name: str) -> None:
    from lesionlab.cli.main import Verbs

    verbs = Verbs()
    for words in commands_of(load_preset(name)):
        verb = verbs.get_command(click.Context(verbs), words[1])
        assert verb is not None, words
        verb.make_parser(click.Context(verb)).parse_args(words[2:])
        if words[1] == "train":
            assert words[words.index("--preset") + 1] in preset_names()


@pytest.mark.parametrize("name", preset_names())
def test_the_overrides_of_a_description_fit_its_recipe(name: str) -> None:
    settings = load_preset(name)
    given = re.findall(r"--set\s+(?:'([^']+)'|([^\s;,:)]+))", settings.description)
    for quoted, plain in given:
        with_overrides(settings, [quoted or plain])


@pytest.mark.parametrize(
    ("name", "classes", "total", "trainable"),
    [
        ("mias-patches-tutorial", 2, 72_706, 72_706),
        ("mias-patches-honest", 2, 72_706, 72_706),
        ("melanoma-baseline", 2, 49_756, 49_756),
        ("melanoma-augmented", 2, 49_756, 49_756),
        ("melanoma-xception", 2, 20_861_480 + 1_605_665, 1_605_665),
        ("isic2017-inception-frozen", 2, None, 2_049),
    ],
)
def test_networks_have_the_published_parameters(
    name: str, classes: int, total: int | None, trainable: int
) -> None:
    pytest.importorskip("torch")
    from helpers.networks import parameter_counts
    from lesionlab.models.classifier import build
    from lesionlab.models.freeze import freeze
    from lesionlab.models.weights import usual_input

    settings = load_preset(name)
    shown = settings.input.resolved(usual_input(settings.model))
    network = build(settings.model, shown, classes)
    freeze(network, settings.stages[0].trainable)
    counts = parameter_counts(network)
    assert counts["trainable"] == trainable
    if total is not None:  # batch-norm statistics counted, as the sources do
        assert counts["total"] + counts["buffers"] == total


def test_fine_tuning_xception_moves_block_14_and_the_head() -> None:
    pytest.importorskip("torch")
    from helpers.networks import parameter_counts
    from lesionlab.models.classifier import build
    from lesionlab.models.freeze import freeze
    from lesionlab.models.weights import usual_input

    settings = load_preset("melanoma-xception-finetuned")
    shown = settings.input.resolved(usual_input(settings.model))
    network = build(settings.model, shown, 2)
    freeze(network, settings.stages[1].trainable)
    assert parameter_counts(network)["trainable"] == 4_748_800 + 1_605_665


@pytest.mark.parametrize("name", RESNETS)
def test_parts_of_a_two_stage_recipe_are_its_stages(name: str) -> None:
    whole = load_preset(name)
    faithful, cached = load_preset(f"{name}-faithful"), load_preset(f"{name}-cached")
    assert faithful.stages == whole.stages[:1]
    assert load_preset(f"{name}-unfrozen").stages == whole.stages[1:]
    assert whole.stages[1].max_lr == (1e-4, 1e-5)
    assert (cached.stages[0].epochs, cached.stages[0].cached_views) == (whole.stages[0].epochs, 8)
    assert {p.model for p in (faithful, cached)} == {whole.model}


def test_arms_of_a_comparison_differ_in_what_they_compare() -> None:
    random, pretrained = load_preset("isic2017-random"), load_preset("isic2017-pretrained")
    assert (random.model.pretrained, pretrained.model.pretrained) == (False, True)
    assert random.stages[0].augment == pretrained.stages[1].augment
    assert random.stages[0].epochs == pretrained.stages[1].epochs


def test_an_own_recipe_extends_a_preset(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'extends = "ham10000-mobilenetv2-finetuned"\nname = "mine"\nseed = 3\n'
        '[optim]\nweight_decay = 0.1\n[[stages]]\nname = "all"\nepochs = 2\n'
    )
    mine, base = load_preset(str(path)), load_preset("ham10000-mobilenetv2-finetuned")
    assert (mine.name, mine.seed, mine.model) == ("mine", 3, base.model)
    assert mine.optim == base.optim.model_copy(update={"weight_decay": 0.1})
    assert mine.stages == (base.stages[1].model_copy(update={"epochs": 2}),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('extends = "ham10000-resnet43"\n', "did you mean 'ham10000-resnet34'"),
        ('extends = "{path}"\n', "extends itself"),
        ("extends = 3\n", "is the name of a preset"),
        ('extends = "demo"\nsede = 1\n', "did you mean 'seed'"),
        ('extends = "demo"\n[[stages]]\nname = "new"\n', "epochs"),
        ('extends = "demo"\n[[stages]]\n', "name"),
        ('extends = "demo"\nstages = 3\n', "stages"),
        ("not toml", "not valid TOML"),
    ],
)
def test_a_bad_recipe_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text.replace("{path}", str(path)))
    with pytest.raises(BadInput, match=said) as caught:
        load_preset(str(path))
    assert "\n" not in str(caught.value)


def test_absent_recipes_and_names_are_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        load_preset(str(tmp_path / "absent.toml"))
    folder = tmp_path / "folder.toml"
    folder.mkdir()
    with pytest.raises(BadInput, match="is a folder"):
        load_preset(str(folder))
    with pytest.raises(BadInput, match="did you mean 'melanoma-baseline'"):
        load_preset("melanoma-baselin")


def test_presets_are_listed_and_one_is_shown_whole() -> None:
    listed = presets()["presets"]
    assert [row["name"] for row in listed] == preset_names()
    one = presets("ham10000-resnet34")
    assert one["settings"]["stages"][1]["max_lr"] == [1e-4, 1e-5]
    assert Settings.model_validate({**one["settings"], "name": one["name"]}).input.size == 448


@pytest.mark.parametrize("words", [[], ["melanoma-baseline"], ["melanoma-baseline", "--json"]])
def test_the_verb_prints_them(words: list[str]) -> None:
    result = CliRunner().invoke(command, words)
    assert result.exit_code == 0
    assert "melanoma-baseline" in result.output
