"""Objectives of features on tensors small enough to work out by hand."""

import math

import pytest
import torch
from torch import Tensor

from soundnet_kd.distill.feature_objectives import (
    NO_VIDEO,
    Contrast,
    ContrastSettings,
    Match,
    ProjectionSettings,
    Relation,
    Steps,
    candidate_weights,
    contrast_loss,
    match_loss,
    relation_loss,
)
from soundnet_kd.errors import SettingsError


def steps_of(rows: int, seed: int = 0) -> Steps:
    drawn = torch.Generator().manual_seed(seed)
    sound = torch.randn(rows, 5, generator=drawn)
    return Steps(sound, torch.randn(rows, 4, generator=drawn), torch.arange(rows))


def contrast_of(**settings: float) -> Contrast:
    torch.manual_seed(1)
    return Contrast(5, 4, ProjectionSettings(width=3), ContrastSettings(**settings))  # type: ignore[arg-type]


def test_match_by_hand() -> None:
    """(3, 4) and (4, 3) have a cosine of 24/25, (1, 0) and (0, 2) one of 0."""
    sound, picture = torch.tensor([[3.0, 4.0], [1.0, 0.0]]), torch.tensor([[4.0, 3.0], [0.0, 2.0]])
    assert float(match_loss(sound, picture, "cosine")) == pytest.approx((1 / 25 + 1) / 2)
    assert float(match_loss(sound, picture, "squared")) == pytest.approx((1 + 1 + 1 + 4) / 4)


def test_contrast_in_both_directions_by_hand() -> None:
    """Two sounds, three pictures, the last of which is nobody's; exponentials 3, 1, 2 and 1, 4, 5."""
    logits = torch.tensor([[3.0, 1.0, 2.0], [1.0, 4.0, 5.0]]).log()
    from_sounds = (math.log(6 / 3) + math.log(10 / 4)) / 2
    from_pictures = (math.log(4 / 3) + math.log(5 / 4)) / 2
    assert float(contrast_loss(logits)) == pytest.approx((from_sounds + from_pictures) / 2)


def test_which_pictures_count_and_how_much() -> None:
    """Of three sounds: the first two have almost the same picture, first and third are of one video."""
    pictures = torch.tensor([[1.0, 0.0], [1.0, 0.01], [0.0, 1.0], [-1.0, 0.0], [0.3, 0.3]])
    videos = torch.tensor([7, 8, 7, 8, NO_VIDEO])
    expected = [[1, 0, 0.25, 1, 0], [0, 1, 1, 0.25, 0], [0.25, 1, 1, 1, 0]]
    assert candidate_weights(pictures, videos, 3, 0.25, 0.9).tolist() == expected
    without = candidate_weights(pictures, videos, 3, 0.0, 1.0).tolist()
    assert without == [[1, 1, 0, 1, 0], [1, 1, 1, 0, 0], [0, 1, 1, 1, 0]]


def test_an_empty_queue_changes_nothing() -> None:
    steps = steps_of(3)
    alone, figures = contrast_of()(steps)
    with_queue, _ = contrast_of(queue=5)(steps)
    assert float(with_queue.detach()) == pytest.approx(float(alone.detach()))
    assert float(figures["temperature"]) == pytest.approx(0.07)


def test_a_step_is_not_told_apart_from_its_copies() -> None:
    """As a clip of 5 s has them that is repeated to 20 s; where copies count, each is as likely as the other."""
    steps = Steps(*(values.expand(4, *values.shape[1:]) for values in steps_of(1)))
    assert float(contrast_of()(steps)[0].detach()) == 0
    told_apart, _ = contrast_of(masked_similarity=1.0)(steps)
    assert float(told_apart.detach()) == pytest.approx(math.log(4))


def test_the_queue_holds_the_last_features_and_is_heard_with_todays_projection() -> None:
    contrast, first, second = contrast_of(queue=5), steps_of(3), steps_of(3, seed=1)._replace(video=torch.arange(3, 6))
    contrast(first)
    assert torch.equal(contrast.queue[:3], first.picture)
    assert contrast.queue_video.tolist() == [0, 1, 2, NO_VIDEO, NO_VIDEO]
    with torch.no_grad():
        contrast.picture.weight.mul_(-1)
    found, _ = contrast(second)
    assert contrast.queue_video.tolist() == [3, 4, 5, 0, 1]
    # The same by hand, of all six pictures.
    with torch.no_grad():
        sound, picture = contrast.sound(second.sound), contrast.picture(torch.cat([second.picture, first.picture]))
        cosines = torch.cosine_similarity(sound[:, None], picture[None], dim=2) / 0.07
    to_pictures = -cosines.log_softmax(dim=1).diagonal().mean()
    to_sounds = -cosines[:, :3].log_softmax(dim=0).diagonal().mean()
    assert float(found.detach()) == pytest.approx(float((to_pictures + to_sounds) / 2), rel=1e-5)
    contrast.eval()
    without, _ = contrast(second)
    assert float(without.detach()) < float(found.detach())
    assert contrast.queue_video.tolist() == [3, 4, 5, 0, 1]


def test_the_chance_of_retrieval_is_that_of_a_guess_among_what_counts() -> None:
    """Two steps of one video, which do not count for each other, and two of others: among 3, 3, 4 and 4."""
    steps = steps_of(4)._replace(video=torch.tensor([0, 0, 1, 2]))
    _, figures = contrast_of(same_video=0)(steps)
    assert float(figures["chance"]) == pytest.approx((1 / 3 + 1 / 3 + 1 / 4 + 1 / 4) / 4)


def test_retrieval_is_among_the_pictures_of_the_batch_whatever_the_queue_holds() -> None:
    contrast, before, steps = contrast_of(queue=50), steps_of(50), steps_of(2, seed=1)
    _, alone = contrast_of()(steps)
    contrast(before)
    _, with_queue = contrast(steps)
    assert with_queue["retrieval"] == alone["retrieval"]


def test_a_batch_larger_than_the_queue_fills_it() -> None:
    contrast = contrast_of(queue=2)
    contrast(steps_of(4))
    assert contrast.queue_video.tolist() == [0, 1]


@pytest.mark.parametrize(("log_scale", "temperature"), [(9.0, 0.01), (-3.0, 1.0)])
def test_the_temperature_stays_in_its_range_and_learns(log_scale: float, temperature: float) -> None:
    contrast = contrast_of()
    with torch.no_grad():
        contrast.log_scale.fill_(log_scale)
    loss, figures = contrast(steps_of(3))
    assert float(figures["temperature"]) == pytest.approx(temperature)
    loss.backward()
    assert contrast.log_scale.grad != 0


def test_relation_by_hand() -> None:
    """Sides 3, 4, 5 over their mean are 3/4, 1, 5/4; those of an equilateral triangle are all 1."""
    sound = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
    picture = torch.tensor([[0.0, 0.0], [2.0, 0.0], [1.0, math.sqrt(3)]])
    assert float(relation_loss(sound, picture)) == pytest.approx(2 * 0.5 * 0.25**2 / 3, rel=1e-5)
    assert float(relation_loss(7 * sound, sound)) == pytest.approx(0.0, abs=1e-10)


def test_equal_sounds_have_slopes_that_are_numbers() -> None:
    sound = torch.ones(3, 2, requires_grad=True)
    relation_loss(sound, torch.eye(3)).backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(sound.grad).all()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "objective",
    [Match(5, 4, ProjectionSettings(width=16)), contrast_of(), Relation()],
    ids=["match", "contrast", "relation"],
)
def test_each_learns_what_there_is_to_learn(objective: torch.nn.Module) -> None:
    """A linear layer below finds the features in a mixture of them, and does so for mixtures that are new to it."""
    drawn = torch.Generator().manual_seed(2)
    mixture = torch.randn(4, 8, generator=drawn)
    learned, new = (torch.randn(64, 4, generator=drawn) for _ in range(2))
    layer = torch.nn.Linear(8, 5)

    def loss_of(features: Tensor) -> Tensor:
        loss, _ = objective(Steps(layer(features @ mixture), features, torch.arange(len(features))))
        assert isinstance(loss, Tensor)
        return loss

    before = float(loss_of(new).detach())
    optimizer = torch.optim.Adam([*layer.parameters(), *objective.parameters()], lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        loss_of(learned).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert float(loss_of(new).detach()) < 0.5 * before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 0.0}, r"contrast\.temperature is 0\.0; give one from 0\.01 to 1, such as 0\.07"),
        ({"temperature": 1.5}, "contrast.temperature is 1.5"),
        ({"queue": -1}, "contrast.queue is -1"),
        ({"same_video": -0.5}, "contrast.same_video is -0.5"),
        ({"masked_similarity": 1.1}, "contrast.masked_similarity is 1.1"),
        ({"masked_similarity": 0.0}, "contrast.masked_similarity is 0.0; give a cosine above 0"),
    ],
)
def test_settings_out_of_range_are_named(settings: dict[str, float], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        ContrastSettings(**settings)  # type: ignore[arg-type]


def test_projections_out_of_range_are_named() -> None:
    with pytest.raises(SettingsError, match=r"projection\.width is 0"):
        ProjectionSettings(width=0)
    with pytest.raises(SettingsError, match=r"projection\.distance is 'l1'; choose cosine or squared"):
        ProjectionSettings(distance="l1")  # type: ignore[arg-type]
