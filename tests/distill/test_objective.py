"""The objective on tensors small enough to work out by hand."""

import math
from typing import get_args

import pytest
import torch

from soundnet_kd.distill import DistillationLoss
from soundnet_kd.distill.objective import DISTANCES, Objective
from soundnet_kd.errors import SettingsError

# One clip, two steps, two classes. The student says (1/2, 1/2) at step 1 and (3/4, 1/4) at step 2;
# the teacher says (1, 0) and (1/4, 3/4).
LOGITS = torch.tensor([[[0.0, math.log(3.0)], [0.0, 0.0]]])
TARGET = torch.tensor([[[1.0, 0.25], [0.0, 0.75]]])
KL_STEP_1 = math.log(2.0)
KL_STEP_2 = 0.25 * math.log(0.25 / 0.75) + 0.75 * math.log(0.75 / 0.25)


def test_kl_sums_over_classes() -> None:
    total, per_head = DistillationLoss("kl")({"a": LOGITS}, {"a": TARGET})
    assert float(total) == pytest.approx((KL_STEP_1 + KL_STEP_2) / 2, rel=1e-6)
    assert per_head.keys() == {"a"}


def test_soundnet_averages_over_all_elements_and_weighs_by_250() -> None:
    # DistKLDivCriterion: for each (step, head) the sum over batch x classes divided by 1 x 2 elements; then the mean.
    total, _ = DistillationLoss("soundnet")({"a": LOGITS}, {"a": TARGET})
    assert float(total) == pytest.approx(250 * (KL_STEP_1 / 2 + KL_STEP_2 / 2) / 2, rel=1e-6)


def test_soundnet_gives_a_head_of_more_classes_less_weight() -> None:
    # Four classes, the last two impossible for both: the same divergence, twice as many elements.
    logits = torch.cat([LOGITS, torch.full((1, 2, 2), -1e4)], dim=1)
    target = torch.cat([TARGET, torch.zeros(1, 2, 2)], dim=1)
    small, large = {"a": LOGITS}, {"a": logits}
    _, one = DistillationLoss("soundnet")(small, {"a": TARGET})
    _, two = DistillationLoss("soundnet")(large, {"a": target})
    assert float(two["a"]) == pytest.approx(float(one["a"]) / 2, rel=1e-5)
    total, _ = DistillationLoss("soundnet")({"a": LOGITS, "b": logits}, {"a": TARGET, "b": target})
    assert float(total) == pytest.approx((float(one["a"]) + float(two["a"])) / 2, rel=1e-5)


def test_l2_sums_squares_over_classes() -> None:
    total, _ = DistillationLoss("l2")({"a": LOGITS}, {"a": TARGET})
    assert float(total) == pytest.approx(((0.25 + 0.25) + (0.25 + 0.25)) / 2, rel=1e-6)


def test_each_objective_that_help_names_has_a_distance() -> None:
    assert tuple(DISTANCES) == get_args(Objective)


@pytest.mark.parametrize("objective", DISTANCES)
def test_nothing_is_left_to_learn_from_ones_own_answer(objective: str) -> None:
    total, _ = DistillationLoss(objective)({"a": LOGITS}, {"a": LOGITS.softmax(dim=1)})  # type: ignore[arg-type]
    assert float(total) == pytest.approx(0.0, abs=1e-5)


def test_mismatches_are_named() -> None:
    with pytest.raises(SettingsError, match="no objective 'hinge'"):
        DistillationLoss("hinge")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="heads a, the targets have b"):
        DistillationLoss()({"a": LOGITS}, {"b": TARGET})
    with pytest.raises(SettingsError, match=r"\(1, 2, 2\) \(batch, classes, steps\) to targets of \(1, 2, 1\)"):
        DistillationLoss()({"a": LOGITS}, {"a": TARGET[..., :1]})


def test_temperature_softens_both_and_keeps_the_gradients_size() -> None:
    # T = 2: the teacher's (1/4, 3/4) becomes (1, sqrt 3) / (1 + sqrt 3); its (1, 0) stays. The student's (1/2, 1/2)
    # stays, its (3/4, 1/4) becomes (sqrt 3, 1) / (1 + sqrt 3).
    high, low = math.sqrt(3) / (1 + math.sqrt(3)), 1 / (1 + math.sqrt(3))
    second = low * math.log(low / high) + high * math.log(high / low)
    total, _ = DistillationLoss("kl", temperature=2)({"a": LOGITS}, {"a": TARGET})
    assert float(total) == pytest.approx(4 * (math.log(2) + second) / 2, rel=1e-5)


def test_an_impossible_class_gives_no_gradient_that_is_no_number() -> None:
    logits = LOGITS.clone().requires_grad_()
    DistillationLoss("soundnet", temperature=3)({"a": logits}, {"a": TARGET})[0].backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_teachers_are_weighed() -> None:
    both = {"a": LOGITS, "b": LOGITS.flip(1)}
    teachers = {"a": TARGET, "b": TARGET}
    _, per_head = DistillationLoss("kl")(both, teachers)
    total, same = DistillationLoss("kl", weights={"b": 3.0})(both, teachers)
    assert {name: float(value) for name, value in same.items()} == {n: float(v) for n, v in per_head.items()}
    assert float(total) == pytest.approx((float(per_head["a"]) + 3 * float(per_head["b"])) / 4, rel=1e-6)
    only, _ = DistillationLoss("kl", weights={"a": 0.0})(both, teachers)
    assert float(only) == pytest.approx(float(per_head["b"]), rel=1e-6)


def test_three_heads_of_other_sizes() -> None:
    heads = {"a": LOGITS, "b": LOGITS, "c": torch.zeros(1, 7, 2)}
    targets = {"a": TARGET, "b": TARGET, "c": torch.full((1, 7, 2), 1 / 7)}
    total, per_head = DistillationLoss("kl")(heads, targets)
    assert float(per_head["c"]) == pytest.approx(0.0, abs=1e-6)
    assert float(total) == pytest.approx(2 * float(per_head["a"]) / 3, rel=1e-6)


def test_wrong_weights_and_temperatures_are_named() -> None:
    with pytest.raises(SettingsError, match="none may be negative"):
        DistillationLoss(weights={"objects": -1.0})
    with pytest.raises(SettingsError, match="temperature is 0"):
        DistillationLoss(temperature=0)
