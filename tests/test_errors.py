import pytest

from soundnet_kd.errors import closest, nearest

LAYERS = ("conv1", "pool1", "conv2")


@pytest.mark.parametrize(
    ("name", "always", "end"),
    [
        ("con1", False, "; did you mean 'conv1'?"),
        ("POOL1", False, "; did you mean 'pool1'?"),
        ("bottleneck", False, "; there are conv1, pool1, conv2"),
        ("plop", True, "; did you mean 'pool1'?"),
    ],
)
def test_a_message_ends_with_the_nearest_name(name: str, always: bool, end: str) -> None:
    assert nearest(name, LAYERS, always=always) == end


def test_a_message_lists_as_many_names_as_asked() -> None:
    assert nearest("x", LAYERS, 2) == "; there are conv1, pool1 …"
    assert nearest("x", ()) == nearest("x", (), always=True) == "; there are none"


def test_nothing_is_close_to_a_name_unlike_all() -> None:
    assert closest("bottleneck", LAYERS) is None
    assert closest("PLOP", ["Pool1"], always=True) == "Pool1"
    assert closest("x", [], always=True) is None
