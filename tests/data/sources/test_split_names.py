import pytest

from zoo.data.sources.split_names import (
    is_neutral_name,
    is_unlabelled_name,
    parse_flag,
    parse_flag_name,
    parse_split,
    parse_split_name,
)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"),
        ("TRAINING", "train"),
        ("training_set", "train"),
        ("TrainImages", "train"),
        ("train2017", "train"),
        ("1. Training data", "train"),
        ("traindata", "train"),
        ("trainval", "train"),
        ("Trainingsdaten", "train"),
        ("Entraînement", "train"),
        ("entrenamiento", "train"),
        ("EĞİTİM", "train"),
        ("Обучающая выборка", "train"),
        ("训练集", "train"),
        ("トレーニング", "train"),
        ("훈련", "train"),
        ("valid", "val"),
        ("dev", "val"),
        ("Validierung", "val"),
        ("Validación", "val"),
        ("验证集", "val"),
        ("検証データ", "val"),
        ("test_set", "test"),
        ("test-images", "test"),
        ("Testbilder", "test"),
        ("hold-out", "test"),
        ("Held Out", "test"),
        ("prueba", "test"),
        ("Essai", "test"),
        ("тест", "test"),
        ("测试集", "test"),
        ("テスト", "test"),
    ],
)
def test_names_of_splits(name, split):
    assert parse_split(name) == split


@pytest.mark.parametrize("name", ["", "cat", "test_tube", "bullet_train", "invalid", "detrain", "train_test", "images"])
def test_other_names(name):
    assert parse_split(name) == ""


def test_what_stands_beside_the_word_for_a_split_is_the_rest():
    assert parse_split_name("seg_train") == ("train", ("seg",), False)
    assert parse_split_name("Seg Test Images") == ("test", ("seg",), False)
    assert parse_split_name("test") == ("test", (), True)
    assert parse_split_name("test_set") == ("test", (), False)
    assert parse_split_name("train_and_test") is None


@pytest.mark.parametrize(
    ("header", "split"),
    [("is_valid", "val"), ("IsTest", "test"), ("train", "train"), ("use for testing", "test"), ("is_blurry", "")],
)
def test_columns_of_yes_and_no(header, split):
    assert parse_flag_name(header) == split
    assert [parse_flag(cell) for cell in ("True", "0", "yes", "", "0.5")] == [True, False, True, False, None]


def test_names_of_photos_without_labels_and_names_that_say_nothing():
    assert [is_unlabelled_name(name) for name in ("seg_pred", "Unlabeled", "cat")] == [True, True, False]
    assert [is_neutral_name(name) for name in ("images", "my cats", "photos2")] == [True, False, True]
