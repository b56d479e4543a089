"""What a container may use of its machine."""

import os

import pytest

from s2s_algo.machine import available_cores

CASES = [("200000 100000", 2), ("150000 100000", 1), ("50000 100000", 1), ("900000 100000", 4), ("", 4)]


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """It has four cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})


@pytest.mark.parametrize(("quota", "cores"), [*CASES, ("max 100000", 4)])
def test_a_quota_of_the_container_limits_the_cores(quota, cores, tmp_path):
    (tmp_path / "cpu.max").write_text(quota + "\n")
    assert available_cores(tmp_path) == cores


@pytest.mark.parametrize(("quota", "cores"), [*CASES, ("-1 100000", 4)])
def test_so_does_one_of_the_first_version_of_control_groups(quota, cores, tmp_path):
    (tmp_path / "cpu").mkdir()
    allowed, _, period = quota.partition(" ")
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(allowed + "\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text(period + "\n")
    assert available_cores(tmp_path) == cores


def test_without_a_quota_all_cores_are_used(tmp_path):
    assert available_cores(tmp_path) == 4
