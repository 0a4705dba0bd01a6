from pictures import texts_of

from zoo import report
from zoo.metrics.classification import evaluate_predictions
from zoo.plugins.specs import Sample
from zoo.report import find_mistakes, write_pictures


def test_report_exports_every_picture():
    assert set(report.__all__) == {
        "LabelMistake",
        "Mistake",
        "find_label_mistakes",
        "find_mistakes",
        "with_mean_ap",
        "write_comparison",
        "write_confusion",
        "write_curves",
        "write_label_mistakes",
        "write_label_pictures",
        "write_mistakes",
        "write_pictures",
        "write_precision_recall",
        "write_reliability",
    }
    assert all(callable(getattr(report, name)) for name in report.__all__)


def test_write_pictures_writes_the_pictures_of_a_run(tmp_path, figures):
    folder = tmp_path / "resnet18-1"
    folder.mkdir()
    row = {"epoch": 1, "train_loss": 0.5, "train_accuracy": 0.8, "val_loss": 0.4, "val_accuracy": 0.9, "best": True}
    probabilities = [[0.9, 0.1], [0.4, 0.6]]
    samples = [Sample(b"no image", 0, "first"), Sample(b"no image", 0, "second")]
    write_pictures(
        folder,
        rows=[row],
        evaluation=evaluate_predictions(probabilities, [0, 0], ("cat", "dog")),
        mistakes=find_mistakes(probabilities, samples),
        split="test",
    )
    assert sorted(path.name for path in folder.iterdir()) == ["confusion.png", "curves.png", "mistakes.png"]
    assert [texts_of(figure)[:2] for figure in figures][1:] == [
        ["Confusion matrix: resnet18-1, test", "1 of 2 correct: 50.0 % (95 % interval 9.5 to 90.5)"],
        [
            "Most confident mistakes: resnet18-1, test",
            "1 of 1 mistakes in 2 photos, each with its prediction and its label",
        ],
    ]
    assert "resnet18-1" in texts_of(figures[0])
