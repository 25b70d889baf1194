"""Several objectives at once: how they are written, who serves them, and what they come to together."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch

from soundnet_kd.distill import DistillationLoss
from soundnet_kd.distill.feature_objectives import ContrastSettings, match_loss, relation_loss
from soundnet_kd.distill.objectives import Objectives, ObjectiveSettings, read_weights
from soundnet_kd.errors import SettingsError


def settings_of(words: Sequence[str], **more: object) -> ObjectiveSettings:
    return ObjectiveSettings(read_weights(words), **more)  # type: ignore[arg-type]


def test_weights_are_read() -> None:
    assert read_weights(["kl:1", "contrast:0.5", "match"]) == {"kl": 1, "contrast": 0.5, "match": 1}
    assert read_weights(["kl:1e-2", "relation:0"]) == {"kl": 0.01}
    assert read_weights({"kl": 1, "contrast": 0.5, "match": 0}) == {"kl": 1, "contrast": 0.5}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("kl:1, match:2", r"objectives is one text, 'kl:1, match:2'; give a list, such as \['kl:1', 'match:2'\]"),
        ({"kl": "much"}, "the weight of kl is 'much'; give a number from 0 on, such as kl:0.5"),
        ({"kl": None}, "the weight of kl is None"),
        ({"kl": 0.0}, r"the weights of all objectives \(kl\) are 0"),
        (["contrats:1"], "there is no objective 'contrats'; did you mean 'contrast'"),
        (["kl", "kl:2"], "objectives name kl twice"),
        (["kl:much"], "the weight of kl is 'much'; give a number from 0 on, such as kl:0.5"),
        (["kl:"], "the weight of kl is ''"),
        (["kl:-1"], "the weight of kl is '-1'; give a number from 0 on"),
        (["kl=1"], "written NAME or NAME:WEIGHT, with a blank between two, such as kl:1 contrast:0.5; not kl=1"),
        (["kl,contrast"], "not kl,contrast"),
        (["kl:inf"], "the weight of kl is 'inf'"),
        (["kl:0", "match:0"], r"the weights of all objectives \(kl, match\) are 0"),
        ([], "at least one has to teach"),
    ],
)
def test_what_cannot_be_read_is_named(words: Sequence[str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        read_weights(words)


@pytest.mark.parametrize(
    ("words", "weights", "classes", "features", "message"),
    [
        (
            ["match:1"],
            {},
            ["a"],
            [],
            "objective match needs the teachers' features, and here holds none.*--keep_features",
        ),
        (["kl:1", "match:1"], {}, [], ["a"], "no teacher of here has classes.*with one more teacher"),
        (
            ["contrast:1"],
            {},
            [],
            ["a"],
            "no teacher of here has classes, which a student's heads need",
        ),
        (["kl:1"], {"c": 1.0}, ["a"], ["b"], "there is no teacher 'c' to weigh; the teachers are a, b"),
        (["kl:1"], {"a": 0.0}, ["a"], [], "the weights of all teachers are 0; at least one has to teach$"),
        (["kl:1", "match:1"], {"b": 0.0}, ["a", "b"], ["b"], r"at least one has to teach match \(b\)"),
    ],
)
def test_what_no_teacher_can_serve_is_refused(
    words: Sequence[str], weights: Mapping[str, float], classes: list[str], features: list[str], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        settings_of(words, teacher_weights=weights).require_served(classes, features, 9, 100, 8, "here")


def test_a_queue_larger_than_the_data_is_refused() -> None:
    settings = settings_of(["contrast:1"], contrast=ContrastSettings(queue=40))
    settings.require_served(["a"], ["a"], 9, 41, 8)
    with pytest.raises(SettingsError, match=r"queue is 40, but there are only 40 label steps.*such as 20"):
        settings.require_served(["a"], ["a"], 9, 40, 8)


def test_a_contrast_that_has_nothing_to_tell_a_picture_apart_from_is_refused() -> None:
    settings = settings_of(["contrast:1"], contrast=ContrastSettings(same_video=0))
    settings.require_served(["a"], ["a"], 2, 40, 2)
    with pytest.raises(SettingsError, match=r"same_video is 0, but all that here can .* of one video.*more v"):
        settings.require_served(["a"], ["a"], 1, 40, 2, "here")
    with pytest.raises(SettingsError, match=r"same_video is 0, but a batch is of one clip.*more clips a batch"):
        settings.require_served(["a"], ["a"], 2, 40, 1)
    with_queue = settings_of(["contrast:1"], contrast=ContrastSettings(same_video=0, queue=4))
    with_queue.require_served(["a"], ["a"], 2, 40, 1)


def test_temperatures_and_weights_out_of_range_are_refused_whatever_the_objectives() -> None:
    with pytest.raises(SettingsError, match="temperature is 0"):
        settings_of(["match:1"], temperature=0.0)
    with pytest.raises(SettingsError, match="none may be negative"):
        settings_of(["match:1"], teacher_weights={"a": -1.0})


def test_the_total_is_the_weighted_sum_of_the_teachers_weighted_means() -> None:
    """Two teachers, a with classes and features, b with features only, against each loss on its own."""
    drawn = torch.Generator().manual_seed(0)
    logits, distributions = torch.randn(2, 3, 4, generator=drawn), torch.rand(2, 3, 4, generator=drawn).softmax(1)
    layer = torch.randn(2, 5, 4, generator=drawn)
    features = {"a": torch.randn(2, 6, 4, generator=drawn), "b": torch.randn(2, 7, 4, generator=drawn)}
    moments = {
        name: (np.full(dims, 2.0, np.float32), np.full(dims, 4.0, np.float32))
        for name, dims in {"a": 6, "b": 7}.items()
    }
    settings = settings_of(["kl:2", "match:3", "relation:0.5"], teacher_weights={"b": 4.0})
    objectives = Objectives(settings, ["a"], moments, channels=5)
    kl, figures = objectives.of_distributions({"a": logits}, {"a": distributions})
    more, others = objectives.of_features(layer, features, torch.zeros(2, 4, dtype=torch.int64))
    assert [*figures, *others] == objectives.figures()
    expected, _ = DistillationLoss("kl")({"a": logits}, {"a": distributions})
    assert float(kl) == pytest.approx(2 * float(expected))
    rows = layer.transpose(1, 2).reshape(8, 5)
    total = 0.0
    for name, weight in {"a": 1, "b": 4}.items():
        pictures = (features[name].transpose(1, 2).reshape(8, -1) - 2) / 4
        match = float(match_loss(objectives.features["match"][name].sound(rows), pictures, "cosine").detach())  # type: ignore[index]
        relation = float(relation_loss(rows, pictures))
        assert float(others[f"loss_match_{name}"].detach()) == pytest.approx(match, rel=1e-5)
        assert float(others[f"loss_relation_{name}"]) == pytest.approx(relation, rel=1e-5)
        total += weight / 5 * (3 * match + 0.5 * relation)
    assert float(more.detach()) == pytest.approx(total, rel=1e-5)


def test_one_objective_alone_is_what_it_always_was() -> None:
    """To the bit, and its figures are named by the teachers."""
    logits = {"a": torch.randn(2, 3, 4), "b": torch.randn(2, 5, 4)}
    targets = {name: torch.randn_like(values).softmax(1) for name, values in logits.items()}
    settings = settings_of(["soundnet"], teacher_weights={"b": 3.0})
    total, figures = Objectives(settings, ["a", "b"], by_name=False).of_distributions(logits, targets)
    expected, per_head = DistillationLoss("soundnet", weights={"b": 3.0})(logits, targets)
    assert torch.equal(torch.as_tensor(total), expected)
    assert figures == {f"loss_{name}": value for name, value in per_head.items()}


def test_features_are_compared_in_32_bit_also_where_all_else_is_in_16() -> None:
    moments = {"a": (np.zeros(6, np.float32), np.ones(6, np.float32))}
    objectives = Objectives(settings_of(["match", "contrast", "relation"]), [], moments, channels=5)
    layer, features, video = torch.randn(2, 5, 4), {"a": torch.randn(2, 6, 4)}, torch.arange(8).reshape(2, 4)
    plain, _ = objectives.of_features(layer, features, video)
    with torch.autocast("cpu", torch.bfloat16):
        mixed, _ = objectives.of_features(layer, features, video)
    assert mixed.dtype == torch.float32
    assert torch.equal(plain, mixed)
