"""What the README.md beside a student says of it."""

import math
from collections.abc import Mapping
from typing import Any

from soundnet_kd.distill.objective import DISTANCES
from soundnet_kd.errors import counted
from soundnet_kd.models import STUDENT_FILE, Student
from soundnet_kd.pretrained import read_registry
from soundnet_kd.training.model_card import ModelCard

OF_ANSWERS = """\
A network that hears: from the sound of videos without labels it learned to predict what image networks saw in their
frames (SoundNet). It answers for each 5 s; its inner layers, averaged over time, are features for other sounds."""
OF_FEATURES = """\
A network that hears: from the sound of videos without labels its layers learned to agree with the features that image
networks have of their frames. Averaged over time, these layers are features for other sounds. Its answers were not
learned with them."""


def student_card(
    student: Student,
    settings: Mapping[str, Any],
    agreement: Mapping[str, float],
    retrieval: Mapping[str, tuple[float, float]],
    held_out_loss: float,
    held_out_clips: int,
) -> ModelCard:
    """Return the card of a student.

    Parameters
    ----------
    student : Student
    settings : mapping
        Of the distillation, as `run.json` holds them.
    agreement : mapping from teacher to float
        On held-out videos; empty if nothing was held out.
    retrieval : mapping from teacher to (share, chance)
        How often the nearest picture is a sound's own there; empty where contrast was no objective.
    held_out_loss : float
        Not a number if nothing was held out.
    held_out_clips : int
    """
    targets = settings["targets"]
    teachers = {name: _teacher(identity) for name, identity in targets["teachers"].items()}
    weights = settings.get("objectives") or {settings["objective"]: 1.0}
    has_answers = any(name in DISTANCES for name in weights)
    start = settings.get("init")
    published = {start, *(said.replace(" ", ":") for said in teachers.values())}
    licences = [f"{each.name} is under {each.licence}" for each in read_registry().values() if each.name in published]
    measured = {f"agreement with {name}": f"{share:.1%}" for name, share in agreement.items()}
    for name, (share, chance) in retrieval.items():
        measured[f"nearest picture of {name} is the sound's own"] = f"{share:.1%} (chance {chance:.1%})"
    if not math.isnan(held_out_loss):
        measured["loss"] = f"{held_out_loss:.4f}"
    return ModelCard(
        title=f"{student.architecture}, distilled from video",
        summary=OF_ANSWERS if has_answers else OF_FEATURES,
        network=student,
        file=STUDENT_FILE,
        settings={
            "data": f"{counted(targets['clips'], 'clip')} of up to 20 s",
            **{f"teacher of {name}": said for name, said in teachers.items()},
            "objective": ", ".join(f"{name}:{weight:g}" for name, weight in weights.items()),
            **_more_of(settings),
            "training": f"{counted(settings['steps'], 'step')} of {counted(settings['batch_size'], 'clip')}, "
            f"learning rate {settings['learning_rate']:g}, seed {settings['seed']}",
            **({} if start is None else {"began with": f"{_start(start)} (`{settings['init_sha256'][:16]}`)"}),
        },
        measured=measured,
        notes=[
            f"On {counted(held_out_clips, 'clip')} of videos that it did not learn from"
            + "; agreement is the share of label steps at which its first guess is the teacher's" * bool(agreement)
            + ". `soundnet-kd extract` and `evaluate` tell what its layers are worth for labelled sounds."
        ]
        * bool(measured),
        origins=["the videos", "the weights of the teachers", *(["what it began with"] if start else []), *licences],
    )


def _more_of(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return what else was asked for, where it is not what everybody has."""
    weights = {name: weight for name, weight in settings.get("teacher_weights", {}).items() if weight != 1}
    varied = {name: value for name, value in settings.get("augmentation", {}).items() if value}
    said = {
        "weights of the teachers": _pairs(weights),
        "layer compared with features": settings.get("projection", {}).get("layer"),
        "first layer that learned": settings.get("freeze"),
        "schedule": settings["schedule"] if settings["schedule"] != "constant" else "",
        "augmentation": _pairs(varied),
        "weight decay": settings.get("weight_decay"),
        "average of the weights": settings.get("average"),
    }
    return {name: str(value) for name, value in said.items() if value}


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(name if value is True else f"{name} {value:g}" for name, value in values.items())


def _start(name: str) -> str:
    """Return what people know a student by; where it lay on somebody's machine is nobody's business."""
    return name if name in read_registry() else "another student"


def _teacher(identity: Mapping[str, Any]) -> str:
    """Return what tells a teacher to people: its network and weights, or what it was called in Python."""
    known = [str(identity[key]) for key in ("network", "weights") if key in identity]
    known = known or [text for key, text in identity.items() if isinstance(text, str) and "sha256" not in key][:1]
    return " ".join(known) or "a network without a name"
