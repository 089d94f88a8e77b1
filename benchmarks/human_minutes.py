"""The picture of the README: human minutes to nine tenths of labelling by hand, by data set.

Takes what `labelkit simulate` has written, and of each set the arms that are named.

    python benchmarks/human_minutes.py "300 people=lspet/simulation.json" \
      "449 fish=fish/simulation.json" [--arm "foreign start"] [--output docs/images/minutes.png]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib

from labelkit.workflows.simulation.arms import FOREIGN, SCRATCH, WITHOUT_TICKS

matplotlib.use("Agg")
from matplotlib import pyplot

#: What bars are called, and their colours: those of the labelling page.
SHOWN = {
    SCRATCH.name: ("by hand", "#aab2b6"),
    WITHOUT_TICKS.name: ("with labelkit's own network", "#0f766e"),
    FOREIGN.name: ("beginning with a public network", "#2dd4bf"),
}
TEXT, BAR = "#1d2326", 0.8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="+", metavar="TITLE=FILE")
    parser.add_argument("--output", type=Path, default=Path("docs/images/minutes.png"))
    options = parser.parse_args()
    figure, axes = pyplot.subplots(figsize=(8.4, 3.6), dpi=160)
    row, ticks = 0.0, {}
    for text in options.sets:
        title, _, names = text.partition("=")
        minutes = {}
        for name in names.split(","):
            minutes |= json.loads(Path(name).read_text("utf-8"))["minutes"]
        by_hand, first = minutes[SCRATCH.name]["value"], row
        for arm, (_, colour) in SHOWN.items():
            if (found := minutes.get(arm)) is None:
                continue
            share, low, high = (found[key] / by_hand for key in ("value", "low", "high"))
            axes.barh(row, share, BAR, color=colour)
            axes.plot([low, high], [row, row], color=TEXT, linewidth=1)
            text = f"{found['value']:.0f} min" + ("" if arm == SCRATCH.name else f", {share:.0%}")
            axes.text(max(share, high) + 0.01, row, text, va="center", color=TEXT)
            row += 1
        ticks[(first + row - 1) / 2] = title
        row += 0.7
    axes.set_yticks(list(ticks), list(ticks.values()))
    axes.invert_yaxis()
    axes.spines[:].set_visible(False)
    axes.tick_params(left=False, colors=TEXT)
    axes.margins(x=0.12)
    axes.set_xticks([])
    axes.set_title(
        "Minutes until labels are nine tenths as accurate as all by hand (simulated annotator)",
        color=TEXT,
        loc="left",
        fontsize=10,
    )
    patches = [pyplot.Rectangle((0, 0), 1, 1, color=colour) for _, colour in SHOWN.values()]
    names = [name for name, _ in SHOWN.values()]
    figure.legend(patches, names, ncols=3, frameon=False, loc="lower left")
    figure.tight_layout(rect=(0, 0.06, 1, 1))
    figure.savefig(options.output)


if __name__ == "__main__":
    main()
