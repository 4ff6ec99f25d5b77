"""Estimates of a scan against what they estimate, and its journal and parts against each other."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantplay.errors import InputError
from quantplay.mixed.assemble import assemble
from quantplay.mixed.interpolate import (
    Checked,
    Estimate,
    between,
    blend,
    estimate,
    glanced,
    interval,
    rank_agreement,
)
from quantplay.mixed.journal import Journal
from quantplay.records import Sensitivity

damages = st.floats(1e-6, 1.0)


def test_few_sequences_scaled_by_their_hardness():
    """Where damage follows hardness exactly, any few sequences give the mean of all; the plain mean of the few does not."""
    hardness = [0.1, 0.2, 0.9, 0.4, 0.7, 1.6]
    found = estimate([0.01 * x for x in hardness[:2]], hardness)
    assert found.mean == pytest.approx(0.01 * np.mean(hardness))
    assert found.own == pytest.approx(0, abs=1e-12)


def test_intervals_cover_the_truth():
    """95 % intervals from 8 of 32 sequences over simulated texts: at least 90 % hold the expected damage."""
    generator, covered = np.random.default_rng(1), 0
    for _ in range(1000):
        hardness = generator.lognormal(0, 0.4, 32)
        some = 0.02 * hardness[:8] * generator.lognormal(0, 0.3, 8)
        low, high = interval(estimate(some, hardness), 8)
        covered += low <= 0.02 * math.exp(0.5 * (0.4**2 + 0.3**2)) <= high
    assert covered >= 900


@given(damages, damages, st.floats(1e-4, 1e-2), st.floats(0.05, 0.5), st.floats(0, 1))
def test_interpolation_keeps_its_anchors_and_any_power_law(first, second, high_error, low_error, share):
    low, high = Estimate(max(first, second), 0.1), Estimate(min(first, second), 0.01)
    arguments = (low, low_error, high, high_error)
    assert between(*arguments, low_error).mean == pytest.approx(low.mean)
    assert between(*arguments, high_error).mean == pytest.approx(high.mean)
    error = high_error ** (1 - share) * low_error**share
    slope = math.log(low.mean / high.mean) / math.log(low_error / high_error)
    assert between(*arguments, error).mean == pytest.approx(high.mean * (error / high_error) ** slope, rel=1e-6)


def test_interpolation_where_there_is_nothing_to_say():
    nothing = Estimate(0.0, 0.0)
    assert between(nothing, 0.1, nothing, 0.01, 0.05).mean == 0
    assert between(Estimate(0.1, 0), 0.1, Estimate(0.1, 0), 0.1, 0.2).mean == pytest.approx(0.2)


@given(st.lists(st.floats(1.1, 5), min_size=1, max_size=30), st.booleans())
def test_the_blend_learns_which_of_line_and_glance_to_trust(factors, glance_is_right):
    """Where one of the two is always right the weight goes to it, from one half without any evidence."""
    checks = [Checked("Q4_K", 1.0, factor, factor if glance_is_right else 1.0) for factor in factors]
    towards = 0.5 if glance_is_right else -0.5
    assert blend(checks).weight == pytest.approx(0.5 + towards * len(factors) / (len(factors) + 4))
    assert blend([]).of("Q4_K", 1.0, 4.0) == pytest.approx(2.0)


def test_checks_move_a_kind_and_leave_the_rest_as_its_error():
    found = blend([Checked("Q2_K", 1.0, 1.0, 1.5), Checked("Q2_K", 2.0, 2.0, 3.0), Checked("Q4_K", 1.0, 1.0, 1.0)])
    assert found.offsets == {"Q2_K": pytest.approx(math.log(1.5) * 2 / 3), "Q4_K": 0}
    assert found.spread == pytest.approx(math.log(1.5) * math.sqrt(2 / 3))
    assert found.of("Q4_K", 0.3, 0.3) == pytest.approx(0.3)


@given(damages, damages, damages, st.floats(0, 1))
def test_a_glance_at_sequences_of_another_hardness_is_scaled_back(high, middle, low, share):
    """Sequences that are twice as hard for every type say nothing about any of them."""
    figures = Estimate(low, 0), Estimate(high, 0)
    seen = Estimate(2 * low, 0), Estimate(2 * high, 0)
    found = glanced(Estimate(2 * middle, 0), (figures[0], seen[0]), (figures[1], seen[1]), share)
    assert found == pytest.approx(middle, rel=1e-6)


@given(st.lists(st.integers(0, 5), min_size=3, max_size=20))
def test_rank_agreement_is_scipys(values):
    from scipy.stats import spearmanr

    other = [(7 * value + index) % 5 for index, value in enumerate(values)]
    if len(set(values)) > 1 and len(set(other)) > 1:
        assert rank_agreement(values, other) == pytest.approx(spearmanr(values, other).statistic)
    else:
        assert rank_agreement(values, other) == 0


def test_a_journal_survives_a_cut_line_and_ignores_another_model(tmp_path):
    path = tmp_path / "scan.jsonl"
    mine, other = Journal(path, "a" * 64), Journal(path, "b" * 64)
    mine.put("blk.0.qkv", {"values": [1.5]})
    with path.open("ab") as file:
        file.write(b'{"key": "' + b"a" * 64 + b'", "unit": "blk.0.down", "bo')  # killed while writing
    other.put("blk.0.qkv", {"values": [9]})
    mine.put("blk.1.qkv", {"values": [2.5]})
    again = Journal(path, "a" * 64)
    assert again.found == {"blk.0.qkv": {"values": [1.5]}, "blk.1.qkv": {"values": [2.5]}}
    path.write_bytes(path.read_bytes() + b"\xff\x00[]\n3\n")
    assert Journal(path, "a" * 64).found == again.found


def part(groups, names, *, key="k" * 64, scores=None):
    """What a scan of these groups returns; damage is 0.1 x place for Q2_K and 1/100 of that for Q6_K."""
    errors = {"Q6_K": 0.001, "Q4_K": 0.01, "Q2_K": 0.1}
    header = {
        "model": "m" * 64, "importance": None, "rows": "0" * 64, "sequences": 4, "tokens": 64, "positions": 31, "blocks": 2,
        "types": ["Q6_K", "Q4_K", "Q2_K"], "base": "Q2_K", "key": key, "glance": 2,
        "groups": [
            {"group": name, "tensors": [name], "block": 0, "weights": 10, "full_bytes": 40, "bytes": {"Q6_K": 9, "Q4_K": 6, "Q2_K": 3}}
            for name in groups
        ],
    }  # fmt: skip
    header["model"] = "0" * 64
    units = {}
    for name in groups:
        place = 1 + groups.index(name)
        low = [0.1 * place * x for x in (1.0, 2.0, 1.5, 0.5)]
        values = {"Q6_K": [x / 100 for x in low], "Q4_K": [x / 10 for x in low[:2]], "Q2_K": low}
        measured = name in names
        units[name] = {
            "values": values if measured else {}, "restored_gain": low if measured else [], "errors": errors, "block_forward_tokens": 5,
        }  # fmt: skip
    mine = units if scores else {name: units[name] for name in names}
    return {
        "header": header, "base": [1.0, 2.0, 1.5, 0.5], "units": mine, "proxy": scores and {"scores": scores, "gains": scores}, "block_forward_tokens": 5 * len(names),
        "seconds": 1.0, "peak_resident_bytes": 7,
    }  # fmt: skip


GROUPS = [f"blk.{number}.qkv" for number in range(6)]


@settings(max_examples=20)
@given(st.integers(1, 6))
def test_parts_give_what_the_whole_gives(count):
    whole = assemble([part(GROUPS, GROUPS)])
    split = assemble([json.loads(json.dumps(part(GROUPS, GROUPS[number::count]))) for number in range(count)])
    assert split.groups == whole.groups
    assert split.checks == whole.checks
    assert split.block_forward_tokens == whole.block_forward_tokens
    assert whole.full_scan_block_forward_tokens == 6 * 3 * 2 * 4 * 64
    assert Sensitivity.model_validate(whole.body()) == whole
    assert whole.ranking("Q4_K") == tuple(reversed(GROUPS))
    assert whole.groups[0].of("Q4_K").how == "interpolated"
    assert whole.groups[0].of("Q4_K").mean_kl_nats == pytest.approx(math.sqrt(0.125 * 0.00125))


def test_parts_of_different_scans_or_too_few_are_refused():
    with pytest.raises(InputError, match="not measured alike"):
        assemble([part(GROUPS, GROUPS[::2]), part(GROUPS, GROUPS[1::2], key="o" * 64)])
    with pytest.raises(InputError, match="is in no part"):
        assemble([part(GROUPS, GROUPS[::2])])
    with pytest.raises(InputError, match="more than one part"):
        assemble([part(GROUPS, GROUPS), part(GROUPS, GROUPS[:1])])


def test_groups_that_were_not_measured_follow_the_proxy():
    """Damage that is proportional to the proxy's score is found from the measured groups, for every type."""
    scores = {name: 0.3 * (1 + number) for number, name in enumerate(GROUPS)}
    found = assemble([part(GROUPS, GROUPS[:4], scores=scores)])
    assert found.exact_groups == 4
    assert found.proxy_agreement == pytest.approx(1)
    assert found.groups[5].of("Q2_K").how == "proxy"
    assert found.groups[5].of("Q2_K").mean_kl_nats == pytest.approx(0.6 * 1.25, rel=1e-6)
    assert found.groups[5].of("Q4_K").mean_kl_nats == pytest.approx(0.06 * 1.25, rel=1e-6)
    assert found.ranking("Q2_K") == tuple(reversed(GROUPS))
