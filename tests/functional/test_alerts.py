"""``configs/alerts.yml``: well-formed, over metrics and labels that exist, with a word on what to do."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ingestd.admin.catalogue import METRICS

RULES = Path(__file__).parents[2] / "configs" / "alerts.yml"
OF_PROMETHEUS = {"instance", "job"}


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def test_what_needs_somebody_has_a_rule() -> None:
    watched = " ".join(rule["expr"] for rule in rules())
    for name in (
        "ingestd_accounting_residual",
        "ingestd_topic_oldest_undelivered_age_seconds",
        "ingestd_arena_level_ratio",
        "ingestd_kernel_dropped_datagrams_total",
        "ingestd_possible_duplicate_records_total",
        "ingestd_producer_data_loss_suspected_total",
        "ingestd_dead_letters_lost_total",
        "ingestd_producer_failed_authentication_total",
        "ingestd_worker_restarts_total",
        "ingestd_worker_up",
    ):
        assert name in watched


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_a_rule_is_over_metrics_and_labels_that_exist(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert rule["annotations"]["action"].endswith(".")
    used = set(re.findall(r"\bingestd_\w+", rule["expr"]))
    assert used <= METRICS.keys()
    labels = OF_PROMETHEUS | {label for name in used for label in METRICS[name].labels}
    named = re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])
    named += [name for group in re.findall(r"\b(?:by|on) \(([^)]*)\)", rule["expr"]) for name in group.split(", ")]
    assert set(named) <= labels
    for name in used:
        counted = METRICS[name].kind == "counter"
        assert bool(re.search(rf"\b(?:increase|rate)\({name}", rule["expr"])) == counted, name


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool comes with Prometheus")
def test_prometheus_takes_the_rules() -> None:
    subprocess.run(["promtool", "check", "rules", str(RULES)], check=True, capture_output=True)
