"""Recognises the names that people give to splits: ``train``, ``training_set``, ``seg_test``, ``Validierung``.

A name is compared in lower case, without accents, and word by word. Words that only say what a split consists of, such
as "set" and "images", do not matter; what remains beside the word for the split is the rest: ``seg`` of ``seg_test``.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import NamedTuple

# These alone are recognised wherever they stand; the others only beside a second split.
_PLAIN = {"train": "train training", "val": "val valid validation", "test": "test testing"}
_WORDS = {
    "train": (
        "train training trainval trn learn learning fit "
        "entrainement apprentissage entrenamiento addestramento treino treinamento trainieren lernen "
        "trening treningowy treningowe uczenie traning træning trenink tanitas egitim latih "
        "pelatihan opetus koulutus trenovaci antrenament "
        "обучение обучающая обучающий обучающие обучающее тренировка тренировочная тренировочные тренировочный трейн "
        "навчання εκπαιδευση تدريب אימון 训练 訓練 学習 學習 トレーニング 훈련 학습"
    ),
    "val": (
        "val valid vali validate validating validation valset dev devel development tune tuning "
        "validierung validacion validazione convalida validacao validatie walidacja walidacyjny validering validointi "
        "dogrulama validasi validace валидация валидационная валидационные проверка проверочная проверочные "
        "επικυρωση تحقق 验证 驗證 検証 검증"
    ),
    "test": (
        "test tests testing tst holdout heldout eval evaluation evaluate evaluating "
        "prufung pruefung testaus testning testow teszt prueba pruebas essai prova teste testes testi testen "
        "uji pengujian testowy testowe testovaci "
        "тест тесты тестовая тестовые тестовый тестирование контроль контрольная оценка "
        "δοκιμη اختبار בדיקה 测试 測試 テスト 評価 테스트 시험"
    ),
}
_NEUTRAL_WORDS = (
    "set sets data dataset datasets image images img imgs photo photos picture pictures pic pics split splits folder "
    "dir part subset sample samples example examples class classes "
    "daten datensatz bilder fotos menge satz jeu de d des donnees conjunto datos imagenes dati dados "
    "выборка набор данные 集 数据 数据集 数据集合 資料集 图片 图像 圖片 データ データセット 画像 用 "
    "셋 세트 데이터 이미지"
)
_UNLABELLED = "pred preds predict prediction predictions unlabeled unlabelled unlabel unsupervised unknown inference"
_FLAG_WORDS = frozenset(["is", "in", "for", "use", "used", "flag"])
_TRUE, _FALSE = (
    frozenset(["true", "1", "1.0", "yes", "y", "t", "x"]),
    frozenset(["false", "0", "0.0", "no", "n", "f", ""]),
)


def _fold(text: str) -> str:
    """Returns text in lower case, without accents and other marks; the dotless i of Turkish becomes i."""
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(c for c in decomposed if not unicodedata.combining(c)).replace("\u0131", "i")


_SPLIT_OF = {_fold(word): split for split, words in _WORDS.items() for word in words.split()}
_NEUTRAL = frozenset(map(_fold, _NEUTRAL_WORDS.split()))
_UNLABELLED_WORDS = frozenset(_UNLABELLED.split())
_PLAIN_WORDS = frozenset(word for words in _PLAIN.values() for word in words.split())
# "trainset", "Testdaten", "Trainingsdaten", "训练集": a word for a split and one that does not matter, in one.
_JOINED = re.compile(
    f"({'|'.join(sorted(map(re.escape, _SPLIT_OF), key=len, reverse=True))})s?"
    f"({'|'.join(sorted(map(re.escape, _NEUTRAL), key=len, reverse=True))})+"
)


class SplitName(NamedTuple):
    """What a name says about a split.

    Attributes:
        split: ``"train"``, ``"val"`` or ``"test"``.
        rest: The other words of the name.
        plain: Whether the name is one of the usual English words, with nothing beside it.
    """

    split: str
    rest: tuple[str, ...] = ()
    plain: bool = False


@functools.lru_cache(maxsize=4096)
def parse_split_name(name: str) -> SplitName | None:
    """Returns what a name says about a split, or None: ``seg_test`` is the test split, with the rest ``seg``."""
    words = split_words(name)
    splits = [split for word in words if (split := _find_split(word))]
    if len(set(splits)) != 1:
        return None
    rest = tuple(word for word in words if not _find_split(word) and word not in _NEUTRAL and not word.isdecimal())
    return SplitName(splits[0], rest, plain=not rest and words[0] in _PLAIN_WORDS and len(words) == 1)


def parse_split(name: str) -> str:
    """Returns the split that a name stands for, with nothing beside it; empty if it stands for none."""
    found = parse_split_name(name)
    return found.split if found is not None and not found.rest else ""


def parse_flag_name(name: str) -> str:
    """Returns the split that a column of yes and no refers to: ``is_valid``; empty if it refers to none."""
    found = parse_split_name(name)
    return found.split if found is not None and not set(found.rest) - _FLAG_WORDS else ""


def parse_flag(value: str) -> bool | None:
    """Returns the truth value that a cell of a table stands for; None if it stands for none."""
    folded = value.strip().lower()
    return True if folded in _TRUE else False if folded in _FALSE else None


def is_unlabelled_name(name: str) -> bool:
    """Returns whether a name says that photos have no labels: ``unlabeled``, ``seg_pred``."""
    return bool(_UNLABELLED_WORDS & set(split_words(name)))


def is_neutral_name(name: str) -> bool:
    """Returns whether a name says nothing about photos: ``images``."""
    return all(word in _NEUTRAL or word.isdecimal() for word in split_words(name))


def split_words(name: str) -> list[str]:
    """Returns the words of a name in lower case, without accents; digits are words of their own."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    spaced = re.sub(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])", " ", _fold(spaced))
    words = re.sub(r"[\W_]+", " ", spaced).strip()
    return re.sub(r"\b(hold|held) out\b", r"\1out", words).split() or [""]


def _find_split(word: str) -> str:
    if word in _SPLIT_OF:
        return _SPLIT_OF[word]
    joined = _JOINED.fullmatch(word)
    return _SPLIT_OF[joined[1]] if joined else ""
