"""docs/alerts.yml: Prometheus takes it, it asks for our metrics, and a `down` alerts nobody."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.pages import ROOT, table

_FILE = ROOT / "docs" / "alerts.yml"
_OURS = re.compile(r"\btunnelctl_\w+")
# As promtool's own manual has it: what is scraped, and what alerts then.
_STORY = """\
rule_files: [{rules}]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {{series: 'tunnelctl_profile_wanted{{instance="a", profile="lost"}}', values: '1x20'}}
      - {{series: 'tunnelctl_host_up{{instance="a", profile="lost", host="h"}}', values: '0x20'}}
      - {{series: 'tunnelctl_host_idle{{instance="a", profile="lost", host="h"}}', values: '0x20'}}
      - {{series: 'tunnelctl_profile_wanted{{instance="a", profile="lazy"}}', values: '1x20'}}
      - {{series: 'tunnelctl_host_up{{instance="a", profile="lazy", host="h"}}', values: '0x20'}}
      - {{series: 'tunnelctl_host_idle{{instance="a", profile="lazy", host="h"}}', values: '1x20'}}
      - {{series: 'tunnelctl_profile_wanted{{instance="a", profile="off"}}', values: '0x20'}}
      - {{series: 'tunnelctl_host_up{{instance="a", profile="off", host="h"}}', values: '0x20'}}
    alert_rule_test:
      - eval_time: 10m
        alertname: TunnelctlHostDown
        exp_alerts:
          - exp_labels: {{severity: page, instance: a, profile: lost, host: h}}
            exp_annotations:
              summary: "lost: no link to h"
              description: "tunnelctl ps lost says why; tunnelctl doctor lost walks the way"
"""


def _rules() -> list[dict[str, Any]]:
    document = yaml.safe_load(_FILE.read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def test_every_rule_is_one_and_asks_for_a_metric_that_there_is() -> None:
    documented = {name for name, _, _ in table(_service(), "metric", "labels", "value")}
    for rule in _rules():
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert {"summary", "description"} == set(rule["annotations"])
        assert set(_OURS.findall(rule["expr"])) <= documented
    assert "docs/alerts.yml" in _FILE.read_text()
    assert "(alerts.yml)" in _service()


def _service() -> str:
    return (ROOT / "docs" / "service.md").read_text()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_takes_them_and_a_profile_that_was_taken_down_alerts_nobody(
    tmp_path: Path,
) -> None:
    (tmp_path / "story.yml").write_text(_STORY.format(rules=_FILE))
    for words in (["check", "rules", str(_FILE)], ["test", "rules", str(tmp_path / "story.yml")]):
        done = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
