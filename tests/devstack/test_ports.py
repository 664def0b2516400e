"""How a stack chooses its ports."""

import socket

import pytest

from devstack.ports import HOST, choose_ports, is_free


def test_a_taken_port_is_passed_over():
    """A preferred port that another server uses is replaced by a free one; the others are kept."""
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        held = taken.getsockname()[1]
        free = choose_ports(["x"], {})["x"]
        chosen = choose_ports(["a", "b"], {"a": held, "b": free})
        assert not is_free(held)
        assert chosen["a"] != held
        assert chosen["b"] == free


@pytest.mark.parametrize("count", [1, 40])
def test_no_two_names_share_a_port(count):
    """Every name gets a different port, even if the same one is preferred for all."""
    names = [f"n{i}" for i in range(count)]
    same = choose_ports(["x"], {})["x"]
    chosen = choose_ports(names, dict.fromkeys(names, same))
    assert len(set(chosen.values())) == count


def test_a_chosen_port_is_not_chosen_again_before_its_server_starts(monkeypatch):
    """Two stacks that start side by side get different ports, and their servers can bind them."""
    (first,) = choose_ports(["kafka"], {}).values()
    draws = iter([first, first, *range(first + 1, first + 100)])
    monkeypatch.setattr("devstack.ports.random.choice", lambda _: next(draws))
    (second,) = choose_ports(["kafka"], {}).values()
    assert second != first
    with socket.create_server((HOST, first)) as server:  # sets SO_REUSEADDR, as servers do
        assert server.getsockname()[1] == first
