import json
import subprocess
import sys
from pathlib import Path

from benchmarks.pairs import PAIRS
from benchmarks.scenarios import CAPS_SCENARIOS, SCENARIOS
from benchmarks.servers import TELLS_CPU_TIMES
from tests.processes import ROOT


def test_a_quick_run_yields_every_figure(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"

    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--json", str(file)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        timeout=300,
    )

    assert ran.returncode == 0
    found = json.loads(file.read_text())
    for scenario in SCENARIOS:
        assert scenario.name.upper() in ran.stdout
        figures = found["scenarios"][scenario.name]["figures"]
        assert set(figures) == set(scenario.figures)
        for figure in figures.values():
            assert all(figure[target] > 0 for target in ("direct", "pass-through", "gateway"))
            assert figure["to_passthrough"]["least"] <= figure["to_passthrough"]["most"]
    for scenario in CAPS_SCENARIOS:
        assert scenario.name.upper() in ran.stdout
        figures = found["caps"][scenario.name]["figures"]
        assert set(figures) == set(scenario.figures)
        for figure in figures.values():
            assert all(figure[target] > 0 for target in scenario.targets)
            for ledger in ("relaxed", "strict"):
                ratio = figure["ledgers"][ledger]["all_caps_to_none"]
                assert ratio["least"] <= ratio["median"] <= ratio["most"]
    for pair in PAIRS:
        for scenario in pair.scenarios:
            for figure in found["pairs"][scenario.name]["figures"].values():
                assert figure[pair.target] > 0 < figure["ratio"]["median"]
    assert found["startup"]["app_ms"] > 0 < found["startup"]["extension_ms"]
    assert found["memory"]["many_mb"] > 0 < found["memory"]["few_mb"]
    assert len(found["targets"]) == (19 if TELLS_CPU_TIMES else 13)
