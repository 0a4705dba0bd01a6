"""Ranks labels with cleanlab, on the probabilities of another program: a referee for bench/suspects.py.

Usage: python label_referee.py FILE.npz, with ``probabilities (N, C)`` and ``labels (N,)``; prints JSON.
"""

import json
import sys

import numpy as np
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores


def main() -> None:
    """Prints the photos in the order of each ranking, the most suspicious first."""
    content = np.load(sys.argv[1])
    labels, probabilities = content["labels"], content["probabilities"]
    quality = get_label_quality_scores(labels, probabilities)  # its default, the probability of the label
    margin = get_label_quality_scores(labels, probabilities, method="normalized_margin")
    issues = find_label_issues(labels, probabilities)  # its default, which prunes by the noise rate
    orders = {
        "quality": np.argsort(quality, kind="stable"),
        "margin": np.argsort(margin, kind="stable"),
        "issues": np.lexsort((quality, ~issues)),
    }
    print(json.dumps({name: order.tolist() for name, order in orders.items()}))


if __name__ == "__main__":
    main()
