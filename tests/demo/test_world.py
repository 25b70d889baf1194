"""The demonstration world: what is planned, what is drawn, and that picture and sound are one thing."""

from collections import Counter

import numpy as np
import pytest

from soundnet_kd.demo import world
from soundnet_kd.demo.backgrounds import SCENE_PICTURES
from soundnet_kd.demo.scene import Scene, cast, poses_of
from soundnet_kd.demo.sprites import EVENT_SPRITES, draw_sprite
from soundnet_kd.demo.world import EVENTS, SCENES, Scenario
from soundnet_kd.errors import SettingsError


def rendered(scenario: Scenario) -> tuple[np.ndarray, np.ndarray]:
    frames, _, waveform, _ = world.make_video_arrays(scenario)
    return np.stack(list(frames)), waveform


def test_at_least_eight_events_and_four_scenes_have_both_a_picture_and_a_sound() -> None:
    assert len(EVENTS) == len(set(EVENTS)) >= 8
    assert len(SCENES) == len(set(SCENES)) == 4
    assert set(EVENT_SPRITES) == set(EVENTS)
    assert set(SCENE_PICTURES) == set(SCENES)


def test_a_video_has_the_promised_shapes_and_ranges() -> None:
    frames, frame_rate, waveform, sample_rate = world.make_video_arrays(Scenario(("dog",), "forest", 10.0, 4))
    drawn = list(frames)
    assert (frame_rate, sample_rate) == (2.0, 22050)
    assert len(drawn) == 20
    assert all(frame.shape == (96, 96, 3) and frame.dtype == np.uint8 for frame in drawn)
    assert waveform.shape == (220500,)
    assert waveform.dtype == np.float32
    assert 0.25 <= np.abs(waveform).max() <= 0.9


def test_size_frame_rate_and_sample_rate_are_the_callers() -> None:
    frames, _, waveform, _ = world.make_video_arrays(Scenario(("saw",), "street", 5.0, 4), 5.0, 64, 16000)
    assert np.stack(list(frames)).shape == (25, 64, 64, 3)
    assert waveform.shape == (80000,)


def test_the_same_scenario_is_the_same_video_whatever_was_made_before() -> None:
    first, second = Scenario(("bell", "siren"), "street", 10.0, 1), Scenario(("ball",), "kitchen", 10.0, 2)
    early = rendered(first)
    rendered(second)
    late = rendered(first)
    assert np.array_equal(early[0], late[0])
    assert np.array_equal(early[1], late[1])


@pytest.mark.parametrize("event", EVENTS)
def test_another_seed_is_another_picture_and_another_sound(event: str) -> None:
    one, other = (Scenario((event,), "seaside", 5.0, seed) for seed in (1, 2))
    assert np.abs(world.make_frame(one).astype(int) - world.make_frame(other)).mean() > 5
    sounds = [world.make_soundtrack(scenario) for scenario in (one, other)]
    assert abs(np.corrcoef(sounds[0], sounds[1])[0, 1]) < 0.2


def test_the_soundtrack_alone_is_the_videos_soundtrack() -> None:
    scenario = Scenario(("drum", "bird"), "kitchen", 10.0, 9)
    assert np.array_equal(world.make_soundtrack(scenario), rendered(scenario)[1])


def test_events_follow_each_other_with_cuts_at_whole_steps() -> None:
    two = Scenario(("bell", "dog"), "street", 20.0)
    assert two.spans == (("bell", 0.0, 10.0), ("dog", 10.0, 20.0))
    assert [two.event_at(seconds) for seconds in (0.0, 9.9, 10.0, 19.9)] == ["bell", "bell", "dog", "dog"]
    three = Scenario(("bell", "dog", "saw"), "street", 22.0)
    assert three.spans == (("bell", 0.0, 5.0), ("dog", 5.0, 10.0), ("saw", 10.0, 22.0))


def test_what_the_world_does_not_hold_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match="no 'cat'; choose from bell, bird"):
        Scenario(("cat",), "street")
    with pytest.raises(SettingsError, match="no 'moon'; choose from street"):
        Scenario(("bell",), "moon")
    with pytest.raises(SettingsError, match="2 events in 8 s"):
        Scenario(("bell", "dog"), "street", 8.0)
    with pytest.raises(SettingsError, match="at least one event"):
        Scenario((), "street")


def test_a_plan_is_balanced_and_repeatable_and_shares_nothing_with_other_plans() -> None:
    plan = world.plan_videos(40, seed=3, two_events=0.5)
    assert plan == world.plan_videos(40, seed=3, two_events=0.5)
    assert {len(scenario.events) for scenario in world.plan_videos(40, seed=3)} == {2}
    assert Counter(len(scenario.events) for scenario in plan) == {1: 20, 2: 20}
    assert set(Counter(event for scenario in plan for event in scenario.events).values()) == {6}
    assert set(Counter(scenario.scene for scenario in plan).values()) == {10}
    others = world.plan_videos(40, seed=4) + world.plan_labelled(4, seed=3) + world.plan_labelled(4, seed=4)
    seeds = [scenario.seed for scenario in plan + others]
    assert len(set(seeds)) == len(seeds)


def test_labelled_scenarios_go_through_all_events_round_by_round() -> None:
    plan = world.plan_labelled(3, seed=0)
    assert [scenario.events for scenario in plan] == [(event,) for event in EVENTS] * 3
    assert {scenario.seconds for scenario in plan} == {5.0}
    assert {scenario.scene for scenario in plan} == set(SCENES)


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("event", EVENTS)
def test_an_event_stands_out_from_its_scene(event: str, scene: str) -> None:
    rng = np.random.default_rng(0)
    stage, actor = Scene(scene, 96, rng), cast(event, 96, rng)
    empty = np.asarray(stage.background, dtype=float) * stage.light / 256
    changed = np.abs(stage.frame(actor, 0.0, 0.0, rng) - empty).max(axis=2) > 40
    assert changed.mean() > 0.04
    rows, columns = np.nonzero(changed)
    inside = (rows >= actor.top - 1) & (rows <= actor.top + actor.side + 1)
    inside &= (columns >= actor.left - 1) & (columns <= actor.left + actor.side + 1)
    assert inside.mean() > 0.95


def test_no_two_drawings_have_the_same_outline() -> None:
    masks = [np.asarray(draw_sprite(event, 0.0, (200, 60, 60)))[..., 3] > 128 for event in EVENTS]
    for index, mask in enumerate(masks):
        assert 0.1 < mask.mean() < 0.8
        for other in masks[:index]:
            assert (mask & other).sum() / (mask | other).sum() < 0.85


@pytest.mark.parametrize("event", EVENTS)
def test_a_drawing_moves_with_its_pose(event: str) -> None:
    still, moved = (np.asarray(draw_sprite(event, pose, (200, 60, 60))).astype(int) for pose in (0.0, 1.0))
    assert (np.abs(still - moved).max(axis=2) > 40).mean() > 0.005


def test_a_thing_rests_in_silence_and_moves_to_and_fro_with_its_sound() -> None:
    sound = np.zeros(8000, dtype=np.float32)
    sound[2000:4000] = 1.0
    sound[4000:6000] = 0.25
    poses = poses_of(sound, sample_rate=4000, frame_rate=4.0)
    np.testing.assert_allclose(poses, [0, 0, -1, 1, -0.5, 0.5, 0, 0], atol=1e-9)


def test_the_ball_is_up_between_its_bounces_and_on_the_floor_at_a_knock() -> None:
    top = [np.nonzero(np.asarray(draw_sprite("ball", pose, (200, 60, 60)))[..., 3] == 255)[0].min() for pose in (0, 1)]
    assert top[0] < top[1] - 25
